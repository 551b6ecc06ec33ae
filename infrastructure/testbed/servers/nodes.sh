# shellcheck shell=bash
SUMMARY='Real nodes for kubernetes: containerd, kubelet and kube-proxy in network namespaces'
VERSION=1.34.4
NEEDS='kubernetes'
PORTS=()
START_SECONDS=180 STOP_SECONDS=60
readonly ARCHIVE=kubernetes-$VERSION COREDNS=v1.15.0 METRICS_SERVER=v0.9.0
# Shared with servers/kubernetes.sh: the API server listens on the bridge.
readonly BRIDGE=testbed0 NETWORK=172.31.78
COUNT=${TESTBED_NODES_COUNT:-2}

# shellcheck source=../lib/go.sh
source "$TESTBED/lib/go.sh"

install() {
    ((EUID == 0)) || fail "$FAILED" 'nodes: only root can create network namespaces and containers; run the testbed as root'
    need_command containerd containerd
    program_path runc >/dev/null || debian_install runc
    program_path nft >/dev/null || debian_install nftables
    program_path conntrack >/dev/null || debian_install conntrack
    [[ -x /usr/lib/cni/ptp ]] || debian_install containernetworking-plugins
    need_command openssl openssl
    once install_binaries
}
install_binaries() {
    archive k8s bin/kubelet bin/kube-proxy bin/coredns bin/metrics-server bin/cadvisor-tcp images/pause.tar || build
    "$TESTBED/servers/nodes/image" "$STAGE/images/coredns.tar" testbed.local/coredns:1 "$STAGE/bin/coredns"
    "$TESTBED/servers/nodes/image" "$STAGE/images/metrics-server.tar" testbed.local/metrics-server:1 "$STAGE/bin/metrics-server"
}
build() {
    need_go
    mkdir -p "$STAGE/bin" "$STAGE/images" "$STAGE/src"
    cp -r "$TESTBED/servers/nodes/cadvisor" "$TESTBED/servers/nodes/pause" "$STAGE/src/"
    (cd "$STAGE/src/pause" && go_build pause .)
    (cd "$STAGE/src/cadvisor" && go_build cadvisor-tcp .)
    "$TESTBED/servers/nodes/image" "$STAGE/images/pause.tar" scratch.local/pause:1 "$STAGE/bin/pause"
    go_install coredns "github.com/coredns/coredns@$COREDNS"
    go_install metrics-server "sigs.k8s.io/metrics-server/cmd/metrics-server@$METRICS_SERVER"
    go_build_kubernetes "$VERSION" kubelet kube-proxy
    rm -rf "$STAGE/src"
}
program() { printf '%s\n' "$INSTALL/bin/kubelet"; }

numbers() { seq "$COUNT"; }
# node_name NUMBER: a node's name in Kubernetes.
node_name() { printf '%s%s\n' "$(cat "$DIR/prefix" 2>/dev/null || printf 'n')" "$1"; }
inside() {
    local number=$1
    shift
    nsenter --net="/run/netns/testbed-n$number" "$@"
}
kubectl() { timeout 30 "$CACHE/kubernetes-$VERSION/bin/kubectl" --kubeconfig "$STATE/kubernetes/conf/admin.kubeconfig" "$@"; }

configure() {
    local number
    [[ $COUNT =~ ^[1-9]$ ]] || fail "$USAGE" "TESTBED_NODES_COUNT=$COUNT: expected a number from 1 to 9"
    grep -qs "$NETWORK.1" "$STATE/kubernetes/conf/admin.kubeconfig" ||
        fail "$BRING_UP_FAILED" 'nodes: Kubernetes was started without them, on loopback: testbed down kubernetes, then testbed up nodes'
    printf '%s' "${TESTBED_NODES_PREFIX:-n}" >"$DIR/prefix"
    : >"$CONF/commands.new"
    for number in $(numbers); do
        network "$number"
        node "$number" "$DIR/n$number"
    done
    mv "$CONF/commands.new" "$CONF/commands"
}

# network NUMBER: a network namespace with an address on the bridge, and the routes to its pods.
network() {
    local number=$1 name=testbed-n$1 other
    if [[ ! -e /run/netns/$name ]]; then
        ip netns add "$name"
        ip link add "$name" type veth peer name eth0 netns "$name"
        ip link set "$name" master "$BRIDGE" up
        inside "$number" ip link set lo up
        inside "$number" ip addr add "$NETWORK.1$number/24" dev eth0
        inside "$number" ip link set eth0 up
        inside "$number" ip route add default via "$NETWORK.1"
        inside "$number" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
        for other in $(numbers); do
            [[ $other == "$number" ]] || inside "$number" ip route add "10.244.$other.0/24" via "$NETWORK.1$other"
        done
    fi
    # From this machine to the pods: aggregated APIs, tests.
    ip route replace "10.244.$number.0/24" via "$NETWORK.1$number"
}

