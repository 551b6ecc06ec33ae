# shellcheck shell=bash
SUMMARY='Kubernetes control plane (RBAC on) with kwok nodes, kubectl and helm'
VERSION=1.34.4
PORTS=(api=26443 controller=26444 scheduler=26445 kwok=26446 etcd=26479 peer=26480)
START_SECONDS=120 STOP_SECONDS=30
readonly ETCD=v3.6.4 HELM=v3.22.0 KWOK=v0.8.0
readonly ARCHIVE=kubernetes-$VERSION NODES_NETWORK=172.31.78
readonly COMMANDS=(kube-apiserver kube-controller-manager kube-scheduler kubectl)

# shellcheck source=../lib/go.sh
source "$TESTBED/lib/go.sh"

install() {
    need_command openssl openssl
    once install_binaries
}
install_binaries() {
    archive k8s bin/etcd bin/kube-apiserver bin/kube-controller-manager bin/kube-scheduler bin/kubectl bin/helm bin/kwok \
        bin/kwok-stages.yaml && return
    need_go
    mkdir "$STAGE/bin"
    build_small
    go_build_kubernetes "$VERSION" "${COMMANDS[@]}"
    rm -rf "$STAGE/src"
}

build_small() {
    local module stage
    go_install helm "helm.sh/helm/v3/cmd/helm@$HELM" "-X helm.sh/helm/v3/internal/version.version=$HELM -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=34"
    go_install kwok "sigs.k8s.io/kwok/cmd/kwok@$KWOK"
    # The program contains no stages ("no stages found"): they are in its module.
    module=$(go_module Dir "sigs.k8s.io/kwok@$KWOK")/kustomize/stage
    for stage in "$module"/node/fast/node-*.yaml "$module"/node/heartbeat-with-lease/node-*.yaml "$module"/pod/fast/pod-*.yaml; do
        cat "$stage"
        printf -- '---\n'
    done >"$STAGE/bin/kwok-stages.yaml"
    # The server module's main package is a library: a main of three lines.
    mkdir -p "$STAGE/src/etcd"
    cd "$STAGE/src/etcd" || return
    printf 'module testbed\n\ngo 1.24.0\n\nrequire go.etcd.io/etcd/server/v3 %s\n' "$ETCD" >go.mod
    cat >main.go <<'EOM'
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
EOM
    go_build etcd .
}

program() { printf '%s\n' "$INSTALL/bin/kubectl"; }

# ---- keys, certificates, kubeconfigs ---------------------------------------------------------------------------------

key() { [[ -s $KEYS/$1.key ]] || openssl ecparam -genkey -name prime256v1 -noout -out "$KEYS/$1.key"; }

# authority NAME: a certificate authority of this testbed.
authority() {
    key "$1"
    [[ -s $KEYS/$1.crt ]] || openssl req -x509 -new -key "$KEYS/$1.key" -subj "/CN=testbed-$1" -days 3650 -out "$KEYS/$1.crt"
}

# certificate NAME AUTHORITY SUBJECT [ALTERNATIVE NAMES]
certificate() {
    [[ ! -s $KEYS/$1.crt ]] || return 0
    key "$1"
    openssl req -new -key "$KEYS/$1.key" -subj "$3" | openssl x509 -req -CA "$KEYS/$2.crt" -CAkey "$KEYS/$2.key" \
        -CAcreateserial -days 3650 -out "$KEYS/$1.crt" 2>/dev/null -extfile \
        <(printf 'keyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth,serverAuth\n%s' "${4:+subjectAltName=$4}")
}

# kubeconfig NAME: for the holder of that certificate.
kubeconfig() {
    cat >"$CONF/$1.kubeconfig" <<EOC
apiVersion: v1
kind: Config
current-context: testbed
contexts: [{name: testbed, context: {cluster: testbed, user: $1}}]
clusters:
  - name: testbed
    cluster: {server: "https://$API_ADDRESS:${PORT[api]}", certificate-authority-data: $(base64 -w0 "$KEYS/authority.crt")}
users:
  - name: $1
    user: {client-certificate-data: $(base64 -w0 "$KEYS/$1.crt"), client-key-data: $(base64 -w0 "$KEYS/$1.key")}
EOC
}

