{{/* The Service for clients, whatever the gateway behind it. Envoy's own objects are in its folder. */}}
{{- define "gateway.objects" }}
{{- if eq .values.kind "haproxy" }}
{{- fail "gateway.kind=haproxy: in a cluster the gateway is playctl or envoy; HAProxy learns replicas from playctl on one machine" }}
{{- end }}
{{- if include "gateway.listeners" . | fromYamlArray }}
{{- if eq .values.kind "playctl" }}{{ include "gateway.embedded" . }}{{ end }}
---
apiVersion: v1
kind: Service
metadata:
  {{- include "metadata" (merge (dict "object" "envoy-gateway-tcp") .) | nindent 2 }}
  {{- with .root.Values.envoy.annotations }}
  annotations:
    {{- include "texts" . | nindent 4 }}
  {{- end }}
spec:
  type: {{ .root.Values.envoy.serviceType }}
  {{- with .root.Values.envoy.externalIPs }}
  externalIPs:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  selector:
    {{- include "labels.selector" . | nindent 4 }}
  ports:
    {{- range include "gateway.listeners" . | fromYamlArray }}
    - name: {{ .name }}
      port: {{ .port }}
      targetPort: {{ .name }}
      protocol: {{ .transport }}
    {{- end }}
{{- include "gateway.controller" . }}
{{- end }}
{{- end }}

{{/* The listeners whose service runs, each with the rules that count for it and, as `clusters`, the services behind it.
     Profiles are for services of the cluster, which need no gateway. A balancer alone, beside somebody else's service, has none. */}}
{{- define "gateway.listeners" }}
{{- $gateway := .root.Values.gateway }}
{{- $rules := pick $gateway "policy" "health" "connectTimeout" "stallTimeout" "idleTimeout" "tunnelTimeout" }}
{{- $listeners := list }}
{{- range $gateway.listeners }}
{{- if . }}
{{- $service := get $.root.Values .service | default dict }}
{{- if and $service.enabled (ne .service "profiles") }}
{{- $listener := mergeOverwrite (deepCopy $rules) (deepCopy .) (dict "protocol" (upper .protocol) "transport" (upper .protocol | replace "HTTP" "TCP")) }}
{{- $names := list .service }}
{{- range .routes }}{{ $names = append $names .service }}{{ end }}
{{- $clusters := list }}
{{- range uniq $names }}
{{- $one := get $.root.Values . | default dict }}
{{- $name := ternary (printf "%s-%s" $listener.name .) $listener.name (eq $listener.protocol "HTTP") }}
{{- $clusters = append $clusters (dict "name" $name "service" . "port" $one.port "adminPort" $one.adminPort) }}
{{- if ne (int $one.adminPort) (int $service.adminPort) }}
{{- fail (printf "%s.adminPort: expected %d, which %s behind the same gateway port has, got %d" . (int $service.adminPort) $listener.service (int $one.adminPort)) }}
{{- end }}
{{- end }}
{{- $listeners = append $listeners (merge (dict "clusters" $clusters "adminPort" $service.adminPort) $listener) }}
{{- end }}
{{- end }}
{{- end }}
{{- if not (or $listeners $.root.Values.balancer.enabled) }}{{ fail "gateway.listeners: none of its services is enabled" }}{{ end }}
{{- toYaml $listeners }}
{{- end }}

{{/* A duration such as 250ms, 1.5s or 1m30s in seconds. */}}
{{- define "seconds" -}}
{{- $units := dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0 }}
{{- $sum := 0.0 }}
{{- range regexFindAll "[0-9.]+(ms|s|m|h)" (toString .) -1 }}
{{- $sum = addf $sum (mulf (regexFind "[0-9.]+" . | float64) (get $units (regexFind "[a-z]+" .))) }}
{{- end }}
{{- $sum }}
{{- end }}
