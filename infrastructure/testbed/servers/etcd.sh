# shellcheck shell=bash
SUMMARY='etcd, one member'
VERSION='3.4.*'
PORTS=(client=22379 peer=22380)

install() { debian etcd etcd-server "$VERSION"; }
program() { program_path etcd; }
version() { "$(program)" --version | awk 'NR == 1 { print $3 }'; }
configure() { :; }

start() {
    local client=http://$ADDRESS:${PORT[client]} peer=http://$ADDRESS:${PORT[peer]}
    # Fsync protects against power failures; a killed process loses nothing without it. Unused history takes space.
    launch "$(program)" --name testbed --data-dir "$DATA" --unsafe-no-fsync --quota-backend-bytes 268435456 \
        --auto-compaction-mode periodic --auto-compaction-retention 5m \
        --listen-client-urls "$client" --advertise-client-urls "$client" \
        --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "testbed=$peer"
}

ready() { http_get "${PORT[client]}" /health | grep -q '"health":"true"'; }
settings() { printf '%s\n' "ETCD_ENDPOINTS=http://$ADDRESS:${PORT[client]}"; }
