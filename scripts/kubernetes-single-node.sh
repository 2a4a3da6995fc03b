#!/usr/bin/env bash
# A real Kubernetes of this machine alone, for tests and for trying things out: etcd, kube-apiserver,
# kube-controller-manager, kube-scheduler, containerd with runc, and a kubelet that runs pods. Debian has Kubernetes as a
# source package alone (1.20 in bookworm), so it is built from that. It is no cluster to keep.
#
#     scripts/kubernetes-single-node.sh build FOLDER      # builds its programs: half an hour on two processors, 4 GB
#     scripts/kubernetes-single-node.sh start FOLDER      # starts it, and makes it if it is not there yet
#     export KUBECONFIG=FOLDER/admin.conf                 # for kubectl, with everything allowed
#     scripts/kubernetes-single-node.sh test FOLDER       # scripts/kubernetes-contract.sh on it, and what goes wrong on a
#                                                         # cluster, with the rights of contrib/kubernetes/rbac.yaml
#     scripts/kubernetes-single-node.sh image FOLDER NAME ROOT   # makes an image of a folder, and prints its name by digest
#     scripts/kubernetes-single-node.sh status FOLDER
#     scripts/kubernetes-single-node.sh stop FOLDER [kube-apiserver|kubelet|...]
#
# Packages: golang-go dpkg-dev rsync etcd-server containerd runc containernetworking-plugins busybox-static gcc openssl
# python3 and kubectl; and a `deb-src` in the sources of apt. Root, and control groups of version 1, which Kubernetes 1.20
# needs. All that it makes is in FOLDER, but for the bridge `swifthook0`, the control groups `kubepods`, and what the kubelet
# sets of the kernel (vm.overcommit_memory, kernel.panic), which `stop` sets back. One can run on a machine.
set -euo pipefail
action=${1:-}
folder=${2:?usage: scripts/kubernetes-single-node.sh build|start|test|image|stop|status FOLDER}
here=$(cd "$(dirname "$0")" && pwd)
PATH=$PATH:/usr/sbin:/sbin
programs="etcd kube-apiserver kube-controller-manager kube-scheduler containerd kubelet"

need() {
    for program in "$@"; do
        command -v "$program" >/dev/null || { echo "missing: $program (see the packages in $0)" >&2; exit 1; }
    done
}

build() {
    need go dpkg-source rsync gcc python3 apt-get
    local tree=$folder/go/src/k8s.io/kubernetes
    export GO111MODULE=off CGO_ENABLED=0 GOPATH=$folder/go GOCACHE=$folder/cache
    mkdir -p "$folder"/{bin,source,go/src/k8s.io}
    if [ ! -e "$tree/debian/rules" ]; then
        (cd "$folder/source" && apt-get source --download-only kubernetes) ||
            { echo "apt has no source of kubernetes: is there a \`deb-src\` in its sources?" >&2; exit 1; }
        rm -rf "$tree"
        dpkg-source --no-check -x "$folder"/source/kubernetes_*.dsc "$tree"
    fi
    cd "$tree"
    # What the source has not, and the API server needs: the description of its own API.
    if [ ! -s pkg/generated/openapi/zz_generated.openapi.go ]; then
        go build -o "$folder/bin/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
        local described
        described=$(find pkg staging -name '*.go' -not -path '*/_*' -not -path '*/testdata/*' -print0 |
            xargs -0 grep -l '+k8s:openapi-gen=' | grep -v -e sample -e code-generator/ -e /example | xargs -n1 dirname |
            LC_ALL=C sort -u | sed 's|^staging/src/|vendor/|; s|^|k8s.io/kubernetes/|' | paste -sd,)
        "$folder/bin/openapi-gen" -i "$described" -p k8s.io/kubernetes/pkg/generated/openapi \
            -O zz_generated.openapi -h vendor/k8s.io/code-generator/hack/boilerplate.go.txt -r "$folder/violations"
    fi
    local version place stamp=
    version=$(sed -n '1s/.*really\([0-9.]*\).*/\1/p' debian/changelog)
    for place in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        place=k8s.io/kubernetes/vendor/$place
        stamp+=" -X $place.gitVersion=v$version -X $place.gitMajor=1 -X $place.gitMinor=$(cut -d. -f2 <<<"$version")"
        stamp+=" -X $place.gitTreeState=clean"
    done
    nice -n 5 go build -trimpath -ldflags "-s -w$stamp" -o "$folder/bin/" \
        ./cmd/kube-apiserver ./cmd/kube-controller-manager ./cmd/kube-scheduler ./cmd/kubelet
    gcc -static -Os -o "$folder/bin/pause" build/pause/linux/pause.c
}

