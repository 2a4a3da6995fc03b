#!/usr/bin/env bash
# A real Slurm of this machine alone, for tests and for trying things out: munged, slurmctld and slurmd, from Debian's
# packages slurm-wlm and munge. No systemd. It is no cluster to keep: whoever may sign in here may use it.
#
#     scripts/slurm-single-node.sh start FOLDER    # starts it, and makes it if it is not there yet: of one node, or of as
#                                                  # many as SWIFTHOOK_SLURM_NODES says, which are all this machine;
#                                                  # with SWIFTHOOK_SLURM_ACCOUNTING=1 it has accounting, for `sacct`, in a
#                                                  # MariaDB of its own (packages slurmdbd and mariadb-server-core), and
#                                                  # its controller forgets what ended five seconds ago;
#                                                  # with SWIFTHOOK_SLURM_MEMORY=1 it looks each second at the memory of
#                                                  # jobs and kills one that uses more than its `--mem`, without which
#                                                  # it has 4 GiB for each processor
#     export SLURM_CONF=FOLDER/slurm.conf          # for sinfo, sbatch, squeue, scancel and swifthook
#     scripts/slurm-single-node.sh status FOLDER
#     scripts/slurm-single-node.sh stop FOLDER [slurmctld|slurmd.node1|munged]
#
# All that it makes is in FOLDER. Ports are chosen when it is made, so that several can stand beside each other. It runs as
# whoever starts it.
set -euo pipefail
action=${1:-}
folder=${2:?usage: scripts/slurm-single-node.sh start|stop|status FOLDER}
here=$(cd "$(dirname "$0")" && pwd)
PATH=$PATH:/usr/sbin:/sbin

make() {
    mkdir -p "$folder"/{spool,state,log,munge,cgroup}
    chmod 700 "$folder/munge" "$folder/log"
    [ -e "$folder/munge/key" ] || (umask 077 && head -c 128 /dev/urandom >"$folder/munge/key")
    local nodes=${SWIFTHOOK_SLURM_NODES:-1} ports port_of_controller port_of_accounting port_of_database
    local accounting="AccountingStorageType=accounting_storage/none" remembered=600
    local memory="JobAcctGatherType=jobacct_gather/none
SelectTypeParameters=CR_CPU" has=
    read -r port_of_controller port_of_accounting port_of_database ports < <("$here/free-ports" $((nodes + 3)))
    for node in $(seq "$nodes"); do mkdir -p "$folder/spool/node$node"; done
    if [ -n "${SWIFTHOOK_SLURM_ACCOUNTING:-}" ]; then
        make_accounting "$port_of_accounting" "$port_of_database"
        accounting="AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$port_of_accounting
AccountingStoragePass=$folder/munge/socket"
        remembered=5
    fi
    if [ -n "${SWIFTHOOK_SLURM_MEMORY:-}" ]; then
        memory="JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=4096"
        has=" RealMemory=65536"
    fi
    # No control groups. Sixteen processors, whatever there is, so that tests need not wait for each other.
    cat >"$folder/slurm.conf" <<CONF
ClusterName=swifthook
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CredType=cred/munge
SlurmctldPort=$port_of_controller
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.%n.pid
SlurmctldLogFile=$folder/log/slurmctld
SlurmdLogFile=$folder/log/slurmd.%n
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool/%n
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
$memory
$accounting
JobCompType=jobcomp/filetxt
JobCompLoc=$folder/log/completed
SelectType=select/cons_tres
SchedulerType=sched/backfill
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
SlurmctldParameters=preempt_send_user_signal
ReturnToService=2
SlurmdParameters=config_overrides
KillWait=5
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0,bf_interval=1,default_queue_depth=2000
MinJobAge=$remembered
$(number=0; for port in $ports; do number=$((number + 1)); echo "NodeName=node$number NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=$port CPUs=16$has State=UNKNOWN"; done)
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PreemptMode=CANCEL GraceTime=20
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10
PartitionName=closed Nodes=ALL MaxTime=INFINITE State=DOWN
CONF
    printf 'CgroupPlugin=cgroup/v1\nCgroupMountpoint=%s\n' "$folder/cgroup" >"$folder/cgroup.conf"
}

# Arguments: the ports of slurmdbd and of its database.
make_accounting() {
    mkdir -p "$folder/database"
    mariadb-install-db --no-defaults --user="$(id -un)" --datadir="$folder/database" --auth-root-authentication-method=normal \
        >"$folder/log/database.made" 2>&1
    cat >"$folder/database.cnf" <<CNF
[mariadbd]
datadir=$folder/database
socket=$folder/database.socket
pid-file=$folder/mariadbd.pid
log-error=$folder/log/mariadbd
bind-address=127.0.0.1
port=$2
user=$(id -un)
init-file=$folder/database.sql
innodb-buffer-pool-size=32M
CNF
    cat >"$folder/database.sql" <<SQL
CREATE USER IF NOT EXISTS 'slurm'@'127.0.0.1' IDENTIFIED BY 'slurm';
GRANT ALL ON slurm_acct_db.* TO 'slurm'@'127.0.0.1';
CREATE USER IF NOT EXISTS 'slurm'@'localhost' IDENTIFIED BY 'slurm';
GRANT ALL ON slurm_acct_db.* TO 'slurm'@'localhost';
SQL
    (umask 077 && cat >"$folder/slurmdbd.conf") <<CONF
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
DbdHost=$(hostname -s)
DbdAddr=127.0.0.1
DbdPort=$1
SlurmUser=$(id -un)
PidFile=$folder/slurmdbd.pid
LogFile=$folder/log/slurmdbd
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$2
StorageUser=slurm
StoragePass=slurm
CONF
}