# identity NUMBER NAME SUBJECT: a certificate of the cluster's authority, and a kubeconfig.
identity() {
    local folder=$DIR/n$1 keys=$STATE/kubernetes/secrets server
    server=$(sed -n 's/.*server: "\([^"]*\)".*/\1/p' "$STATE/kubernetes/conf/admin.kubeconfig")
    if [[ ! -s $folder/$2.crt ]]; then
        openssl ecparam -genkey -name prime256v1 -noout -out "$folder/$2.key"
        openssl req -new -key "$folder/$2.key" -subj "$3" | openssl x509 -req -CA "$keys/authority.crt" -CAkey "$keys/authority.key" \
            -CAcreateserial -days 365 -out "$folder/$2.crt" 2>/dev/null \
            -extfile <(printf 'extendedKeyUsage=clientAuth,serverAuth\nsubjectAltName=IP:%s' "$NETWORK.1$1")
    fi
    cat >"$folder/$2.kubeconfig" <<EOC
apiVersion: v1
kind: Config
current-context: testbed
contexts: [{name: testbed, context: {cluster: testbed, user: node}}]
clusters: [{name: testbed, cluster: {server: "$server", certificate-authority: $keys/authority.crt}}]
users: [{name: node, user: {client-certificate: $folder/$2.crt, client-key: $folder/$2.key}}]
EOC
}