# Ports that nobody listens on now, and that no connection gets by chance: the system gives those from 32768 on.
free_ports() {
    python3 -c 'import random, socket
ends = []
while len(ends) < '"$1"':
    end = socket.socket()
    try: end.bind(("127.0.0.1", random.randrange(12000, 32000)))
    except OSError: continue
    ends.append(end)
print(*[end.getsockname()[1] for end in ends])'
}

# A key, and a certificate of the cluster's authority for it: NAME, subject, other names.
certify() {
    local pki=$folder/pki
    openssl req -newkey rsa:2048 -nodes -keyout "$pki/$1.key" -subj "$2" -out "$pki/$1.csr" 2>/dev/null
    openssl x509 -req -in "$pki/$1.csr" -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -CAcreateserial -days 3650 \
        -extfile <(echo "subjectAltName=${3:-DNS:none}") -out "$pki/$1.crt" 2>/dev/null
}

# A file by which somebody reaches the cluster: FILE, and who it is.
reach() {
    cat >"$1" <<CONF
apiVersion: v1
kind: Config
current-context: here
clusters: [{ name: here, cluster: { server: "https://127.0.0.1:$port_of_api", certificate-authority: "$folder/pki/ca.crt" } }]
contexts: [{ name: here, context: { cluster: here, user: me, namespace: default } }]
users: [{ name: me, user: { $2 } }]
CONF
    chmod 600 "$1"
}

make() {
    (umask 077 && mkdir -p "$folder/pki")
    mkdir -p "$folder"/{log,cni,run,etcd,volumes}
    local node address
    node=$(hostname -s | tr '[:upper:]_' '[:lower:]-')
    address=$(ip -4 -o addr show scope global | awk '{ sub("/.*", "", $4); print $4; exit }')
    read -r port_of_etcd port_of_peers port_of_api port_of_kubelet port_of_health port_of_controllers port_of_scheduler \
        port_of_streams < <(free_ports 8)
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$folder/pki/ca.key" -out "$folder/pki/ca.crt" -days 3650 \
        -subj /CN=swifthook-test 2>/dev/null
    openssl genrsa -out "$folder/pki/accounts.key" 2048 2>/dev/null
    certify api /CN=kube-apiserver "DNS:localhost,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:$address,IP:10.96.0.1"
    certify kubelet "/CN=$node" "DNS:$node,IP:$address"
    local name subject
    while read -r name subject; do
        certify "$name" "$subject"
        reach "$folder/$name.conf" "client-certificate: \"$folder/pki/$name.crt\", client-key: \"$folder/pki/$name.key\""
    done <<WHO
admin /O=system:masters/CN=admin
controllers /CN=system:kube-controller-manager
scheduler /CN=system:kube-scheduler
node /O=system:nodes/CN=system:node:$node
WHO
    cat >"$folder/containerd.toml" <<CONF
version = 2
root = "$folder/containerd"
state = "$folder/run/containerd"
[grpc]
address = "$folder/run/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "localhost/pause:here"
# A machine that is itself in a box may not make its processes less likely to be killed for memory.
restrict_oom_score_adj = true
stream_server_port = "$port_of_streams"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "$folder/cni"
CONF
    cat >"$folder/cni/bridge.conflist" <<CONF
{ "cniVersion": "0.4.0", "name": "swifthook", "plugins": [
  { "type": "bridge", "bridge": "swifthook0", "isGateway": false, "ipMasq": false,
    "ipam": { "type": "host-local", "dataDir": "$folder/run/cni", "ranges": [[{ "subnet": "10.88.77.0/24" }]] } } ] }
CONF
    # Images are never collected, and pods are not evicted for the sake of a disk that others fill.
    cat >"$folder/kubelet.yaml" <<CONF
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $address
port: $port_of_kubelet
healthzPort: $port_of_health
authentication: { anonymous: { enabled: false }, x509: { clientCAFile: "$folder/pki/ca.crt" }, webhook: { enabled: true } }
authorization: { mode: Webhook }
tlsCertFile: $folder/pki/kubelet.crt
tlsPrivateKeyFile: $folder/pki/kubelet.key
cgroupDriver: cgroupfs
failSwapOn: false
makeIPTablesUtilChains: false
imageGCHighThresholdPercent: 100
evictionHard: { memory.available: 200Mi, nodefs.available: 1Gi, imagefs.available: 1Gi }
resolvConf: /etc/resolv.conf
kubeAPIQPS: 100
kubeAPIBurst: 200
maxPods: 110
CONF
    # Last: it says that the folder is whole.
    cat >"$folder/ports" <<CONF
node=$node
address=$address
port_of_etcd=$port_of_etcd
port_of_peers=$port_of_peers
port_of_api=$port_of_api
port_of_controllers=$port_of_controllers
port_of_scheduler=$port_of_scheduler
CONF
}

