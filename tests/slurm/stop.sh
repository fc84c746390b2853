#!/usr/bin/env bash
# Stop the daemons that start.sh started, by their process ids; jobs that still run are cancelled.
set -euo pipefail

STATE=/var/lib/one-machine-slurm

if [ -s "$STATE/slurmctld.pid" ]; then
    timeout 5 scancel --user=root 2>/dev/null || true
fi
for daemon in slurmd slurmctld munged; do
    file=$STATE/$daemon.pid
    [ -s "$file" ] || continue
    pid=$(cat "$file")
    if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$daemon" ]; then
        kill "$pid"
        for _ in $(seq 50); do
            [ -e "/proc/$pid" ] || break
            sleep 0.1
        done
    fi
    rm -f "$file"
done
