# A run that looks for everything that it must not have. Each thing found is a line that begins with HOLE; MARK is a word that
# stands in every secret of the test, and in no file of the commit.
hole() { echo "HOLE: $*"; }
can() { "$@" >/dev/null 2>&1; }

# Who it is.
[ "$(id -u)" != 0 ] || hole "it is root"
can cat /etc/shadow && hole "it reads /etc/shadow"
for set in CapInh CapPrm CapEff CapBnd CapAmb; do
    grep -q "^$set:[[:space:]]*0*$" /proc/self/status || hole "it has capabilities: $(grep "^$set" /proc/self/status)"
done
grep -q '^NoNewPrivs:[[:space:]]*1$' /proc/self/status || hole "it may get new privileges"
for one in user pid ipc uts mnt cgroup net; do echo "namespace $(readlink "/proc/self/ns/$one")"; done

# Other processes: what they are called and were told, their files, and whether they can be ended.
seen=0
for process in /proc/[0-9]*; do
    seen=$((seen + 1))
    tr '\0' ' ' <"$process/cmdline" 2>/dev/null | grep -qE -- '__swifthook|swifthook (serve|worker)|--(ro-)?bind|/runs/' &&
        hole "the command line of $process: $(tr '\0' ' ' <"$process/cmdline")"
    tr '\0' '\n' <"$process/environ" 2>/dev/null | grep -q '^OF_THE_SERVER=' && hole "the environment of $process"
    can ls "$process/root$WORLD/swifthook.toml" && hole "files by $process/root"
done
[ "$seen" -lt 20 ] || hole "it sees $seen processes"
kill -0 "$SERVER" 2>/dev/null && hole "it can signal the server"
for descriptor in /proc/1/fd/* /proc/self/fd/*; do
    case $(readlink "$descriptor") in *sandbox*|*users*|*memfd*|*lock*|*run.json*) hole "$descriptor is open" ;; esac
done
# Field 6 is the session: 0 is one of outside, with whose terminal it could do things.
set -- $(sed 's/.*) //' /proc/self/stat)
[ "$4" != 0 ] || hole "its session is not its own"

# Files.
for place in "$WORLD" /home /root /run /dev/shm /tmp /var/tmp; do
    found=$(grep -rlsIF -- "$MARK" "$place" 2>/dev/null | grep -vF -e "$PWD/" | head -n 3)
    [ -z "$found" ] || hole "the word is in $found"
done
for file in "$SECRET_LINK" "$WORLD/cache/private" "$WORLD/cache/token"; do
    [ -z "$(cat "$file" 2>/dev/null)" ] || hole "$file is read"
done
can ls "$WORLD/swifthook-state/admin-token" && hole "it sees the state directory"
[ ! -e "/dev/shm/$OUTSIDE" ] || hole "it shares /dev/shm"
[ ! -e "/run/$OUTSIDE" ] || hole "it sees sockets in /run"
[ ! -e "/tmp/$OUTSIDE" ] && [ ! -e "/var/tmp/$OUTSIDE" ] || hole "it shares /tmp"
for place in / /usr /etc /var /opt /sys /proc/sys/kernel "$WORLD" "$WORLD/swifthook-state/mirrors/acme/models.git/objects"; do
    can touch "$place/$OUTSIDE" && case $place in "$WORLD") ;; *) hole "it writes to $place" ;; esac
done
can mount -o remount,rw / && hole "it mounts / anew"
can unshare --user --map-root-user --mount sh -c 'mount -o remount,rw,bind / && touch "/usr/$OUTSIDE"' && hole "it mounts / anew as another root"
can unshare --user --map-root-user true && hole "it makes user namespaces of its own"
can mknod /tmp/node c 1 1 && hole "it makes devices"

# Devices.
devices=$(cd /dev && ls -d nvidia* 2>/dev/null | tr '\n' ' ')
echo "devices $devices"
for node in /dev/*; do
    case ${node#/dev/} in
        null | zero | full | random | urandom | tty | console | ptmx | pts | shm | fd | core | std* | nvidia*) ;;
        *) hole "$node is there" ;;
    esac
done

# What it has to have.
echo "past $(git log --format=%s | wc -l)"
git status --short | sed 's/^/changed /'
[ -r /etc/resolv.conf ] && echo "has names"
echo 1 >/dev/shm/mine && echo "has shared memory"
echo out >"$SWIFTHOOK_OUTPUT_DIR/result" && echo '{"step": 1}' >>"$SWIFTHOOK_PROGRESS" && echo 1 >/tmp/mine && echo "writes"
echo 1 >"$WORLD/cache/mine" && echo "has a cache"
echo 1 >"$HOME/mine" && mkdir -p "$HOME/.cache/huggingface/hub" && echo "has a home"
echo "interfaces $(grep -c : /proc/net/dev)"
getent passwd "$(id -u)" >/dev/null && echo "has a name"
echo again >>/dev/stderr

# Somebody who gets away, if anybody can; and a child that saves when its parent is gone already.
(exec env -i setsid sleep "$DAEMON") &
(trap 'sleep 1; echo saved >"$SWIFTHOOK_OUTPUT_DIR/saved"; exit 0' TERM; while :; do sleep 0.05; done) &
trap 'exit 7' TERM
echo end of the search
touch "$SWIFTHOOK_OUTPUT_DIR/up"
while :; do sleep 0.05; done
