# shellcheck shell=bash
SUMMARY='Redis, 64 MB, every write in its append-only file'
VERSION='7.0.*'
PORTS=(client=26379)

install() { debian redis-server redis-server "$VERSION"; }
program() { program_path redis-server; }
version() { "$(program)" --version | grep -o 'v=[^ ]*' | cut -c3-; }

configure() {
    cat >"$CONF/redis.conf" <<EOC
bind $ADDRESS
port ${PORT[client]}
dir $DATA
save ""
appendonly yes
maxmemory 64mb
maxclients 4096
EOC
}

start() { launch "$(program)" "$CONF/redis.conf"; }
ready() { says "${PORT[client]}" 'PING\r\n' "$(hex +PONG)"; }
settings() { printf '%s\n' "REDIS_HOST=$ADDRESS" "REDIS_PORT=${PORT[client]}"; }
