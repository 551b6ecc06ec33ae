{{- define "prometheus.objects" }}
{{- $here := merge (dict "namespace" (include "monitoring.namespace" .)) . }}
{{- if include "prometheus.isOurs" . }}
{{- include "prometheus.workload" (merge (dict "object" (include "prometheus.name" .)) $here) }}
{{- end }}
{{- if and .values.enabled .values.operator }}
{{- include "prometheus.monitors" . }}
{{- end }}
{{- if include "prometheus.adapter.isOurs" . }}
{{- include "prometheus.adapter" (merge (dict "name" "prometheus-adapter" "object" (include "prometheus.adapter.name" .)) $here) }}
{{- end }}
{{- end }}

{{- define "prometheus.workload" }}
{{- $config := include "prometheus.config" . | fromYaml | toYaml }}
{{- $rules := .root.Files.Get "files/rules.yaml" }}
{{- $alerts := .root.Files.Get "files/alerts.yaml" }}
{{- include "account" . }}
{{- include "budget" . }}
{{- range include "prometheus.namespaces" . | fromYamlArray }}
---
# It may find the pods to scrape, in these namespaces only.
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  {{- include "metadata" (merge (dict "namespace" .) $) | nindent 2 }}
rules:
  - apiGroups: [""]
    resources: [pods]
    verbs: [get, list, watch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  {{- include "metadata" (merge (dict "namespace" .) $) | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ $.object }}
subjects:
  - kind: ServiceAccount
    name: {{ $.object }}
    namespace: {{ $.namespace }}
{{- end }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "metadata" . | nindent 2 }}
data:
  prometheus.yml: |
    {{- $config | nindent 4 }}
  rules.yaml: |
    {{- $rules | nindent 4 }}
  alerts.yaml: |
    {{- $alerts | nindent 4 }}
---
apiVersion: v1
kind: Service
metadata:
  {{- include "metadata" . | nindent 2 }}
spec:
  selector:
    {{- include "labels.selector" . | nindent 4 }}
  ports:
    - name: http
      port: 9090
      targetPort: http
---
apiVersion: apps/v1
kind: StatefulSet
metadata:
  {{- include "metadata" . | nindent 2 }}
spec:
  replicas: 1
  serviceName: {{ .object }}
  selector:
    matchLabels:
      {{- include "labels.selector" . | nindent 6 }}
  {{- include "storage.claim" . | nindent 2 }}
  template:
    metadata:
      labels:
        {{- include "labels.pod" . | nindent 8 }}
      annotations:
        checksum/config: {{ print $config $rules $alerts | sha256sum }}
    spec:
      {{- include "pod.common" (merge (dict "user" 65534 "token" true) .) | nindent 6 }}
      terminationGracePeriodSeconds: 60
      containers:
        - name: prometheus
          image: {{ include "image" (dict "root" .root "image" .values.image) }}
          args:
            - --config.file=/etc/prometheus/prometheus.yml
            - --storage.tsdb.path=/prometheus/tsdb
            - --storage.tsdb.retention.time={{ .values.retention }}
          ports:
            - name: http
              containerPort: 9090
          {{- range $probe := list "startup" "readiness" "liveness" }}
          {{ $probe }}Probe:
            httpGet:
              path: /-/{{ ternary "healthy" "ready" (eq $probe "liveness") }}
              port: http
            periodSeconds: {{ ternary 10 2 (eq $probe "liveness") }}
            timeoutSeconds: 3
            failureThreshold: {{ ternary 60 3 (eq $probe "startup") }}
          {{- end }}
          resources:
            {{- toYaml .values.resources | nindent 12 }}
          {{- include "container.security" . | nindent 10 }}
          volumeMounts:
            - name: config
              mountPath: /etc/prometheus
              readOnly: true
            - name: data
              mountPath: /prometheus
            - name: tmp
              mountPath: /tmp
      volumes:
        - name: config
          configMap:
            name: {{ .object }}
        {{- include "storage.volume" . | trim | nindent 8 }}
{{- include "policy" (merge (dict "ingress" (include "prometheus.ingress" .) "egress" (include "prometheus.egress" .)) .) }}
{{- end }}

{{- define "prometheus.namespaces" }}
- {{ .root.Release.Namespace }}
{{- if .root.Values.cadvisor.enabled }}
- {{ .root.Values.cadvisor.namespace }}
{{- end }}
{{- end }}

{{- define "prometheus.ingress" }}
{{- include "policy.part" (dict "root" .root "part" "prometheus-adapter" "port" 9090 "direction" "from") }}
{{- end }}

{{/* Pods of the release at their admin ports, and the API server, whose address is unknown here. */}}
{{- define "prometheus.egress" }}
{{- include "policy.dns" . }}
{{- include "policy.outside" (list 443 6443 8443) }}
- to:
    {{- range include "prometheus.namespaces" . | fromYamlArray }}
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ . }}
      podSelector:
        matchLabels:
          app.kubernetes.io/instance: {{ $.root.Release.Name }}
    {{- end }}
{{- end }}

