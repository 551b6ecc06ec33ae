# shellcheck shell=bash
SUMMARY='containerd with runc, without networks'
VERSION='1.*'
PORTS=()

install() {
    ((EUID == 0)) || fail "$FAILED" "containerd: starts containers as root only; run the testbed as root"
    debian containerd containerd "$VERSION"
    program_path runc >/dev/null || debian_install runc
}
version() { "$(program)" --version | awk '{ sub(/[~+].*/, "", $3); print $3 }'; }
program() { program_path containerd; }

configure() {
    cat >"$CONF/containerd.toml" <<EOC
version = 2
root = "$DATA"
state = "$DIR/state"
# The kubelet's side is not needed to load and run an image.
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "$DIR/containerd.sock"
[ttrpc]
  address = "$DIR/containerd.sock.ttrpc"
EOC
}

# Container roots are created with its umask, and their users must be able to enter them.
start() (
    umask 022
    launch "$(program)" --config "$CONF/containerd.toml"
)
ready() { ctr --address "$DIR/containerd.sock" version; }
settings() { printf '%s\n' "CONTAINERD_ADDRESS=$DIR/containerd.sock"; }
