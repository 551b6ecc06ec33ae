{{/* Every template of a part gets (dict "root" $ "name" NAME "values" the part's values). The umbrella renders its parts
     itself, because a subchart sees only its own values: a service must know Kafka's address, a gateway the services. */}}

{{- define "labels.selector" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{/* Without versions: merely a new version of the chart restarts nothing. */}}
{{- define "labels.pod" -}}
{{ include "labels.selector" . }}
app.kubernetes.io/part-of: playground
{{- with .root.Values.labels }}
{{ include "texts" . }}
{{- end }}
{{- end }}

{{- define "labels" -}}
{{ include "labels.pod" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{/* metadata of an object: (dict … "object" NAME "namespace" NAMESPACE "labels" more), all optional */}}
{{- define "metadata" -}}
name: {{ .object | default .name }}
namespace: {{ .namespace | default .root.Release.Namespace }}
labels:
  {{- include "labels" . | nindent 2 }}
  {{- with .labels }}
  {{- include "texts" . | nindent 2 }}
  {{- end }}
{{- include "wave" . }}
{{- end }}

{{/* For Argo CD: services start after their dependencies are healthy. Helm has its own order. */}}
{{- define "wave" }}
{{- if has .name (list "kafka" "memcached" "redis" "etcd" "cassandra" "elasticsearch" "prometheus" "prometheus-adapter" "cadvisor") }}
annotations:
  argocd.argoproj.io/sync-wave: "-1"
{{- end }}
{{- end }}

{{- define "monitoring.namespace" }}{{ .root.Values.monitoring.namespace }}{{ end }}

{{/* A service's Service and autoscaler, under their traditional names. */}}
{{- define "service.exposed" }}{{ get (dict "profiles" "base-service" "directory" "main-service") .name | default .name }}{{ end }}
{{- define "service.autoscaler" }}{{ get (dict "directory" "main-hpa" "stream" "stream-hpa") .name | default .name }}{{ end }}

{{- define "kafka.name" }}{{ .root.Release.Name }}-kafka{{ end }}
{{- define "kafka.secret" }}{{ .root.Values.kafka.sasl.existingSecret | default (printf "%s-kafka-user-passwords" .root.Release.Name) }}{{ end }}
{{- define "memcached.name" }}{{ .root.Release.Name }}-memcached{{ end }}
{{- define "redis.name" }}{{ .root.Release.Name }}-redis{{ end }}
{{- define "etcd.name" }}{{ .root.Release.Name }}-etcd{{ end }}
{{/* The Secret with the token of orders to shed connections. */}}
{{- define "shed.secret" }}{{ .root.Values.balancer.existingSecret | default (printf "%s-shed-token" .root.Release.Name) }}{{ end }}
{{- define "redis.port" }}{{ with .root.Values.redis.address }}{{ regexFind "[0-9]+$" . }}{{ else }}6379{{ end }}{{ end }}
{{- define "redis.secret" }}{{ .root.Values.redis.existingSecret | default (printf "%s-redis-password" .root.Release.Name) }}{{ end }}
{{- define "cassandra.name" }}{{ .root.Release.Name }}-cassandra{{ end }}
{{- define "elasticsearch.secret" }}{{ .root.Values.elasticsearch.existingSecret | default (printf "%s-es-elastic-user" .root.Release.Name) }}{{ end }}
{{/* ECK's name for the Service of an Elasticsearch named like the release. */}}
{{- define "elasticsearch.service" }}{{ .root.Release.Name }}-es-http{{ end }}
{{- define "prometheus.name" }}{{ .root.Release.Name }}-prometheus{{ end }}
{{- define "prometheus.adapter.name" }}{{ .root.Release.Name }}-prometheus-adapter{{ end }}

{{/* Whether a part runs here: "true", or nothing. */}}
{{- define "kafka.isOurs" }}{{ with .root.Values.kafka }}{{ if and .enabled (not .brokers) }}true{{ end }}{{ end }}{{ end }}
{{- define "memcached.isOurs" }}{{ with .root.Values.memcached }}{{ if and .enabled (not .host) }}true{{ end }}{{ end }}{{ end }}
{{/* For ws' sessions and stream's locks. */}}
{{- define "redis.isWanted" }}{{ if or .root.Values.redis.enabled .root.Values.ws.enabled .root.Values.directory.enabled .root.Values.stream.enabled }}true{{ end }}{{ end }}
{{- define "redis.isOurs" }}{{ if and (include "redis.isWanted" .) (not .root.Values.redis.address) }}true{{ end }}{{ end }}
{{- define "etcd.isOurs" }}{{ with .root.Values.etcd }}{{ if and .enabled (not .endpoints) }}true{{ end }}{{ end }}{{ end }}
{{/* For the data of profiles. */}}
{{- define "cassandra.isOurs" }}{{ if and (or .root.Values.cassandra.enabled .root.Values.profiles.enabled) (not .root.Values.cassandra.contactPoints) }}true{{ end }}{{ end }}
{{- define "elasticsearch.isWanted" }}{{ if or .root.Values.elasticsearch.enabled .root.Values.logger.enabled }}true{{ end }}{{ end }}
{{- define "elasticsearch.isOurs" }}{{ if and (include "elasticsearch.isWanted" .) (not .root.Values.elasticsearch.url) }}true{{ end }}{{ end }}
{{- define "prometheus.isOurs" }}{{ with .root.Values.prometheus }}{{ if and .enabled (not .url) (not .operator) }}true{{ end }}{{ end }}{{ end }}
{{- define "prometheus.adapter.isOurs" }}{{ with .root.Values.prometheus }}{{ if and .enabled .adapter.enabled }}true{{ end }}{{ end }}{{ end }}

{{- define "prometheus.url" -}}
{{- if .root.Values.prometheus.url }}{{ .root.Values.prometheus.url }}
{{- else }}http://{{ include "prometheus.name" . }}.{{ include "monitoring.namespace" . }}.svc:9090{{ end }}
{{- end }}

{{/* An image by tag, and by digest where files/images.lock has it: (dict "root" $ "image" "name:tag") */}}
{{- define "image" -}}
{{- $locked := .root.Files.Get "files/images.lock" | fromYaml | default dict }}
{{- .image }}{{ with get $locked .image }}@{{ . }}{{ end }}
{{- end }}

{{- define "image.ours" -}}
{{- with .root.Values.image }}{{ .repository }}:{{ .tag | default $.root.Chart.AppVersion }}{{ end }}
{{- end }}

{{/* metadata of a cluster-scoped object */}}
{{- define "metadata.cluster" -}}
name: {{ .object }}
labels:
  {{- include "labels" . | nindent 2 }}
{{- include "wave" . }}
{{- end }}
