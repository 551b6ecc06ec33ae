{{/* Envoy on every node, from a static bootstrap. */}}
{{- define "envoy.objects" }}
{{- if and (eq .root.Values.gateway.kind "envoy") (include "gateway.listeners" . | fromYamlArray) }}
{{- include "envoy.workload" (merge (dict "name" "gateway" "object" "envoy-gateway") .) }}
{{- end }}
{{- end }}

{{- define "envoy.workload" }}
{{- $listeners := include "gateway.listeners" . | fromYamlArray }}
{{- $bootstrap := include "envoy.bootstrap" (merge (dict "listeners" $listeners) .) | fromYaml | toYaml }}
{{- include "account" . }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "metadata" . | nindent 2 }}
data:
  envoy.yaml: |
    {{- $bootstrap | nindent 4 }}
---
apiVersion: apps/v1
kind: DaemonSet
metadata:
  {{- include "metadata" . | nindent 2 }}
spec:
  revisionHistoryLimit: 5
  updateStrategy:
    rollingUpdate:
      maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "labels.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "labels.pod" . | nindent 8 }}
      annotations:
        # A changed configuration means a new pod.
        checksum/config: {{ sha256sum $bootstrap }}
    spec:
      {{- include "pod.common" (merge (dict "user" 101) .) | nindent 6 }}
      # Envoy ends at once, with every connection: by then, new ones must go to other nodes.
      terminationGracePeriodSeconds: 60
      containers:
        - name: envoy
          image: {{ include "image" (dict "root" .root "image" .values.image) }}
          command: [envoy]
          args: [--config-path, /etc/envoy/envoy.yaml, --log-level, warn, --drain-time-s, "30"]
          ports:
            {{- range $listeners }}
            - name: {{ .name }}
              containerPort: {{ .port }}
              protocol: {{ .transport }}
            {{- end }}
            - name: metrics
              containerPort: {{ include "envoy.metrics" . }}
          {{- range $probe := list "startup" "readiness" "liveness" }}
          {{ $probe }}Probe:
            httpGet:
              path: /ready
              port: metrics
            periodSeconds: {{ ternary 10 1 (eq $probe "liveness") }}
            timeoutSeconds: {{ ternary 5 1 (eq $probe "liveness") }}
            failureThreshold: {{ ternary 60 3 (eq $probe "startup") }}
          {{- end }}
          lifecycle:
            preStop:
              sleep:
                seconds: 20
          resources:
            {{- toYaml .values.resources | nindent 12 }}
          {{- include "container.security" . | nindent 10 }}
          volumeMounts:
            - name: config
              mountPath: /etc/envoy
              readOnly: true
            - name: tmp
              mountPath: /tmp
      volumes:
        - name: config
          configMap:
            name: envoy-gateway
        - name: tmp
          emptyDir:
            sizeLimit: 64Mi
{{- include "policy" (merge (dict "ingress" (include "envoy.ingress" (merge (dict "listeners" $listeners) .)) "egress" (include "gateway.egress" (merge (dict "listeners" $listeners) .))) .) }}
{{- end }}

{{/* The port of the two harmless pages of the admin interface; the rest of it stays on the pod's loopback. */}}
{{- define "envoy.metrics" }}{{ add .root.Values.gateway.adminPort 1 }}{{ end }}

{{- define "envoy.ingress" }}
# Clients come from anywhere.
- ports:
    {{- range .listeners }}
    - {port: {{ .port }}, protocol: {{ .transport }}}
    {{- end }}
{{- include "policy.scraped" (dict "root" .root "port" (include "envoy.metrics" .)) }}
{{- end }}

{{- define "envoy.bootstrap" }}
{{- $types := "type.googleapis.com/envoy" }}
{{- $host := .values.host }}
{{- $most := int64 .root.Values.gateway.maxConnections }}
admin:
  address: {socket_address: {address: 127.0.0.1, port_value: {{ .root.Values.gateway.adminPort }}}}
overload_manager:
  resource_monitors:
    - name: envoy.resource_monitors.global_downstream_max_connections
      typed_config:
        "@type": {{ $types }}.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig
        max_active_downstream_connections: {{ $most }}
