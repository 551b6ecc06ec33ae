# shellcheck shell=bash
SUMMARY='memcached, 64 MB of items'
VERSION='1.6.*'
PORTS=(client=21211)

install() { debian memcached memcached "$VERSION"; }
program() { program_path memcached; }
version() { "$(program)" -V | awk '{ print $2; exit }'; }
configure() { :; }

start() {
    local -a user=()
    ((EUID != 0)) || user=(-u "$UNPRIVILEGED")
    # No UDP: it was used as an amplifier once, and nothing here uses it.
    launch "$(program)" "${user[@]}" -l "$ADDRESS" -p "${PORT[client]}" -U 0 -m 64 -c 4096
}

ready() { says "${PORT[client]}" 'version\r\n' "$(hex 'VERSION ')"; }

settings() {
    printf '%s\n' "MEMCACHED_SERVICE=$ADDRESS" "MEMCACHED_PORT=${PORT[client]}"
}
