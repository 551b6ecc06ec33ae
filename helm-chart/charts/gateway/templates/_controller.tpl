{{/* The listeners for HTTP once more, for the controller ingress-nginx: an Ingress for what no route has, and one for each
     service that has routes, because what is removed from paths is said for a whole Ingress. */}}
{{- define "gateway.controller" }}
{{- if .values.ingress.enabled }}
{{- range $listener := include "gateway.listeners" . | fromYamlArray }}
{{- if eq .protocol "HTTP" }}
{{- include "gateway.controller.object" (merge (dict "object" .name "listener" . "service" .service "paths" list) $) }}
{{- $paths := dict }}
{{- range .routes }}{{ $_ := set $paths .service (append (get $paths .service | default list) .path) }}{{ end }}
{{- range $service, $paths := $paths }}
{{- include "gateway.controller.object" (merge (dict "object" (printf "%s-%s" $listener.name $service) "listener" $listener "service" $service "paths" $paths) $) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* (dict … "listener" … "service" NAME "paths" of its routes; none: the rest) */}}
{{- define "gateway.controller.object" }}
{{- $ingress := .values.ingress }}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  {{- include "metadata" . | nindent 2 }}
  annotations:
    {{- mustMergeOverwrite (include "gateway.controller.annotations" . | fromYaml) (deepCopy $ingress.annotations) | include "texts" | nindent 4 }}
spec:
  ingressClassName: {{ $ingress.className }}
  {{- with $ingress.tlsSecret }}
  tls:
    - secretName: {{ . }}
      {{- with $ingress.host }}
      hosts: [{{ . | quote }}]
      {{- end }}
  {{- end }}
  rules:
    - http:
        paths:
          {{- range default (list "") .paths }}
          # A pattern: matches requests at or below this path.
          - path: {{ if . }}{{ printf "%s(/|$)(.*)" . | quote }}{{ else }}/{{ end }}
            pathType: {{ ternary "ImplementationSpecific" "Prefix" (ne . "") }}
            backend:
              service:
                name: {{ include "service.exposed" (dict "name" $.service) }}
                port:
                  name: {{ $.service }}
          {{- end }}
      {{- with $ingress.host }}
      host: {{ . | quote }}
      {{- end }}
{{- end }}

{{- define "gateway.controller.annotations" }}
{{- $prefix := "nginx.ingress.kubernetes.io" }}
{{- $cookie := include "gateway.cookie" .listener }}
{{- with $cookie }}
{{ $prefix }}/affinity: cookie
# Clients keep their replica while it exists, even when more are added.
{{ $prefix }}/affinity-mode: persistent
# One per service, as in Envoy.
{{ $prefix }}/session-cookie-name: {{ if $.paths }}{{ printf "%s-%s" . $.service }}{{ else }}{{ . }}{{ end }}
{{ $prefix }}/session-cookie-path: /
{{ $prefix }}/session-cookie-samesite: Lax
{{- end }}
{{- if .paths }}
{{ $prefix }}/use-regex: "true"
{{ $prefix }}/rewrite-target: /$2
{{- end }}
# Each event as it arrives.
{{ $prefix }}/proxy-buffering: "off"
{{ $prefix }}/proxy-connect-timeout: {{ include "seconds" .listener.connectTimeout | float64 | ceil | int | quote }}
{{- $silence := include "seconds" .listener.tunnelTimeout | float64 | ceil | int }}
# nginx knows no "never": so a week.
{{ $prefix }}/proxy-read-timeout: {{ default 604800 $silence | quote }}
{{ $prefix }}/proxy-send-timeout: {{ default 604800 $silence | quote }}
{{- end }}

{{/* The services behind the controller, in one line. */}}
{{- define "gateway.controller.services" }}
{{- if .root.Values.gateway.ingress.enabled }}
{{- range include "gateway.listeners" . | fromYamlArray }}
{{- if eq .protocol "HTTP" }}{{ range .clusters }} {{ .service }}{{ end }}{{ end }}
{{- end }}
{{- end }}
{{- end }}