static_resources:
  listeners:
    {{- range .listeners }}
    - name: {{ .name }}
      address: {socket_address: {protocol: {{ .transport }}, address: "{{ $host }}"{{ if contains ":" $host }}, ipv4_compat: true{{ end }}, port_value: {{ .port }}}}
      {{- if eq .transport "TCP" }}
      enable_reuse_port: true
      {{- $stall := include "seconds" .stallTimeout | float64 }}
      {{- if $stall }}
      # The kernel's numbers for IPPROTO_TCP and TCP_USER_TIMEOUT, which connections inherit.
      socket_options: [{level: 6, name: 18, int_value: {{ mulf $stall 1000 | int64 }}}]
      {{- end }}
      filter_chains:
        - filters:
            {{- if eq .protocol "HTTP" }}
            {{- include "envoy.requests" . | nindent 12 }}
            {{- else }}
            - name: envoy.filters.network.tcp_proxy
              typed_config:
                "@type": {{ $types }}.extensions.filters.network.tcp_proxy.v3.TcpProxy
                stat_prefix: {{ .name }}
                cluster: {{ .name }}
                # 0: the service decides how long a client may be silent.
                idle_timeout: {{ include "seconds" .tunnelTimeout }}s
                max_connect_attempts: 3
            {{- end }}
      {{- else }}
      listener_filters:
        - name: envoy.filters.udp_listener.udp_proxy
          typed_config:
            "@type": {{ $types }}.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig
            stat_prefix: {{ .name }}
            idle_timeout: {{ include "seconds" .idleTimeout }}s
            matcher:
              on_no_match:
                action:
                  name: route
                  typed_config: {"@type": {{ $types }}.extensions.filters.udp.udp_proxy.v3.Route, cluster: {{ .name }}}
      {{- end }}
    {{- end }}
    - name: metrics
      address: {socket_address: {address: "{{ $host }}"{{ if contains ":" $host }}, ipv4_compat: true{{ end }}, port_value: {{ include "envoy.metrics" . }}}}
      # Probes and scrapes must get through when the limit on clients is reached.
      ignore_global_conn_limit: true
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": {{ $types }}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: metrics
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config: {"@type": {{ $types }}.extensions.filters.http.router.v3.Router}
                route_config:
                  virtual_hosts:
                    - name: admin
                      domains: ["*"]
                      routes:
                        - {match: {path: /ready}, route: {cluster: admin}}
                        - {match: {path: /stats/prometheus}, route: {cluster: admin}}
  clusters:
    - name: admin
      type: STATIC
      load_assignment:
        cluster_name: admin
        endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {{ .root.Values.gateway.adminPort }}}}}}]}]
    {{- range $listener := .listeners }}
    {{- $interval := printf "%ss" (include "seconds" .health.interval) }}
    {{- range .clusters }}
    - name: {{ .name }}
      # Every address of the headless Service is a replica (STRICT_DNS, as it used to be called). It lists the ready
      # ones; a drained one disappears at once.
      cluster_type:
        name: envoy.clusters.dns
        typed_config:
          "@type": {{ $types }}.extensions.clusters.dns.v3.DnsCluster
          dns_refresh_rate: 1s
          dns_failure_refresh_rate: {base_interval: 1s, max_interval: 2s}
          respect_dns_ttl: false
          dns_lookup_family: V4_PREFERRED
      load_assignment:
        cluster_name: {{ .name }}
        endpoints:
          - lb_endpoints:
              - endpoint:
                  address: {socket_address: {protocol: {{ $listener.transport }}, address: "{{ include "service.exposed" (dict "name" .service) }}.{{ $.root.Release.Namespace }}.svc", port_value: {{ .port }}}}
                  # Not the clients' port: a bare connect there would count as a client.
                  health_check_config: {port_value: {{ .adminPort }}}
      load_balancing_policy:
        policies:
          - typed_extension_config:
              {{- include "envoy.policy" $listener.policy | nindent 14 }}
      connect_timeout: {{ include "seconds" $listener.connectTimeout }}s
      circuit_breakers: {thresholds: [{max_connections: {{ $most }}, max_pending_requests: {{ $most }}{{ if eq $listener.protocol "HTTP" }}, max_requests: {{ $most }}{{ end }}}]}
      {{- if eq $listener.protocol "HTTP" }}
      # Less than replicas keep a connection open, so that they seldom close one that is about to be used.
      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          "@type": {{ $types }}.extensions.upstreams.http.v3.HttpProtocolOptions
          explicit_http_config: {http_protocol_options: {}}
          common_http_protocol_options: {idle_timeout: 5s}
      {{- end }}
      # Better no replica than one that is not ready. Workers follow health checks at once, not up to a second later, so
      # that /clusters shows what they do.
      common_lb_config: {healthy_panic_threshold: {value: 0}, update_merge_window: 0s}
      ignore_health_on_host_removal: true
      health_checks:
        - timeout: {{ include "seconds" $listener.health.timeout }}s
          interval: {{ $interval }}
          no_traffic_interval: {{ $interval }}
          unhealthy_threshold: {{ $listener.health.fall }}
          healthy_threshold: {{ $listener.health.rise }}
          http_health_check: {path: {{ $listener.health.path }}, host: {{ .service }}}
    {{- end }}
    {{- end }}
{{- end }}

