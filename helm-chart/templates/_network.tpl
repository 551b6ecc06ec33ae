{{/* The traffic that one part's pods may receive and send; everything else is denied by templates/network-policy.yaml.
     (dict … "ingress" YAML "egress" YAML), both lists of rules, either may be empty. */}}
{{- define "policy" }}
{{- if .root.Values.networkPolicy.enabled }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "metadata" . | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "labels.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  {{- with .ingress }}
  ingress:
    {{- . | trim | nindent 4 }}
  {{- end }}
  {{- with .egress }}
  egress:
    {{- . | trim | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* DNS, wherever the cluster runs it; some run it on the node itself. */}}
{{- define "policy.dns" }}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end }}

{{/* One of our parts at a port: (dict "root" $ "part" NAME "port" PORT "direction" "from"|"to" "namespace" optional) */}}
{{- define "policy.part" }}
- {{ .direction }}:
    - podSelector:
        matchLabels:
          app.kubernetes.io/name: {{ .part }}
          app.kubernetes.io/instance: {{ .root.Release.Name }}
      {{- with .namespace }}
      namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ . }}
      {{- end }}
  ports:
    - {port: {{ .port }}, protocol: {{ .protocol | default "TCP" }}}
{{- end }}

{{/* The Prometheus that scrapes: ours, or anything in the namespace of the operator's. */}}
{{- define "policy.scraped" }}
{{- if .root.Values.prometheus.enabled }}
- from:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ include "monitoring.namespace" . }}
  ports:
    - {port: {{ .port }}, protocol: TCP}
{{- end }}
{{- end }}

{{/* Something outside the chart: its port is the last number of its address; its IP address is unknown here. */}}
{{- define "policy.outside" }}
- ports:
    {{- range . }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
{{- end }}