# other_nodes: the folder of another testbed whose API server has nodes, or still ends.
other_nodes() {
    pgrep -af "kube-apiserver .*--bind-address $NODES_NETWORK\.1 " | grep -vF -- " $STATE/kubernetes/" |
        sed -E 's|.* --client-ca-file ([^ ]*)/kubernetes/.*|\1|'
}

configure() {
    local other
    KEYS=$DIR/secrets API_ADDRESS=$ADDRESS
    mkdir -p "$KEYS"
    # Real nodes and their pods have their own network; no others are simulated beside them.
    if grep -qx nodes <<<"$WANTED" || [[ -d $STATE/nodes ]]; then
        # Their networks have the same names and addresses.
        if other=$(other_nodes); then
            fail "$BRING_UP_FAILED" "nodes: another testbed has nodes on this machine; end them first: TESTBED_STATE=$other testbed down nodes kubernetes"
        fi
        API_ADDRESS=$NODES_NETWORK.1
        ip link show testbed0 >/dev/null 2>&1 || ip link add testbed0 type bridge
        ip addr replace "$NODES_NETWORK.1/24" dev testbed0
        ip link set testbed0 up
    fi
    authority authority
    authority front
    key accounts
    certificate server authority /CN=kube-apiserver \
        "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:10.96.0.1,IP:$ADDRESS,IP:$NODES_NETWORK.1"
    certificate front-client front /CN=front-proxy-client
    certificate kubelet-client authority /O=system:masters/CN=kube-apiserver-kubelet-client
    certificate admin authority /O=system:masters/CN=admin
    certificate controller authority /CN=system:kube-controller-manager
    certificate scheduler authority /CN=system:kube-scheduler
    kubeconfig admin
    kubeconfig controller
    kubeconfig scheduler
    nodes >"$CONF/nodes.yaml"
    commands >"$CONF/commands"
}

# Machines that exist only in the API; kwok reports that they and their pods are ready.
nodes() {
    local number
    local count=3
    [[ $API_ADDRESS == "$ADDRESS" ]] || count=0
    for ((number = 1; number <= ${TESTBED_KUBERNETES_NODES:-$count}; number++)); do
        cat <<EOC
---
apiVersion: v1
kind: Node
metadata:
  name: kwok-$number
  annotations: {kwok.x-k8s.io/node: fake}
  labels: {type: kwok, kubernetes.io/hostname: kwok-$number, kubernetes.io/os: linux, kubernetes.io/arch: amd64}
status:
  allocatable: {cpu: "8", memory: 32Gi, pods: "110"}
  capacity: {cpu: "8", memory: 32Gi, pods: "110"}
EOC
    done
}

