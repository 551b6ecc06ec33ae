# shellcheck shell=bash
SUMMARY='etcd, three members: etcd01, etcd02, etcd03'
VERSION='3.4.*'
PORTS=(client1=22381 peer1=22382 client2=22383 peer2=22384 client3=22385 peer3=22386)

install() { debian etcd etcd-server "$VERSION"; }
program() { program_path etcd; }
version() { "$(program)" --version | awk 'NR == 1 { print $3 }'; }
client() { printf '%s\n' "http://$ADDRESS:${PORT[client$1]}"; }

# One line per member. See etcd.sh for the flags.
configure() {
    local number peer cluster=''
    for number in 1 2 3; do cluster+=,etcd0$number=http://$ADDRESS:${PORT[peer$number]}; done
    for number in 1 2 3; do
        peer=http://$ADDRESS:${PORT[peer$number]}
        printf '%s\n' "etcd0$number $(program) --name etcd0$number --data-dir $DATA/etcd0$number --unsafe-no-fsync --quota-backend-bytes 268435456 --auto-compaction-mode periodic --auto-compaction-retention 5m --listen-client-urls $(client $number) --advertise-client-urls $(client $number) --listen-peer-urls $peer --initial-advertise-peer-urls $peer --initial-cluster ${cluster#,}"
    done >"$CONF/commands"
}

start() { launch "$TESTBED/lib/run" "$CONF/commands" "$DIR/run" "$STATE/log/$NAME"; }

ready() {
    local number
    for number in 1 2 3; do
        http_get "${PORT[client$number]}" /health | grep -q '"health":"true"' || return
    done
}

# Its members' pid files are in ETCD_RUN: etcd01.pid and so on, to kill one of them; `run` restarts it.
settings() { printf '%s\n' "ETCD_ENDPOINTS=$(client 1),$(client 2),$(client 3)" "ETCD_RUN=$DIR/run"; }
