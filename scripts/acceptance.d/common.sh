# Shared by the scripts beside it: a server of its own in a folder of its own, and what is done to it.
# shellcheck shell=bash
set -euo pipefail

work=$(mktemp -d)
server=""
export GITHUB_WEBHOOK_SECRET="an acceptance secret of enough bytes"
export SWIFTHOOK_ADMIN_TOKEN="an-acceptance-token-of-enough-characters"
export MARKS="$work/marks"
export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org

# What a script has to clean up beside that.
clean_up() { :; }

finish() {
    status=$?
    clean_up || true
    [ -z "$server" ] || { kill -9 "$server"; wait "$server"; } 2>/dev/null || true
    [ "$status" = 0 ] || { echo "failed; what the server said:" >&2; tail -n 40 "$work/server.log" >&2 || true; }
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT

fail() { echo "FAILED: $*" >&2; exit 1; }

scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
free_port() { "$scripts/free-ports"; }

# until_true COMMAND…: waits for a condition, with a deadline that a busy machine keeps too.
until_true() {
    local deadline=$((SECONDS + 180))
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $deadline ] || fail "still not so: $*"
        sleep 0.05
    done
}

# A repository with one commit, and a configuration whose recipe runs the given shell text in the checkout.
set_up() {
    git init -q -b main "$work/origin"
    echo "first" >"$work/origin/model.txt"
    git -C "$work/origin" add . && git -C "$work/origin" commit -qm first
    first=$(git -C "$work/origin" rev-parse HEAD)
    port=$(free_port) admin=$(free_port)
    cat >"$work/swifthook.toml" <<TOML
[server]
listen = "127.0.0.1:$port"
admin_listen = "127.0.0.1:$admin"
reconcile = "off"
admin_token = "env:SWIFTHOOK_ADMIN_TOKEN"

[[hook]]
name = "github"
path = "/webhook"
secrets = ["env:GITHUB_WEBHOOK_SECRET"]
repositories = ["acme/*"]

[store]
url = "sqlite:$work/swifthook.db"
state_dir = "$work/state"

[[repository]]
name = "acme/models"
clone_url = "file://$work/origin"

[[recipe]]
name = "train"
repository = "acme/models"
branches = ["main"]
run = { command = ["sh", "-c", '''$1'''] }
trust = "code"
pass_env = ["MARKS"]
TOML
}

# start [WRAPPER…]: the server, perhaps under another program, and ready.
start() {
    "$@" "$SWIFTHOOK" serve --config "$work/swifthook.toml" >>"$work/server.log" 2>&1 &
    server=$!
    until_true curl -fsS "http://127.0.0.1:$port/readyz"
}

# A new commit whose model.txt holds the given text; sets $head and $before.
commit() {
    before=$(git -C "$work/origin" rev-parse HEAD)
    echo "$1" >"$work/origin/model.txt"
    git -C "$work/origin" commit -qam "$1"
    head=$(git -C "$work/origin" rev-parse HEAD)
}

# The body of a push of $before..$head, as GitHub writes it.
body() {
    cat <<JSON
{"ref":"refs/heads/main","before":"$before","after":"$head","created":false,"deleted":false,"forced":false,"base_ref":null,"compare":"https://github.com/acme/models/compare/x","repository":{"id":4242,"name":"models","full_name":"acme/models","owner":{"name":"acme","login":"acme"},"default_branch":"main","pushed_at":$(date +%s)},"pusher":{"name":"dev","email":null},"sender":{"login":"dev","id":1,"type":"User"},"commits":[{"id":"$head","message":"tune","added":[],"removed":[],"modified":["model.txt"]}],"head_commit":{"id":"$head","message":"tune","added":[],"removed":[],"modified":["model.txt"]}}
JSON
}

# Posts the push with swifthook's own client and prints the job's id.
push() {
    body >"$work/push.json"
    "$SWIFTHOOK" send "$work/push.json" --config "$work/swifthook.toml" --json | grep -o '"id":"[^"]*"' | head -n 1 | cut -d'"' -f4
}

# The value of a field of a job: job_field ID FIELD
job_field() { curl -fsS -H "Authorization: Bearer $SWIFTHOOK_ADMIN_TOKEN" "http://127.0.0.1:$admin/api/v1/jobs/$1" | node -e 'let t="";process.stdin.on("data",d=>t+=d).on("end",()=>{const j=JSON.parse(t);console.log((j.job??j)[process.argv[1]])})' "$2"; }

is_in_state() { [ "$(job_field "$1" state)" = "$2" ]; }