# One line per process, in start order.
commands() {
    local bin=$INSTALL/bin etcd=http://$ADDRESS:${PORT[etcd]} peer=http://$ADDRESS:${PORT[peer]}
    # Loopback addresses are not allowed in Endpoints, and aggregated APIs are reached through a Service of type
    # ExternalName.
    local endpoints='--endpoint-reconciler-type none --enable-aggregator-routing=false'
    [[ $API_ADDRESS == "$ADDRESS" ]] || endpoints='--endpoint-reconciler-type lease --enable-aggregator-routing=true'
    cat <<EOC
etcd $bin/etcd --name testbed --data-dir $DATA/etcd --unsafe-no-fsync --log-level warn --listen-client-urls $etcd --advertise-client-urls $etcd --listen-peer-urls $peer --initial-advertise-peer-urls $peer --initial-cluster testbed=$peer
apiserver $bin/kube-apiserver --etcd-servers $etcd --bind-address $API_ADDRESS --advertise-address $API_ADDRESS --secure-port ${PORT[api]} $endpoints --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --allow-privileged=true --client-ca-file $KEYS/authority.crt --tls-cert-file $KEYS/server.crt --tls-private-key-file $KEYS/server.key --service-account-issuer https://kubernetes.default.svc --service-account-key-file $KEYS/accounts.key --service-account-signing-key-file $KEYS/accounts.key --kubelet-client-certificate $KEYS/kubelet-client.crt --kubelet-client-key $KEYS/kubelet-client.key --kubelet-preferred-address-types InternalIP --service-cluster-ip-range 10.96.0.0/16 --service-node-port-range 30000-32767 --requestheader-client-ca-file $KEYS/front.crt --requestheader-allowed-names front-proxy-client --requestheader-username-headers X-Remote-User --requestheader-group-headers X-Remote-Group --requestheader-extra-headers-prefix X-Remote-Extra- --proxy-client-cert-file $KEYS/front-client.crt --proxy-client-key-file $KEYS/front-client.key
controller $bin/kube-controller-manager --kubeconfig $CONF/controller.kubeconfig --authentication-kubeconfig $CONF/controller.kubeconfig --authorization-kubeconfig $CONF/controller.kubeconfig --bind-address $ADDRESS --secure-port ${PORT[controller]} --leader-elect=false --use-service-account-credentials=true --root-ca-file $KEYS/authority.crt --service-account-private-key-file $KEYS/accounts.key --cluster-signing-cert-file $KEYS/authority.crt --cluster-signing-key-file $KEYS/authority.key --allocate-node-cidrs=true --cluster-cidr 10.244.0.0/16 --service-cluster-ip-range 10.96.0.0/16 --kube-api-qps 200 --kube-api-burst 400 --horizontal-pod-autoscaler-sync-period ${TESTBED_KUBERNETES_HPA_SYNC:-1s} --horizontal-pod-autoscaler-initial-readiness-delay 1s --horizontal-pod-autoscaler-cpu-initialization-period 1s --horizontal-pod-autoscaler-downscale-stabilization ${TESTBED_KUBERNETES_HPA_DOWN:-5s}
scheduler $bin/kube-scheduler --kubeconfig $CONF/scheduler.kubeconfig --authentication-kubeconfig $CONF/scheduler.kubeconfig --authorization-kubeconfig $CONF/scheduler.kubeconfig --bind-address $ADDRESS --secure-port ${PORT[scheduler]} --leader-elect=false
kwok $bin/kwok --config $bin/kwok-stages.yaml --kubeconfig $CONF/admin.kubeconfig --manage-all-nodes=false --manage-nodes-with-annotation-selector kwok.x-k8s.io/node=fake --node-lease-duration-seconds 40 --v WARN --server-address $ADDRESS:${PORT[kwok]}
EOC
}

start() { launch "$TESTBED/lib/run" "$CONF/commands" "$DIR/run" "$STATE/log/$NAME"; }

# The API server answers, the controllers and the scheduler are healthy, every node is ready, and pods can be created,
# which needs the default service account.
ready() {
    local port
    kubectl get --raw /readyz || return 1
    [[ ! -s $CONF/nodes.yaml ]] || kubectl apply -f "$CONF/nodes.yaml" || return 1
    for port in "${PORT[controller]}" "${PORT[scheduler]}"; do
        curl --silent --fail --max-time 2 --noproxy '*' --insecure "https://$ADDRESS:$port/healthz" || return 1
    done
    kubectl -n default get serviceaccount default || return 1
    [[ ! -s $CONF/nodes.yaml ]] || kubectl wait node -l type=kwok --for=condition=Ready --timeout=2s
}
# The bridge of its real nodes is removed with it.
after_end() { ! grep -qs "$NODES_NETWORK.1:" "$CONF/admin.kubeconfig" || ip link del testbed0 2>/dev/null || :; }

kubectl() { timeout 20 "$INSTALL/bin/kubectl" --kubeconfig "$CONF/admin.kubeconfig" "$@" 2>/dev/null; }

# Its parts' pid files are in KUBERNETES_RUN: NAME.pid, to kill only the API server, for example; `run` restarts it.
settings() {
    printf '%s\n' "KUBECONFIG=$CONF/admin.kubeconfig" "PATH=$INSTALL/bin:$PATH" "KUBERNETES_RUN=$DIR/run" \
        "KUBERNETES_SERVER=$(sed -n 's/.*server: "\([^"]*\)".*/\1/p' "$CONF/admin.kubeconfig")"
}