# node NUMBER FOLDER: the configuration of its three processes.
node() {
    local number=$1 folder=$2 address=$NETWORK.1$1 bin=$INSTALL/bin controller authority=$STATE/kubernetes/secrets/authority.crt
    local enter="nsenter --net=/run/netns/testbed-n$number"
    mkdir -p "$folder"/{cni,kubelet,logs}
    identity "$number" kubelet "/O=system:nodes/CN=system:node:$(node_name "$number")"
    identity "$number" proxy /CN=system:kube-proxy
    cat >"$folder/containerd.toml" <<EOC
version = 2
root = "$folder/containerd"
state = "$folder/containerd-state"
[grpc]
  address = "$folder/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "scratch.local/pause:1"
  # In a container without CAP_SYS_RESOURCE, runc may not protect the sandbox from the OOM killer as requested.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$folder/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
EOC
    # ptp, not bridge: every packet is routed, so that ClusterIPs work between pods of one node.
    cat >"$folder/cni/10-ptp.conflist" <<EOC
{"cniVersion": "0.4.0", "name": "pods", "plugins": [{"type": "ptp", "ipMasq": false, "ipam": {"type": "host-local",
  "dataDir": "$folder/ipam", "ranges": [[{"subnet": "10.244.$number.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
EOC
    printf 'nameserver 127.0.0.1\n' >"$folder/resolv.conf"
    cat >"$folder/kubelet.yaml" <<EOC
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $address
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $authority}}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupRoot: /testbed-n$number
failSwapOn: false
failCgroupV1: false
enforceNodeAllocatable: []
podLogsDir: $folder/logs
resolvConf: $folder/resolv.conf
containerRuntimeEndpoint: unix://$folder/containerd.sock
clusterDNS: [10.96.0.10]
clusterDomain: cluster.local
tlsCertFile: $folder/kubelet.crt
tlsPrivateKeyFile: $folder/kubelet.key
evictionHard: {memory.available: 100Mi}
# On a disk that others fill, it would delete images that no registry has.
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
nodeStatusUpdateFrequency: 5s
healthzPort: 10248
healthzBindAddress: 127.0.0.1
volumePluginDir: $folder/plugins
EOC
    cat >"$folder/proxy.yaml" <<EOC
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clusterCIDR: 10.244.0.0/16
hostnameOverride: $(node_name "$number")
bindAddress: $address
clientConnection: {kubeconfig: $folder/proxy.kubeconfig}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
# Without it, a few connections right after Ready are refused.
nftables: {minSyncPeriod: 100ms}
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
EOC
    if [[ -d /sys/fs/cgroup/cpuset ]]; then
        for controller in cpu cpuacct cpuset memory devices freezer blkio pids systemd; do mkdir -p "/sys/fs/cgroup/$controller/testbed-n$number"; done
        for controller in cpuset.cpus cpuset.mems; do
            cat "/sys/fs/cgroup/cpuset/$controller" >"/sys/fs/cgroup/cpuset/testbed-n$number/$controller"
        done
    else
        mkdir -p "/sys/fs/cgroup/testbed-n$number"
    fi
    cat >>"$CONF/commands.new" <<EOC
containerd-n$number $enter $(program_path containerd) --config $folder/containerd.toml
kubelet-n$number $enter $bin/kubelet --config $folder/kubelet.yaml --kubeconfig $folder/kubelet.kubeconfig --hostname-override $(node_name "$number") --node-ip $address --root-dir $folder/kubelet --cert-dir $folder/kubelet-pki --containerd $folder/containerd.sock
kube-proxy-n$number $enter $bin/kube-proxy --config $folder/proxy.yaml
EOC
}

# Container roots are created with its umask, and their users must be able to enter them.
start() (
    umask 022
    PATH=$PATH:/usr/sbin:/sbin
    chmod 755 "$DIR" "$DIR"/n*
    launch "$TESTBED/lib/run" "$CONF/commands" "$DIR/run" "$STATE/log/$NAME"
)

ready() {
    local number image
    for number in $(numbers); do
        [[ -f $DIR/n$number/has-images ]] || {
            for image in "$INSTALL"/images/*.tar; do
                ctr --address "$DIR/n$number/containerd.sock" --namespace k8s.io images import "$image" >/dev/null 2>&1 || return
            done
            touch "$DIR/n$number/has-images"
        }
        [[ $(kubectl get node "$(node_name "$number")" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null) == True ]] || return
        # A restart has removed its pods.
        kubectl uncordon "$(node_name "$number")" >/dev/null || return
    done
    # Nodes first, so that both of these have somewhere to run; both are available when a test begins.
    kubectl apply -f "$TESTBED/servers/nodes/coredns.yaml" -f "$TESTBED/servers/nodes/metrics-server.yaml" >/dev/null || return
    kubectl -n kube-system wait deployment/coredns deployment/metrics-server --for=condition=Available --timeout=20s
}

# The kubelet tears down its pods, including network namespaces; no new ones come, since no node accepts any.
before_end() {
    local folder number
    for folder in "$DIR"/n[1-9]; do kubectl cordon "$(node_name "${folder##*/n}")" >/dev/null 2>&1 || return 0; done
    for folder in "$DIR"/n[1-9]; do
        number=${folder##*/n}
        kubectl delete pods -A --field-selector "spec.nodeName=$(node_name "$number")" --grace-period=1 --wait=true --timeout=25s >/dev/null 2>&1 || :
        leftovers "$DIR/n$number" >"$DIR/n$number/networks" || :
    done
}

# leftovers FOLDER: the remaining network namespaces of a node's containers.
leftovers() {
    local container
    for container in $(ctr --address "$1/containerd.sock" --namespace k8s.io containers ls -q 2>/dev/null); do
        ctr --address "$1/containerd.sock" --namespace k8s.io containers info "$container" 2>/dev/null | grep -o 'netns/cni-[0-9a-f-]*' || :
    done | sort -u
}

# Shims outlive containerd, and mounts and kernel objects outlive everything.
after_end() {
    local folder path pid
    for folder in "$DIR"/n[1-9]; do
        [[ -d $folder ]] || continue
        for pid in $(pgrep -f "containerd-shim.* -address $folder/containerd.sock" || :); do
            pkill -KILL -P "$pid" || :
            kill -KILL "$pid" 2>/dev/null || :
        done
        while read -r path; do umount -l "$path" || :; done < <(awk -v folder="$folder/" 'index($2, folder) == 1 { print $2 }' /proc/mounts | sort -r)
        while read -r path; do ip netns del "${path#netns/}" 2>/dev/null || :; done < <(cat "$folder/networks" 2>/dev/null)
        path=testbed-${folder##*/}
        ip netns del "$path" 2>/dev/null || :
        ip link del "$path" 2>/dev/null || :
        for path in /sys/fs/cgroup/*/"$path" /sys/fs/cgroup/"$path"; do
            [[ ! -d $path ]] || find "$path" -depth -type d -exec rmdir {} + 2>/dev/null || :
        done
    done
}

settings() { printf '%s\n' "NODES_IMPORT=$TESTBED/servers/nodes/import" "NODES_STATE=$DIR" "NODES_BIN=$INSTALL/bin"; }
