#!/usr/bin/env bash
# A real SLURM on this one machine, for tests: munged, slurmctld, slurmd, and a stand-in GPU (/dev/null) to request.
#
#   tests/slurm/start.sh              start it, unless it runs already      (root, Debian or Ubuntu; no systemd needed)
#   tests/slurm/start.sh --install    the same, and install slurm-wlm and munge by apt-get where they are missing
#   tests/slurm/stop.sh               stop what start.sh started
#
# Never touches a SLURM that somebody else configured.
set -euo pipefail

STATE=/var/lib/one-machine-slurm
CONF=/etc/slurm/slurm.conf # jobs do not inherit SLURM_CONF, so it has to be this place
MARK="# written by tests/slurm/start.sh"

fail() {
    echo "tests/slurm/start.sh: $1" >&2
    exit 1
}

alive() { # does the daemon whose process id lies in file $1 run, under the name $2? (a zombie has no command line)
    [ -s "$1" ] && tr '\0' ' ' 2>/dev/null <"/proc/$(cat "$1")/cmdline" | grep -q "$2"
}

await() { # $1 seconds until the command that follows succeeds
    local left=$(($1 * 5))
    shift
    until "$@" >/dev/null 2>&1; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || return 1
        sleep 0.2
    done
}

answers() { timeout 30 scontrol ping | grep -q "is UP"; }
ready() { timeout 30 sinfo --noheader --format=%T | grep -qE "^(idle|mixed|allocated|completing)$"; }

[ "$(id -u)" -eq 0 ] || fail "has to run as root"
if [ -e "$CONF" ] && ! grep -qF "$MARK" "$CONF"; then
    fail "$CONF is somebody else's; not touched"
fi

for program in slurmctld slurmd munged sbatch; do
    command -v "$program" >/dev/null || missing=$program
done
if [ -n "${missing:-}" ]; then
    [ "${1:-}" = --install ] || fail "$missing is missing: apt-get install slurm-wlm munge, or start.sh --install"
    command -v apt-get >/dev/null || fail "$missing is missing, and there is no apt-get"
    export DEBIAN_FRONTEND=noninteractive
    (timeout 300 apt-get update -qq && timeout 600 apt-get install -y -qq --no-install-recommends slurm-wlm munge) >/tmp/one-machine-slurm-apt.log 2>&1 ||
        fail "apt-get could not install slurm-wlm and munge: $(tail -n 1 /tmp/one-machine-slurm-apt.log)"
fi

mkdir -p "$STATE" /etc/slurm
host=$(hostname -s)
cpus=$(env -u OMP_NUM_THREADS nproc) # nproc counts no more than that says
memory=$(awk '/^MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
cat >"$STATE/slurm.conf" <<CONF_END
$MARK
ClusterName=one-machine
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation=$STATE/ctld
SlurmdSpoolDir=$STATE/slurmd
SlurmctldPidFile=$STATE/slurmctld.pid
SlurmdPidFile=$STATE/slurmd.pid
SlurmctldLogFile=$STATE/slurmctld.log
SlurmdLogFile=$STATE/slurmd.log
# by process group: linuxproc follows parents, and loses a step whose parent ends first, as when its node goes down
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
AccountingStorageType=accounting_storage/none
# a job over its memory is killed within these seconds
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=5
JobAcctGatherParams=OverMemoryKill
KillWait=5
ReturnToService=2
SchedulerParameters=batch_sched_delay=0
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory Gres=gpu:1 State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF_END
# a file, not only a count: else slurmd finds no GPU and drains the node
echo "NodeName=$host Name=gpu File=/dev/null" >"$STATE/gres.conf"

was=started
if alive "$STATE/slurmctld.pid" slurmctld && alive "$STATE/slurmd.pid" slurmd && answers; then
    was="runs already"
fi
if ! cmp -s "$STATE/slurm.conf" "$CONF" || ! cmp -s "$STATE/gres.conf" /etc/slurm/gres.conf; then
    "$(dirname "$0")/stop.sh"
    cp "$STATE/slurm.conf" "$CONF"
    cp "$STATE/gres.conf" /etc/slurm/gres.conf
fi

if ! timeout 30 munge --no-input >/dev/null 2>&1; then
    [ -s /etc/munge/munge.key ] || (umask 077 && head -c 1024 /dev/urandom >/etc/munge/munge.key)
    mkdir -p /run/munge
    chmod 755 /run/munge
    munged --force --pid-file="$STATE/munged.pid" 2>"$STATE/munged.log" || fail "munged: $(tail -n 1 "$STATE/munged.log")"
    await 60 timeout 30 munge --no-input || fail "munged does not answer"
fi

alive "$STATE/slurmctld.pid" slurmctld || slurmctld
await 120 answers || fail "slurmctld does not answer: $(tail -n 1 "$STATE/slurmctld.log")"
alive "$STATE/slurmd.pid" slurmd || slurmd
await 120 ready || {
    # a node that a crash or a test left down or drained
    timeout 30 scontrol update NodeName="$host" State=RESUME 2>/dev/null || true
    await 120 ready || fail "the node is not ready: $(timeout 30 sinfo --noheader --format='%T %E' | head -n 1)"
}
echo "SLURM $was: $(timeout 30 sinfo --noheader --format='partition %P, %c CPUs, %m MB, %G, %T')"
