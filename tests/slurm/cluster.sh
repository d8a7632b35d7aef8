#!/usr/bin/env bash
# A Slurm cluster of this one machine, from Debian's packages: `cluster.sh start|stop FOLDER`.
# Two nodes of made-up sizes with two made-up GPUs each, and a partition whose jobs pre-empt the
# others'; no accounting. Everything that it writes lies in FOLDER, and it listens on 127.0.0.1 only.
# /etc/slurm/slurm.conf becomes a link to its configuration, since Snakemake's jobs
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
    mkdir -p "$folder"/{state,spool-one,spool-two,log} /etc/slurm
    ln -sf "$SLURM_CONF" /etc/slurm/slurm.conf
    touch "$folder"/gpu{0,1}
    local host; host=$(hostname -s)
    cat >"$SLURM_CONF" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
# A job that is queued again waits for its old credential to expire, by default for two minutes.
AuthInfo=socket=$folder/munge/socket,cred_expire=15
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool-%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd-%n.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd-%n.log
SlurmdParameters=config_overrides
SlurmctldPort=16817
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
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=DEFAULT CPUs=8 RealMemory=32000 Gres=gpu:2 State=UNKNOWN
NodeName=one NodeHostname=$host NodeAddr=127.0.0.1 Port=16818
NodeName=two NodeHostname=$host NodeAddr=127.0.0.1 Port=16819
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=60
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=9
CONF
    printf 'AutoDetect=off\nNodeName=one,two Name=gpu File=%s/gpu[0-1]\n' "$folder" >"$folder/gres.conf"
    # munged refuses folders that others may write to, and it refuses to be root.
    install -d -o munge -g munge -m 755 "$folder/munge"
    dd if=/dev/urandom of="$folder/munge/key" bs=1024 count=1 status=none
    chown munge:munge "$folder/munge/key"; chmod 400 "$folder/munge/key"
    setpriv --reuid munge --regid munge --clear-groups munged --force \
        --key-file="$folder/munge/key" --socket="$folder/munge/socket" \
        --pid-file="$folder/munge/pid" --log-file="$folder/munge/log" --seed-file="$folder/munge/seed"
    slurmctld
    slurmd -N one
    slurmd -N two
    for _ in $(seq 60); do
        [ "$(sinfo --noheader --partition main --format %T:%D 2>/dev/null)" = idle:2 ] && return
        sleep 1
    done
    echo "cluster.sh: the nodes are not idle after a minute; see $folder/log" >&2
    tail -n 5 "$folder"/log/*.log >&2
    return 1
}

stop() {
    for pid in "$folder"/slurmd-{one,two}.pid "$folder"/slurmctld.pid "$folder"/munge/pid; do
        [ -f "$pid" ] && kill "$(cat "$pid")" 2>/dev/null || true
    done
    rm -f /etc/slurm/slurm.conf
}

case $1 in
start | stop) "$1" ;;
*) echo "usage: cluster.sh start|stop FOLDER" >&2; exit 2 ;;
esac
