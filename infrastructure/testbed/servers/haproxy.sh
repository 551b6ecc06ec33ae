# shellcheck shell=bash
SUMMARY='HAProxy, TCP to 32 slots that its runtime socket fills; statistics behind a password'
VERSION='2.*'
PORTS=(tcp=28080 stats=28404)
readonly STATS_USER=playctl

install() { debian haproxy haproxy "$VERSION"; }
program() { program_path haproxy; }
version() { "$(program)" -v | awk 'NR == 1 { sub(/-.*/, "", $3); print $3 }'; }

# A replica takes a slot by `set server tcp/replica1 addr … port …` and `set server tcp/replica1 state ready`.
configure() {
    cat >"$CONF/haproxy.cfg" <<EOC
global
    stats socket $DIR/haproxy.sock mode 600 level admin
defaults
    mode tcp
    timeout connect 2s
    timeout client 10m
    timeout server 10m
frontend tcp
    bind $ADDRESS:${PORT[tcp]}
    default_backend tcp
backend tcp
    balance roundrobin
    server-template replica 1-32 $ADDRESS:1 check inter 1s fall 2 rise 2 disabled
frontend stats
    mode http
    bind $ADDRESS:${PORT[stats]}
    http-request auth realm statistics unless { http_auth(readers) }
    http-request use-service prometheus-exporter if { path /metrics }
    stats enable
    stats uri /stats
userlist readers
    user $STATS_USER insecure-password $(secret stats-password)
EOC
    "$(program)" -c -q -f "$CONF/haproxy.cfg" 2>"$STATE/log/haproxy-check.log" ||
        fail "$BRING_UP_FAILED" "haproxy: its configuration is refused: $(<"$STATE/log/haproxy-check.log")"
}

start() { launch "$(program)" -db -f "$CONF/haproxy.cfg"; }

# Without the password, the page must answer, with a refusal.
ready() { says "${PORT[stats]}" 'GET /stats HTTP/1.0\r\n\r\n' "$(hex 'HTTP/1.1 401')"; }

settings() {
    printf '%s\n' "HAPROXY_TCP=$ADDRESS:${PORT[tcp]}" "HAPROXY_SOCKET=$DIR/haproxy.sock" \
        "HAPROXY_STATS_URL=http://$ADDRESS:${PORT[stats]}/stats" "HAPROXY_STATS_USER=$STATS_USER" \
        "HAPROXY_STATS_PASSWORD=$(secret stats-password)"
}