pid_of() { cat "$folder/run/$1.pid" 2>/dev/null || true; }

# Whether a program is the one that was started from here, and not another one that got its number.
runs() {
    local pid
    pid=$(pid_of "$1")
    [ -n "$pid" ] && { tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qF "$folder"
}

spawn() {
    local name=$1
    shift
    setsid "$@" >>"$folder/log/$name" 2>&1 </dev/null &
    echo $! >"$folder/run/$name.pid"
}

start_one() {
    runs "$1" && return
    local pki=$folder/pki
    case $1 in
        etcd)
            spawn etcd etcd --name=here --data-dir="$folder/etcd" --logger=zap --log-outputs=stderr \
                --listen-client-urls="http://127.0.0.1:$port_of_etcd" \
                --advertise-client-urls="http://127.0.0.1:$port_of_etcd" \
                --listen-peer-urls="http://127.0.0.1:$port_of_peers" \
                --initial-advertise-peer-urls="http://127.0.0.1:$port_of_peers" \
                --initial-cluster="here=http://127.0.0.1:$port_of_peers"
            ;;
        kube-apiserver)
            spawn kube-apiserver "$folder/bin/kube-apiserver" --etcd-servers="http://127.0.0.1:$port_of_etcd" \
                --bind-address=127.0.0.1 --secure-port="$port_of_api" --advertise-address="$address" \
                --endpoint-reconciler-type=none --service-cluster-ip-range=10.96.0.0/16 \
                --tls-cert-file="$pki/api.crt" --tls-private-key-file="$pki/api.key" --client-ca-file="$pki/ca.crt" \
                --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged \
                --service-account-issuer=https://kubernetes.default.svc \
                --service-account-key-file="$pki/accounts.key" \
                --service-account-signing-key-file="$pki/accounts.key" \
                --kubelet-client-certificate="$pki/admin.crt" --kubelet-client-key="$pki/admin.key" \
                --kubelet-certificate-authority="$pki/ca.crt" --kubelet-preferred-address-types=InternalIP
            ;;
        kube-controller-manager)
            spawn kube-controller-manager "$folder/bin/kube-controller-manager" --kubeconfig="$folder/controllers.conf" \
                --bind-address=127.0.0.1 --secure-port="$port_of_controllers" --port=0 --leader-elect=false \
                --root-ca-file="$pki/ca.crt" --service-account-private-key-file="$pki/accounts.key" \
                --use-service-account-credentials --kube-api-qps=200 --kube-api-burst=300
            ;;
        kube-scheduler)
            spawn kube-scheduler "$folder/bin/kube-scheduler" --kubeconfig="$folder/scheduler.conf" \
                --bind-address=127.0.0.1 --secure-port="$port_of_scheduler" --port=0 --leader-elect=false
            ;;
        containerd) spawn containerd containerd --config "$folder/containerd.toml" ;;
        kubelet)
            spawn kubelet "$folder/bin/kubelet" --config="$folder/kubelet.yaml" --kubeconfig="$folder/node.conf" \
                --root-dir="$folder/kubelet" --cert-dir="$folder/pki" --hostname-override="$node" --node-ip="$address" \
                --container-runtime=remote --container-runtime-endpoint="unix://$folder/run/containerd.sock"
            ;;
    esac
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
    echo "$1 does not end, and is killed" >&2
    kill -s KILL "$pid" 2>/dev/null || true
}

