# The run itself, the same for all: what differs stands above, in `run_dir`, `grace`, `timeout` (seconds; empty for none)
# and `nodes`, and in the files `command` and `environment` of the run's directory.

PATH=${PATH:-/usr/local/bin:/usr/bin:/bin}
umask 077
cd "$run_dir" || exit 1

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
    else
        # Its limit is near, something else preempts it, or a person called scancel: whoever asks Slurm learns which.
        ask '"yield"' '"Slurm asked it to end"'
    fi
}
trap heard TERM

# One that a signal ended has `setsid` say so, in `killed`, and exit with the number of the signal.
rm -f code killed
if [ "$nodes" = 1 ]; then
    (
        setsid --fork --wait sh ./command </dev/null 3>&2 2>killed
        echo $? >code
    ) &
else
    (
        srun --nodes="$nodes" --ntasks-per-node=1 --kill-on-bad-exit=1 --export=ALL sh ./command </dev/null 3>&2
        echo $? >code
    ) &
fi
child=$!
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