{{/* The labels are those of docs/telemetry.md, so that the same rules serve a cluster and one machine. */}}
{{- define "prometheus.config" }}
{{- $interval := .root.Values.metrics.scrapeInterval }}
global:
  scrape_interval: {{ $interval }}
  scrape_timeout: {{ $interval }}
rule_files: [/etc/prometheus/rules.yaml, /etc/prometheus/alerts.yaml]
scrape_configs:
  - job_name: services
    kubernetes_sd_configs: [{role: pod, namespaces: {names: [{{ .root.Release.Namespace }}]}}]
    relabel_configs:
      - {action: keep, source_labels: [__meta_kubernetes_pod_label_app_kubernetes_io_instance], regex: {{ .root.Release.Name }}}
      - {action: keep, source_labels: [__meta_kubernetes_pod_container_port_name], regex: "admin(-[0-9]+)?"}
      {{- include "prometheus.where" . | nindent 6 }}
      - {source_labels: [__meta_kubernetes_pod_label_app_kubernetes_io_name], target_label: service}
  - job_name: gateways
    metrics_path: /stats/prometheus
    kubernetes_sd_configs: [{role: pod, namespaces: {names: [{{ .root.Release.Namespace }}]}}]
    relabel_configs:
      - {action: keep, source_labels: [__meta_kubernetes_pod_label_app_kubernetes_io_name, __meta_kubernetes_pod_container_port_name], regex: gateway;metrics}
      {{- include "prometheus.where" . | nindent 6 }}
  {{- if .root.Values.cadvisor.enabled }}
  # The node's kernel counts for each pod; the labels name the pod that is counted.
  - job_name: cadvisor
    kubernetes_sd_configs: [{role: pod, namespaces: {names: [{{ .root.Values.cadvisor.namespace }}]}}]
    relabel_configs:
      - {action: keep, source_labels: [__meta_kubernetes_pod_label_app_kubernetes_io_name], regex: cadvisor}
      - {source_labels: [__meta_kubernetes_pod_node_name], target_label: node}
    metric_relabel_configs:
      {{- include "prometheus.cadvisor" . | nindent 6 }}
  {{- end }}
{{- end }}

{{- define "prometheus.where" }}
- {source_labels: [__meta_kubernetes_namespace], target_label: namespace}
- {source_labels: [__meta_kubernetes_pod_name], target_label: pod}
- {source_labels: [__meta_kubernetes_pod_node_name], target_label: node}
{{- end }}

{{- define "prometheus.cadvisor" }}
- {action: keep, source_labels: [__name__], regex: "container_network_.*|container_last_seen|up"}
- {source_labels: [container_label_io_kubernetes_pod_namespace], target_label: namespace}
- {source_labels: [container_label_io_kubernetes_pod_name], target_label: pod}
- {source_labels: [container_label_io_kubernetes_container_name], target_label: container}
- {action: labeldrop, regex: "container_label_.*|id|image|name"}
{{- end }}

{{/* The same for a Prometheus of the operator. */}}
{{- define "prometheus.monitors" }}
---
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  {{- include "metadata" (merge (dict "object" .root.Release.Name "labels" .values.operatorLabels) .) | nindent 2 }}
spec:
  namespaceSelector:
    matchNames: {{ include "prometheus.namespaces" . | fromYamlArray | toJson }}
  selector:
    matchLabels:
      app.kubernetes.io/instance: {{ .root.Release.Name }}
  podMetricsEndpoints:
    {{- range $index, $listener := include "gateway.listeners" . | fromYamlArray }}
    - port: {{ include "gateway.admin.name" $index }}
      interval: {{ $.root.Values.metrics.scrapeInterval }}
      relabelings:
        - {action: replace, sourceLabels: [__meta_kubernetes_pod_label_app_kubernetes_io_name], targetLabel: service}
    {{- end }}
    - port: metrics
      path: /stats/prometheus
      interval: {{ .root.Values.metrics.scrapeInterval }}
    - port: cadvisor
      interval: {{ .root.Values.metrics.scrapeInterval }}
      metricRelabelings:
        - {action: keep, sourceLabels: [__name__], regex: "container_network_.*|container_last_seen|up"}
        - {action: replace, sourceLabels: [container_label_io_kubernetes_pod_namespace], targetLabel: namespace}
        - {action: replace, sourceLabels: [container_label_io_kubernetes_pod_name], targetLabel: pod}
        - {action: replace, sourceLabels: [container_label_io_kubernetes_container_name], targetLabel: container}
        - {action: labeldrop, regex: "container_label_.*|id|image|name"}
---
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  {{- include "metadata" (merge (dict "object" .root.Release.Name "labels" .values.operatorLabels) .) | nindent 2 }}
spec:
  groups:
    {{- get (.root.Files.Get "files/rules.yaml" | fromYaml) "groups" | toYaml | nindent 4 }}
    {{- get (.root.Files.Get "files/alerts.yaml" | fromYaml) "groups" | toYaml | nindent 4 }}
---
# For the Grafana beside the operator.
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "metadata" (merge (dict "object" (printf "%s-dashboard" .root.Release.Name) "labels" (dict "grafana_dashboard" "1")) .) | nindent 2 }}
data:
  playctl.json: |
    {{- .root.Files.Get "files/dashboard.json" | nindent 4 }}
{{- end }}
