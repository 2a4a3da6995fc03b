# The run itself, the same for all: what differs stands above, in `control`, `grace`, `timeout` (seconds; empty for none),
# `max_log` (bytes; empty for none) and `nodes`, and in the files `command` and `environment` of that folder. What is
# written here is seen by us alone: the training has a directory of its own.

PATH=${PATH:-/usr/local/bin:/usr/bin:/bin}
umask 077
cd "$control" || exit 1

# A run has one Slurm job, whoever submitted it and however often: the one that makes this directory. The others end here.
if mkdir start 2>/dev/null; then
    mkdir "start/$SLURM_JOB_ID.${SLURM_RESTART_COUNT:-0}" || exit 1
    restarted=
elif [ -d "start/$SLURM_JOB_ID.0" ] && mkdir "start/$SLURM_JOB_ID.${SLURM_RESTART_COUNT:-0}" 2>/dev/null; then
    restarted=yes
else
    exit 0
fi

# How it ended, as JSON; it is there whole or not at all. Arguments: code, signal, who asked, what is to be said.
began=$(date +%s)
write_end() {
    printf '{"version":1,"code":%s,"signal":%s,"stopped":%s,"message":%s,"began_at":%s000,"ended_at":%s000}\n' \
        "$1" "$2" "$3" "$4" "$began" "$(date +%s)" >"exit.json.$SLURM_JOB_ID.tmp"
    sync "exit.json.$SLURM_JOB_ID.tmp" 2>/dev/null
    mv -f "exit.json.$SLURM_JOB_ID.tmp" exit.json
}

# Slurm began it anew, so what ran is gone. Only who submitted it knows from which checkpoint it can go on.
if [ -n "$restarted" ]; then
    [ -e exit.json ] || write_end null null '"yield"' '"Slurm put it back into its queue"'
    exit 0
fi

# Within a sandbox the command is in the session of bubblewrap's child, which itself hears nothing but a kill.
tell_session() {
    inner=$session
    if [ -e sandbox ] && [ "$1" != KILL ]; then
        inner=$(cat "/proc/$session/task/$session/children" 2>/dev/null)
        inner=${inner%% *}
    fi
    [ -n "$inner" ] && kill -s "$1" -- "-$inner" 2>/dev/null
}

# To all of its session. On several nodes Slurm tells its step; what srun itself hears ends the step at once.
tell() {
    if [ "$nodes" = 1 ]; then
        session=$(cat session 2>/dev/null) && tell_session "$1"
    else
        scancel --signal="$1" "$SLURM_JOB_ID.0" 2>/dev/null
    fi || again=yes
}

after() { setsid sh -c 'sleep "$1"; [ -z "$3" ] || : >"$3"; kill -s TERM "$2"' swifthook-timer "$1" $$ "$2" & }

# It is asked once; the first reason stays. When its grace is over it is killed.
stopped=null
told=null
killer=
ask() {
    if [ "$stopped" = null ]; then
        stopped=$1
        told=$2
    fi
    tell TERM
    if [ -z "$killer" ]; then
        after "$(cat grace 2>/dev/null || echo "$grace")" grace.over
        killer=$!
    fi
}

heard() {
    again=
    if [ -e stop.kill.json ] || [ -e grace.over ]; then
        [ "$stopped" != null ] || stopped='"cancel"'
        tell KILL
    elif [ -e stop.grace.json ]; then
        ask '"cancel"' null
    elif [ -e stop.yield.json ]; then
        ask '"yield"' null
    elif [ -e time.over ]; then
        ask '"timeout"' null
    elif [ -e log.over ]; then
        ask '"limit"' "\"its log has more than $max_log bytes (max_log), and the file system cannot cut it\""
    else
        # Its limit is near, something else preempts it, or a person called scancel: whoever asks Slurm learns which.
        ask '"yield"' '"Slurm asked it to end"'
    fi
}
trap heard TERM

# Of a log that is too large the middle is cut out: its file keeps its length, and what was there takes nothing of the disk.
# A line before the hole tells, always of the same length. Where no file has holes the run is asked to end. It is reached by
# what we have open: in its place the run may have put anything.
log=/proc/$$/fd/1
kept_first=$((${max_log:-0} / 4 / 65536 * 65536 + 65536))
cut_to=$kept_first
cut_log() {
    set -- $(stat -Lc '%s %b %B' $log 2>/dev/null)
    [ $# = 3 ] || return 0
    [ "$1" -ge "$cut_to" ] || cut_to=$kept_first
    [ $(($1 - cut_to + kept_first)) -gt "$max_log" ] || [ $(($2 * $3 / 2)) -gt "$max_log" ] || return 0
    set -- $((($1 - max_log / 2) / 65536 * 65536))
    [ "$1" -gt "$kept_first" ] || return 0
    fallocate --punch-hole --offset $kept_first --length $(($1 - kept_first)) $log || return 1
    cut_to=$1
    printf '\n%-78s\n' "[swifthook: $((cut_to - kept_first)) bytes are cut out of the log here]" |
        dd of=$log bs=80 count=1 iflag=fullblock oflag=seek_bytes seek=$((kept_first - 80)) conv=notrunc 2>/dev/null
}
keep_log() {
    trap '' TERM
    until ! cut_log; do sleep 1; done
    : >log.over
    kill -s TERM $$
}

# One that a signal ended has `setsid` say so, in `killed`, and exit with the number of the signal.
rm -f code killed log.over
if [ "$nodes" = 1 ]; then
    (
        setsid --fork --wait sh ./command </dev/null 3>&2 2>killed
        echo $? >code
    ) &
else
    (
        srun --nodes="$nodes" --chdir="$control" --ntasks-per-node=1 --kill-on-bad-exit=1 --export=ALL sh ./command </dev/null 3>&2
        echo $? >code
    ) &
fi
child=$!
cutter=
if [ -n "$max_log" ]; then
    keep_log &
    cutter=$!
fi
timer=
if [ -n "$timeout" ]; then
    after "$timeout" time.over
    timer=$!
fi
# It may have been asked before this could be heard, or before there was anybody to tell.
[ ! -e stop.kill.json ] && [ ! -e stop.grace.json ] && [ ! -e stop.yield.json ] || again=yes
while [ ! -s code ] && kill -s 0 "$child" 2>/dev/null; do
    if [ -n "$again" ]; then
        sleep 0.1
        heard
    else
        wait "$child"
    fi
done

# What is left of it. One that was asked to end may have left a child that still saves.
session=$(cat session 2>/dev/null)
if [ "$stopped" != null ] && [ -n "$session" ]; then
    while kill -s 0 -- "-$session" 2>/dev/null; do sleep 0.1; done
fi
[ -z "$session" ] || kill -s KILL -- "-$session" 2>/dev/null
for round in 1 2 3 4 5; do
    left=$(grep -lsxzF "SWIFTHOOK_RUN=$key" /proc/[0-9]*/environ | cut -d/ -f3)
    [ -n "$left" ] || break
    kill -s KILL $left 2>/dev/null
    [ "$round" = 1 ] || sleep 0.1
done
for one in $timer $killer; do kill -s KILL -- "-$one" 2>/dev/null; done
if [ -n "$cutter" ]; then
    kill -s KILL "$cutter" 2>/dev/null
    cut_log
fi

rm -f environment
code=$(cat code 2>/dev/null)
if [ -z "$code" ]; then
    write_end null 15 "$stopped" "$told"
elif [ -s killed ]; then
    write_end null $((code & 127)) "$stopped" "$told"
else
    write_end "$code" null "$stopped" "$told"
fi
exit 0
