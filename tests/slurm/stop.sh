#!/usr/bin/env bash
# Stop the daemons that start.sh started, by their process ids; jobs that still run are cancelled.
set -euo pipefail

STATE=/var/lib/one-machine-slurm

if [ -s "$STATE/slurmctld.pid" ]; then
    timeout 5 scancel --user=root 2>/dev/null || true
fi
runs() { # is process $1 a $2? (a zombie has no command line)
    tr '\0' ' ' 2>/dev/null <"/proc/$1/cmdline" | grep -q "$2"
}

for daemon in slurmd slurmctld munged; do
    file=$STATE/$daemon.pid
    [ -s "$file" ] || continue
    pid=$(cat "$file")
    if runs "$pid" "$daemon"; then
        kill "$pid"
        for _ in $(seq 50); do
            runs "$pid" "$daemon" || break
            sleep 0.1
        done
    fi
    rm -f "$file"
done
