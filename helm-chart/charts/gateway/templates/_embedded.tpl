{{/* The embedded gateway on every node: a container per listener, which finds its service's replicas by DNS. */}}
{{- define "gateway.embedded" }}
{{- $listeners := include "gateway.listeners" . | fromYamlArray }}
{{- include "account" . }}
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
    spec:
      {{- include "pod.common" (merge (dict "user" 65532) .) | nindent 6 }}
      # The sleep below, then the drain, and some time to spare.
      terminationGracePeriodSeconds: {{ include "gateway.drain" . | float64 | ceil | int | add 15 }}
      containers:
        {{- range $index, $listener := $listeners }}
        - name: {{ .name }}
          image: {{ include "image" (dict "root" $.root "image" (include "image.ours" $)) }}
          imagePullPolicy: {{ $.root.Values.image.pullPolicy }}
          args: [serve, gateway]
          ports:
            - name: {{ .name }}
              containerPort: {{ .port }}
              protocol: {{ .transport }}
            - name: {{ include "gateway.admin.name" $index }}
              containerPort: {{ add $.values.adminPort $index }}
          env:
            {{- include "gateway.env" (dict "gateway" $ "listener" . "index" $index) | trim | nindent 12 }}
          {{- range $probe := list "startup" "readiness" "liveness" }}
          {{ $probe }}Probe:
            httpGet:
              path: {{ ternary "/readyz" "/healthz" (eq $probe "readiness") }}
              port: {{ include "gateway.admin.name" $index }}
            periodSeconds: {{ ternary 10 1 (eq $probe "liveness") }}
            timeoutSeconds: {{ ternary 5 1 (eq $probe "liveness") }}
            failureThreshold: {{ ternary 60 3 (eq $probe "startup") }}
          {{- end }}
          # From SIGTERM on it accepts no connections: by then, new ones must go to other nodes.
          lifecycle:
            preStop:
              sleep:
                seconds: 5
          resources:
            {{- toYaml $.values.resources | nindent 12 }}
          {{- include "container.security" $ | nindent 10 }}
        {{- end }}
{{- include "policy" (merge (dict "ingress" (include "gateway.ingress" (merge (dict "listeners" $listeners) .)) "egress" (include "gateway.egress" (merge (dict "listeners" $listeners) .))) .) }}
{{- end }}

{{/* The cookie of a listener for HTTP; nothing if it has none. */}}
{{- define "gateway.cookie" }}{{ ternary .stickyCookie "route" (hasKey . "stickyCookie") | default "" }}{{ end }}

{{/* Admin ports of a pod have different names: services and probes refer to them. */}}
{{- define "gateway.admin.name" }}admin{{ if . }}-{{ . }}{{ end }}{{ end }}

{{/* How long connections may continue after SIGTERM, in seconds. */}}
{{- define "gateway.drain" }}
{{- $drain := dig "DRAIN_TIMEOUT" "45s" .values.env | toString }}
{{- if regexMatch "^[0-9.]+$" $drain }}{{ $drain }}{{ else }}{{ include "seconds" $drain }}{{ end }}
{{- end }}

{{/* The chart's settings, then `gateway.env`: the user wins. */}}
{{- define "gateway.env" }}
{{- $listener := .listener }}
{{- with .gateway }}
{{- $env := dict "PROTOCOL" $listener.protocol "HOST" .root.Values.envoy.host "PORT" $listener.port "ADMIN_HOST" (include "env.admin.host" .) }}
{{- $_ := set $env "ADMIN_PORT" (add .values.adminPort $.index) }}
{{- $_ := mustMergeOverwrite $env (include "service.backends" (dict "name" "gateway" "root" .root) | fromYaml) }}
{{- $names := list }}
{{- range $listener.clusters }}
{{- $name := printf "%s.%s.svc:%d" (include "service.exposed" (dict "name" .service)) $.gateway.root.Release.Namespace (int .port) }}
{{- $names = append $names (ternary (printf "%s=%s" .service $name) $name (eq $listener.protocol "HTTP")) }}
{{- end }}
{{- $_ := set $env "ENDPOINTS_DNS" (join "," $names) }}
{{- if eq $listener.protocol "HTTP" }}
{{- $routes := list }}
{{- range $listener.routes }}{{ $routes = append $routes (printf "%s=%s" .path .service) }}{{ end }}
{{- $_ := set $env "ROUTES" (append $routes (printf "/=%s" $listener.service) | join ",") }}
{{- $_ := set $env "STICKY_COOKIE" (include "gateway.cookie" $listener | default "none") }}
{{- end }}
{{- $_ := set $env "HEALTH_PORT" $listener.adminPort }}
{{- $_ := set $env "HEALTH_INTERVAL" $listener.health.interval }}
{{- $_ := set $env "HEALTH_TIMEOUT" $listener.health.timeout }}
{{- $_ := set $env "HEALTH_FALL" $listener.health.fall }}
{{- $_ := set $env "HEALTH_RISE" $listener.health.rise }}
{{- $_ := set $env "POLICY" $listener.policy }}
{{- $_ := set $env "CONNECT_TIMEOUT" $listener.connectTimeout }}
{{- $_ := set $env "STALL_TIMEOUT" $listener.stallTimeout }}
{{- $_ := set $env "IDLE_TIMEOUT" $listener.idleTimeout }}
{{- $_ := set $env "TUNNEL_TIMEOUT" $listener.tunnelTimeout }}
{{- $_ := set $env "MAX_CONNECTIONS" .values.maxConnections }}
{{- $_ := set $env "CIRCUIT_MAX_CONNECTIONS" .values.maxConnections }}
{{- $_ := set $env "DRAIN_TIMEOUT" "45s" }}
{{- range $name, $value := .values.env }}
{{- if not (kindIs "invalid" $value) }}{{ $_ := set $env $name $value }}{{ end }}
{{- end }}
{{- include "env.site" . }}
{{- include "env.list" $env }}
{{- end }}
{{- end }}

{{- define "gateway.needs" }}kafka{{ end }}

{{- define "gateway.ingress" }}
# Clients come from anywhere.
- ports:
    {{- range .listeners }}
    - {port: {{ .port }}, protocol: {{ .transport }}}
    {{- end }}
{{- range $index, $listener := .listeners }}
{{- include "policy.scraped" (dict "root" $.root "port" (add $.values.adminPort $index)) }}
{{- end }}
{{- end }}

{{/* The replicas of the services, and their health. */}}
{{- define "gateway.egress" }}
{{- include "policy.dns" . }}
{{- if eq .root.Values.gateway.kind "playctl" }}{{ include "policy.kafka" . }}{{ end }}
{{- range .listeners }}
{{- $transport := .transport }}
{{- range .clusters }}
{{- include "policy.part" (dict "root" $.root "part" .service "port" .port "protocol" $transport "direction" "to") }}
{{- include "policy.part" (dict "root" $.root "part" .service "port" .adminPort "direction" "to") }}
{{- end }}
{{- end }}
{{- end }}