{{/* The filter that reads requests: routes by path, sticky by a cookie for each service. The one that playctl writes for an
Envoy on one machine is the same (crates/local/src/supervisor/proxy/envoy/http_listener.rs). */}}
{{- define "envoy.requests" }}
{{- $types := "type.googleapis.com/envoy" }}
{{- $cookie := include "gateway.cookie" . }}
{{- $listener := . }}
{{- /* Longest path first: the first that fits is taken. */}}
{{- $sorted := dict }}
{{- range .routes }}{{ $_ := set $sorted (printf "%05d %s" (sub 99999 (len .path)) .path) . }}{{ end }}
- name: envoy.filters.network.http_connection_manager
  typed_config:
    "@type": {{ $types }}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
    stat_prefix: {{ .name }}
    codec_type: HTTP1
    server_header_transformation: PASS_THROUGH
    generate_request_id: false
    # Removes what clients claim about their identity, and sets the address of their connection instead.
    use_remote_address: true
    early_header_mutation_extensions:
      - name: envoy.http.early_header_mutation.header_mutation
        typed_config:
          "@type": {{ $types }}.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation
          mutations: [{remove: forwarded}, {remove: x-forwarded-for}, {remove: x-forwarded-host}, {remove: x-forwarded-proto}, {remove: x-forwarded-prefix}, {remove: x-real-ip}]
    request_headers_timeout: 10s
    common_http_protocol_options: {idle_timeout: 10s}
    max_request_headers_kb: 32
    # 0: the service decides how long a client may be silent.
    stream_idle_timeout: {{ include "seconds" .tunnelTimeout }}s
    upgrade_configs: [{upgrade_type: websocket}]
    http_filters:
      {{- if $cookie }}
      - name: envoy.filters.http.stateful_session
        typed_config: {"@type": {{ $types }}.extensions.filters.http.stateful_session.v3.StatefulSession}
      {{- end }}
      - name: envoy.filters.http.router
        typed_config: {"@type": {{ $types }}.extensions.filters.http.router.v3.Router, suppress_envoy_headers: true}
    route_config:
      name: routes
      request_headers_to_add:
        - {header: {key: x-forwarded-host, value: "%REQ(:AUTHORITY)%"}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}
      virtual_hosts:
        - name: all
          domains: ["*"]
          routes:
            {{- range $key := keys $sorted | sortAlpha }}
            {{- $route := get $sorted $key }}
            - match: {path_separated_prefix: {{ $route.path }}}
              route:
                cluster: {{ $listener.name }}-{{ $route.service }}
                # A stream never ends.
                timeout: 0s
                retry_policy: {retry_on: connect-failure, num_retries: 1}
                regex_rewrite: {pattern: {regex: "^{{ $route.path }}/?"}, substitution: /}
              {{- if $cookie }}
              {{- include "envoy.session" (ternary $cookie (printf "%s-%s" $cookie $route.service) (eq $route.service $listener.service)) | nindent 14 }}
              {{- end }}
            {{- end }}
            - match: {prefix: /}
              route:
                cluster: {{ .name }}-{{ .service }}
                timeout: 0s
                retry_policy: {retry_on: connect-failure, num_retries: 1}
              {{- if $cookie }}
              {{- include "envoy.session" $cookie | nindent 14 }}
              {{- end }}
{{- end }}

{{- define "envoy.session" }}
{{- $types := "type.googleapis.com/envoy" }}
typed_per_filter_config:
  envoy.filters.http.stateful_session:
    "@type": {{ $types }}.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute
    stateful_session:
      session_state:
        name: envoy.http.stateful_session.cookie
        typed_config:
          "@type": {{ $types }}.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState
          cookie: {name: {{ . }}, path: /, attributes: [{name: SameSite, value: Lax}]}
{{- end }}

{{- define "envoy.policy" }}
{{- $names := dict "least-request" "least_request" "least-request-full-scan" "least_request" "round-robin" "round_robin" "random" "random" }}
{{- $name := get $names . }}
name: envoy.load_balancing_policies.{{ $name }}
typed_config:
  "@type": type.googleapis.com/envoy.extensions.load_balancing_policies.{{ $name }}.v3.{{ $name | replace "_" " " | title | nospace }}
  {{- if eq . "least-request" }}
  choice_count: 2
  {{- else if eq . "least-request-full-scan" }}
  selection_method: FULL_SCAN
  {{- end }}
{{- end }}