in_containerd() { ctr --address "$folder/run/containerd.sock" --namespace k8s.io "$@"; }

# Waits for a minute until a command succeeds, and says so if it does not.
await() {
    local what=$1
    shift
    for _ in $(seq 300); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.2
    done
    echo "$what: waited in vain; see $folder/log" >&2
    tail -n 5 "$folder"/log/* >&2
    exit 1
}

of_admin() { kubectl --kubeconfig "$folder/admin.conf" "$@"; }

start() {
    need etcd containerd ctr runc openssl python3 kubectl ip
    [ "$(id -u)" = 0 ] || { echo "the kubelet needs root" >&2; exit 1; }
    [ -d /sys/fs/cgroup/memory ] || { echo "Kubernetes 1.20 needs control groups of version 1" >&2; exit 1; }
    [ -x "$folder/bin/kubelet" ] || { echo "there is nothing to start: $0 build $folder" >&2; exit 1; }
    [ -e "$folder/ports" ] || make
    # shellcheck disable=SC1091
    . "$folder/ports"
    if ! runs kubelet; then
        (cd /proc/sys && grep -H '' vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops) \
            >"$folder/run/kernel"
    fi
    start_one etcd
    start_one containerd
    start_one kube-apiserver
    await "the API server" of_admin get --raw /readyz
    for program in kube-controller-manager kube-scheduler; do start_one "$program"; done
    await containerd in_containerd version
    if ! in_containerd images ls -q | grep -qx localhost/pause:here; then
        local root
        root=$(mktemp -d)
        cp "$folder/bin/pause" "$root/pause"
        image localhost/pause:here "$root" /pause >/dev/null
        rm -r "$root"
    fi
    start_one kubelet
    await "the node" of_admin wait --for=condition=Ready "node/$node" --timeout=1s
    await "the service account" of_admin get serviceaccount default
    # For contrib/kubernetes/storage.yaml: a folder that everybody on this machine shares.
    mkdir -p "$folder/volumes/runs"
    of_admin apply -f - <<CONF >/dev/null
apiVersion: v1
kind: PersistentVolume
metadata: { name: runs }
spec:
  capacity: { storage: 500Gi }
  accessModes: [ReadWriteMany]
  persistentVolumeReclaimPolicy: Retain
  hostPath: { path: $folder/volumes/runs }
CONF
}

# An image of one layer, which is the folder ROOT: NAME ROOT [COMMAND]. Prints its name by digest.
image() {
    local work digest
    work=$(mktemp -d)
    digest=$(python3 - "$work" "$@" <<'PYTHON'
import hashlib, json, os, sys, tarfile

work, name, root, *command = sys.argv[1:]
blobs = os.path.join(work, "blobs", "sha256")
os.makedirs(blobs)

def owned(member):
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member

def put(data, kind):
    digest = hashlib.sha256(data).hexdigest()
    with open(os.path.join(blobs, digest), "wb") as file:
        file.write(data)
    return {"mediaType": "application/vnd.oci.image." + kind, "digest": "sha256:" + digest, "size": len(data)}

layer = os.path.join(work, "layer.tar")
with tarfile.open(layer, "w") as tar:
    for entry in sorted(os.listdir(root)):
        tar.add(os.path.join(root, entry), entry, filter=owned)
with open(layer, "rb") as file:
    layer = put(file.read(), "layer.v1.tar")
config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
          "config": {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"], **({"Entrypoint": command} if command else {})}}
config = put(json.dumps(config, sort_keys=True).encode(), "config.v1+json")
manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": [layer]}
manifest = put(json.dumps(manifest, sort_keys=True).encode(), "manifest.v1+json")
manifest["annotations"] = {"io.containerd.image.name": name}
with open(os.path.join(work, "index.json"), "w") as file:
    json.dump({"schemaVersion": 2, "manifests": [manifest]}, file)
with open(os.path.join(work, "oci-layout"), "w") as file:
    json.dump({"imageLayoutVersion": "1.0.0"}, file)
print(manifest["digest"])
PYTHON
    )
    tar -C "$work" -cf "$work.tar" blobs index.json oci-layout
    in_containerd images import "$work.tar" >&2
    in_containerd images tag --force "$1" "${1%%:*}@$digest" >/dev/null
    rm -r "$work" "$work.tar"
    echo "${1%%:*}@$digest"
}

# The image of the tests, which has both swifthook-supervise with its libraries and a shell, from what is here.
image_of_tests() {
    local root supervise
    supervise=$here/../target/debug/swifthook-supervise
    root=$(mktemp -d)
    chmod 755 "$root"
    mkdir -p "$root"/{usr/bin,etc,tmp}
    ln -s usr/bin "$root/bin"
    chmod 1777 "$root/tmp"
    cp "$(command -v busybox)" "$root/usr/bin/busybox"
    for name in $(busybox --list | grep -vx busybox); do ln -s busybox "$root/usr/bin/$name"; done
    cp "$supervise" "$root/usr/bin/"
    ldd "$supervise" | grep -o '/[^ ]*' | while read -r library; do install -D "$library" "$root$library"; done
    image localhost/swifthook-tests:here "$root"
    rm -r "$root"
}

run_tests() {
    need cargo busybox
    (cd "$here/.." && cargo build -p swifthook-launch --features kubernetes-cluster --bin swifthook-supervise --locked)
    local image
    image=$(image_of_tests)
    of_admin apply -f "$here/../contrib/kubernetes/rbac.yaml" -f "$here/../contrib/kubernetes/storage.yaml" >&2
    reach "$folder/swifthook.conf" "token: \"$(of_admin create token swifthook --duration=24h)\""
    export KUBECONFIG=$folder/swifthook.conf SWIFTHOOK_TEST_TOOLS=$image SWIFTHOOK_TEST_IMAGE=$image
    "$here/kubernetes-contract.sh"
    export SWIFTHOOK_TEST_SINGLE_NODE=$folder
    local trouble="cargo test -p swifthook-launch --features kubernetes-cluster --test kubernetes_single_node --locked --"
    (cd "$here/.." && $trouble --test-threads=4 --skip an_api_server && $trouble an_api_server)
}

stop() {
    local program
    for program in ${1:-kubelet kube-scheduler kube-controller-manager kube-apiserver etcd}; do stop_one "$program"; done
    [ -z "${1:-}" ] || return 0
    if runs containerd; then
        local all
        all=$(in_containerd tasks ls -q)
        for one in $all; do in_containerd tasks kill -s KILL "$one" 2>/dev/null || true; done
        for one in $all; do in_containerd tasks delete "$one" >/dev/null 2>&1 || true; done
        stop_one containerd
    fi
    awk -v folder="$folder/" 'index($2, folder) == 1 { print $2 }' /proc/mounts | tac | xargs -r -n1 umount
    ip link delete swifthook0 2>/dev/null || true
    find /sys/fs/cgroup/*/kubepods -depth -type d -exec rmdir {} \; 2>/dev/null || true
    [ -e "$folder/run/kernel" ] || return 0
    while IFS=: read -r name value; do echo "$value" >"/proc/sys/$name"; done <"$folder/run/kernel"
}

status() {
    local all=0
    for program in $programs; do
        if runs "$program"; then echo "$program runs ($(pid_of "$program"))"; else echo "$program does not run"; all=1; fi
    done
    [ $all = 0 ] && of_admin get nodes,pods --all-namespaces
    return $all
}

folder=$(mkdir -p "$folder" && cd "$folder" && pwd)
# shellcheck disable=SC1091
[ ! -e "$folder/ports" ] || . "$folder/ports"
case $action in
    build) build ;;
    start) start ;;
    stop) stop "${3:-}" ;;
    status) status ;;
    test) run_tests ;;
    image) image "${3:?NAME}" "${4:?ROOT}" ;;
    *) echo "usage: scripts/kubernetes-single-node.sh build|start|test|image|stop|status FOLDER" >&2; exit 2 ;;
esac
