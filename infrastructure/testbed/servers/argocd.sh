# shellcheck shell=bash
SUMMARY='Argo CD: its controllers, its repo server and a Redis, without the page'
# The newest release line that the Go module proxy alone can provide: later ones replace a module with a folder that is
# in no module.
VERSION=3.2.11
NEEDS='kubernetes'
PORTS=(redis=26381 repo=28181 repo_metrics=28184 controller=28182 sets=28185 sets_probe=28186 sets_webhook=28187)
START_SECONDS=120 STOP_SECONDS=30
readonly ARCHIVE=argocd-$VERSION MODULE=github.com/argoproj/argo-cd/v3
readonly CONTROLLERS=(argocd-application-controller argocd-applicationset-controller)

# shellcheck source=../lib/go.sh
source "$TESTBED/lib/go.sh"

install() {
    need_command redis-server redis-server
    need_command git git
    once install_binaries
}
install_binaries() {
    local name
    archive argocd bin/argocd-repo-server bin/argocd-cm.yaml 'bin/crds/*' || build
    for name in "${CONTROLLERS[@]}"; do ln -sf argocd-repo-server "$STAGE/bin/$name"; done
}

# Argo CD is one program that dispatches on its name; three of its commands are enough, without the server and its page.
build() {
    local source
    need_go
    source=$(go_module Dir "$MODULE@v$VERSION")
    mkdir -p "$STAGE/bin/crds" "$STAGE/src"
    # A copy, because of one line: the controller has no flag for the address of its metrics.
    cp -r --no-preserve=mode "$source" "$STAGE/src/argo-cd"
    cd "$STAGE/src" || return
    sed -i 's/"0\.0\.0\.0:%d", metricsPort/"127.0.0.1:%d", metricsPort/' argo-cd/controller/appcontroller.go
    grep -q '"127.0.0.1:%d", metricsPort' argo-cd/controller/appcontroller.go ||
        fail "$FAILED" 'argocd: appcontroller.go has changed: its metrics would be on all addresses'
    {
        printf 'module testbed\n\ngo 1.25.5\n\nrequire %s v%s\n\nreplace %s => ./argo-cd\n\n' "$MODULE" "$VERSION" "$MODULE"
        sed -n '/^replace/,$p' argo-cd/go.mod
    } >go.mod
    cp argo-cd/go.sum .
    cat >main.go <<EOM
package main

import (
	"os"
	"path/filepath"

	controller "$MODULE/cmd/argocd-application-controller/commands"
	sets "$MODULE/cmd/argocd-applicationset-controller/commands"
	repo "$MODULE/cmd/argocd-repo-server/commands"
	"$MODULE/util/log"
	"github.com/spf13/cobra"
	"k8s.io/klog/v2"
)

func main() {
	klog.SetLogger(log.NewLogrusLogger(log.NewWithCurrentConfig()))
	command := map[string]func() *cobra.Command{
		"argocd-repo-server":               repo.NewCommand,
		"argocd-application-controller":    controller.NewCommand,
		"argocd-applicationset-controller": sets.NewCommand,
	}[filepath.Base(os.Args[0])]
	if command == nil || command().Execute() != nil {
		os.Exit(1)
	}
}
EOM
    go_build argocd-repo-server . "-X $MODULE/common.version=$VERSION"
    cp argo-cd/manifests/crds/*-crd.yaml "$STAGE/bin/crds/"
    cp argo-cd/manifests/base/config/argocd-cm.yaml "$STAGE/bin/"
    rm -rf "$STAGE/src"
}

program() { printf '%s\n' "$INSTALL/bin/argocd-repo-server"; }

# The kubeconfig and the kubectl of the testbed's Kubernetes.
cluster() {
    [[ -s $STATE/kubernetes/conf/admin.kubeconfig ]] ||
        fail "$BRING_UP_FAILED" 'argocd needs a running Kubernetes: testbed up kubernetes argocd'
    KUBECONFIG=$STATE/kubernetes/conf/admin.kubeconfig
    PATH=$CACHE/kubernetes-$(sed -n 's/^VERSION=//p' "$TESTBED/servers/kubernetes.sh")/bin:$PATH
    export KUBECONFIG PATH
}

configure() {
    mkdir -p "$DIR/run"/{tmp,tls,ssh,gpg,plugins}
    : >"$DIR/run/ssh/ssh_known_hosts"
    commands >"$CONF/commands"
    printf '%s\n' "bind $ADDRESS" "port ${PORT[redis]}" 'save ""' 'appendonly no' 'maxmemory 64mb' >"$CONF/redis.conf"
    cluster
    # Server-side: the definition of ApplicationSet exceeds the limit of an annotation.
    kubectl apply --server-side --force-conflicts -f "$INSTALL/bin/crds" >/dev/null
    kubectl create namespace argocd --dry-run=client -o yaml | kubectl apply -f - >/dev/null 2>&1
    kubectl -n argocd get configmap argocd-cm >/dev/null 2>&1 || kubectl -n argocd apply -f "$INSTALL/bin/argocd-cm.yaml" >/dev/null
    # What argocd-server would create at its start: a Secret, and the project `default`.
    kubectl -n argocd apply -f - >/dev/null <<EOC
apiVersion: v1
kind: Secret
metadata: {name: argocd-secret, labels: {app.kubernetes.io/part-of: argocd}}
stringData: {server.secretkey: "$(secret server-key)"}
EOC
    kubectl wait --for condition=established --timeout 30s crd/applications.argoproj.io crd/appprojects.argoproj.io >/dev/null
    kubectl apply -f - >/dev/null <<'EOC'
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: default, namespace: argocd}
spec:
  sourceRepos: ["*"]
  destinations: [{namespace: "*", server: "*"}]
  clusterResourceWhitelist: [{group: "*", kind: "*"}]
EOC
}

# One line per process. Refreshed every few seconds, and healed without a back-off: a test waits for both.
commands() {
    local bin=$INSTALL/bin redis="$ADDRESS:${PORT[redis]}" look=${TESTBED_ARGOCD_RESYNC:-5}
    local repo="$ADDRESS:${PORT[repo]}" level=warn
    cat <<EOC
redis $(program_path redis-server) $CONF/redis.conf
repo $bin/argocd-repo-server --address $ADDRESS --port ${PORT[repo]} --metrics-address $ADDRESS --metrics-port ${PORT[repo_metrics]} --disable-tls --redis $redis --revision-cache-expiration ${look}s --loglevel $level
controller $bin/argocd-application-controller --kubeconfig $STATE/kubernetes/conf/admin.kubeconfig --namespace argocd --metrics-port ${PORT[controller]} --redis $redis --repo-server $repo --repo-server-plaintext --app-resync $look --app-resync-jitter 0 --self-heal-timeout-seconds 1 --self-heal-backoff-timeout-seconds 0 --status-processors 4 --operation-processors 4 --loglevel $level
sets $bin/argocd-applicationset-controller --kubeconfig $STATE/kubernetes/conf/admin.kubeconfig --namespace argocd --metrics-addr $ADDRESS:${PORT[sets]} --probe-addr $ADDRESS:${PORT[sets_probe]} --webhook-addr $ADDRESS:${PORT[sets_webhook]} --argocd-repo-server $repo --repo-server-plaintext --loglevel $level
EOC
}

start() {
    local run=$DIR/run
    export ARGOCD_FAKE_IN_CLUSTER=true ARGOCD_GPG_ENABLED=false ARGOCD_GNUPGHOME=$run/gpg ARGOCD_TLS_DATA_PATH=$run/tls \
        ARGOCD_SSH_DATA_PATH=$run/ssh ARGOCD_PLUGINSOCKFILEPATH=$run/plugins ARGOCD_CONTROLLER_REPLICAS=1 \
        TMPDIR=$run/tmp GOMEMLIMIT=200MiB
    launch "$TESTBED/lib/run" "$CONF/commands" "$DIR/run" "$STATE/log/$NAME"
}

ready() {
    says "${PORT[redis]}" 'PING\r\n' "$(hex +PONG)" && http_get "${PORT[repo_metrics]}" /healthz &&
        http_get "${PORT[controller]}" /healthz && http_get "${PORT[sets]}" /metrics
}

settings() { printf '%s\n' 'ARGOCD_NAMESPACE=argocd'; }