pid_of() { cat "$folder/$1.pid" 2>/dev/null || true; }

# The nodes that it has.
nodes() { sed -n 's/^NodeName=\([^ ]*\) .*/\1/p' "$folder/slurm.conf"; }

# Its programs, in the order in which they start. Each node has one of its own.
programs() {
    local accounting=
    [ ! -e "$folder/slurmdbd.conf" ] || accounting="mariadbd slurmdbd"
    echo munged $accounting slurmctld $(nodes | sed 's/^/slurmd./')
}

# Whether a program is the one that was started from here, and not another one that got its number.
runs() {
    local pid
    pid=$(pid_of "$1")
    # slurmdbd is told its folder by its environment alone.
    [ -n "$pid" ] && cat "/proc/$pid/cmdline" "/proc/$pid/environ" 2>/dev/null | tr '\0' ' ' | grep -qF "$folder"
}

start_one() {
    runs "$1" && return
    case $1 in
        munged)
            munged --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" \
                --pid-file="$folder/munged.pid" --log-file="$folder/log/munged" \
                --seed-file="$folder/munge/seed" 2>>"$folder/log/munged.start"
            ;;
        mariadbd)
            mariadbd --defaults-file="$folder/database.cnf" >/dev/null 2>&1 &
            is_there mariadbd test -S "$folder/database.socket"
            ;;
        slurmdbd)
            SLURM_CONF=$folder/slurm.conf slurmdbd
            is_there slurmdbd accounts
            ;;
        slurmctld) slurmctld -f "$folder/slurm.conf" ;;
        slurmd.*) slurmd -f "$folder/slurm.conf" -N "${1#slurmd.}" ;;
    esac
}

# Waits until a program is, by a command that says so.
is_there() {
    for _ in $(seq 1200); do
        "${@:2}" && return
        sleep 0.1
    done
    echo "$1 is not there; see $folder/log/$1" >&2
    exit 1
}

# Whether the accounting answers, and knows of this cluster.
accounts() {
    export SLURM_CONF=$folder/slurm.conf
    timeout 10 sacctmgr -nP list cluster 2>/dev/null | grep -q '^swifthook|' || timeout 10 sacctmgr -iQ add cluster swifthook >/dev/null 2>&1
}

stop_one() {
    runs "$1" || return 0
    local pid
    pid=$(pid_of "$1")
    kill "$pid"
    for _ in $(seq 150); do
        [ -e "/proc/$pid" ] || return 0
        sleep 0.1
    done
    # A slurmd that is told to end while a job of its begins may wait for ever.
    echo "$1 does not end, and is killed" >&2
    kill -s KILL "$pid" 2>/dev/null || true
}

# Whether no node is away.
answers() {
    local states
    states=$(SLURM_CONF=$folder/slurm.conf timeout 10 sinfo -h -o %T -p main 2>/dev/null) || return
    ! grep -qvE '^(idle|mixed|allocated|completing)$' <<<"$states"
}

start() {
    local needed="munged slurmctld slurmd sbatch"
    [ -z "${SWIFTHOOK_SLURM_ACCOUNTING:-}" ] || needed="$needed slurmdbd mariadbd mariadb-install-db"
    for program in $needed; do
        command -v "$program" >/dev/null && continue
        echo "missing: $program (packages slurm-wlm, munge; for accounting slurmdbd, mariadb-server-core)" >&2
        exit 1
    done
    [ -e "$folder/cgroup.conf" ] || make
    for program in $(programs); do
        start_one "$program"
    done
    for _ in $(seq 1200); do
        answers && return
        sleep 0.1
    done
    echo "the node is not there; see $folder/log" >&2
    tail -n 5 "$folder"/log/slurm* >&2
    exit 1
}

status() {
    local all=0
    for program in $(programs); do
        if runs "$program"; then echo "$program runs ($(pid_of "$program"))"; else echo "$program does not run"; all=1; fi
    done
    [ $all = 0 ] && SLURM_CONF=$folder/slurm.conf timeout 10 sinfo
    return $all
}

folder=$(mkdir -p "$folder" && cd "$folder" && pwd)
case $action in
    start) start ;;
    stop) for program in ${3:-$(programs | tr ' ' '\n' | tac)}; do stop_one "$program"; done ;;
    status) status ;;
    *) echo "usage: scripts/slurm-single-node.sh start|stop|status FOLDER" >&2; exit 2 ;;
esac
