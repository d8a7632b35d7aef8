#!/usr/bin/env bash
# A Slurm cluster of this one machine, from Debian's packages: `cluster.sh start|stop FOLDER`.
# Two made-up GPUs, no accounting; everything that it writes lies in FOLDER, and it listens on
# 127.0.0.1 only. /etc/slurm/slurm.conf becomes a link to its configuration, since Snakemake's jobs
# do not inherit SLURM_CONF; a machine that has a Slurm of its own is refused. Needs root.
set -euo pipefail
folder=$(realpath -m "$2")
export SLURM_CONF=$folder/slurm.conf

start() {
    command -v slurmctld >/dev/null && command -v munged >/dev/null || {
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends slurm-wlm munge
    }
    if [ -e /etc/slurm/slurm.conf ]; then
        echo "cluster.sh: this machine has a Slurm already (/etc/slurm/slurm.conf)" >&2
        return 1
    fi
    mkdir -p "$folder"/{state,spool,log} /etc/slurm
    ln -sf "$SLURM_CONF" /etc/slurm/slurm.conf
    touch "$folder"/gpu{0,1}
    local host; host=$(hostname -s)
    cat >"$SLURM_CONF" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
SlurmctldPort=16817
SlurmdPort=16818
CommunicationParameters=NoCtldInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
MinJobAge=600
KillWait=5
OverTimeLimit=0
SchedulerParameters=sched_interval=5,batch_sched_delay=1
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$(awk '/MemTotal/ {print int($2 / 1100)}' /proc/meminfo) Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
    printf 'AutoDetect=off\nNodeName=%s Name=gpu File=%s/gpu[0-1]\n' "$host" "$folder" >"$folder/gres.conf"
    # munged refuses folders that others may write to, and it refuses to be root.
    install -d -o munge -g munge -m 755 "$folder/munge"
    dd if=/dev/urandom of="$folder/munge/key" bs=1024 count=1 status=none
    chown munge:munge "$folder/munge/key"; chmod 400 "$folder/munge/key"
    setpriv --reuid munge --regid munge --clear-groups munged --force \
        --key-file="$folder/munge/key" --socket="$folder/munge/socket" \
        --pid-file="$folder/munge/pid" --log-file="$folder/munge/log" --seed-file="$folder/munge/seed"
    slurmctld
    slurmd -N "$host"
    for _ in $(seq 60); do
        [ "$(sinfo --noheader --format %T 2>/dev/null)" = idle ] && return
        sleep 1
    done
    echo "cluster.sh: the node is not idle after a minute; see $folder/log" >&2
    tail -n 5 "$folder"/log/*.log >&2
    return 1
}

stop() {
    for pid in "$folder"/slurmd.pid "$folder"/slurmctld.pid "$folder"/munge/pid; do
        [ -f "$pid" ] && kill "$(cat "$pid")" 2>/dev/null || true
    done
    rm -f /etc/slurm/slurm.conf
}

case $1 in
start | stop) "$1" ;;
*) echo "usage: cluster.sh start|stop FOLDER" >&2; exit 2 ;;
esac
