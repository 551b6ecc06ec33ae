{{/* Everything that one of our services is made of. NAME.needs, defined in the service's folder, are the parts that it
     talks to, in one line. */}}
{{- define "service.objects" }}
{{- $kind := dict "tcp" "TCP" "udp" "UDP" "ws" "TCP" "ws-client" "TCP" "balancer" "TCP" "profiles" "TCP" "directory" "TCP" "stream" "TCP" "page" "TCP" }}
{{- $protocol := get $kind .name }}
{{- include "account" . }}
{{- include "service.deployment" (merge (dict "protocol" $protocol) .) }}
{{- include "budget" . }}
{{- if $protocol }}
---
# Headless: gateways choose a replica themselves.
apiVersion: v1
kind: Service
metadata:
  {{- include "metadata" (merge (dict "object" (include "service.exposed" .)) .) | nindent 2 }}
spec:
  clusterIP: None
  selector:
    {{- include "labels.selector" . | nindent 4 }}
    traffic: active
  ports:
    - name: {{ .name }}
      port: {{ .values.port }}
      targetPort: {{ .name }}
      protocol: {{ $protocol }}
    - name: admin
      port: {{ .values.adminPort }}
      targetPort: admin
{{- end }}
{{- with .values.autoscaling }}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  {{- include "metadata" (merge (dict "object" (include "service.autoscaler" $)) $) | nindent 2 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ $.name }}
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- include "policy" (merge (dict "ingress" (include "service.ingress" (merge (dict "protocol" $protocol) .)) "egress" (include "service.egress" .)) .) }}
{{- end }}

{{/* Whether the balancer sets the number of this service's replicas: "true", or nothing. */}}
{{- define "service.isScaledByBalancer" }}
{{- $balancer := .root.Values.balancer }}
{{- if and $balancer.enabled (eq .name (include "balancer.service" .)) }}
{{- include "balancer.scales" (dict "root" .root "values" $balancer) }}
{{- end }}
{{- end }}

{{- define "service.deployment" }}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "metadata" . | nindent 2 }}
spec:
  {{- /* Another upgrade would take their number back from an autoscaler or the balancer. */}}
  {{- if not (or .values.autoscaling (include "service.isScaledByBalancer" . | trim)) }}
  replicas: {{ if kindIs "invalid" .values.replicas }}1{{ else }}{{ .values.replicas }}{{ end }}
  {{- end }}
  revisionHistoryLimit: 5
  strategy:
    rollingUpdate:
      maxSurge: 1
      maxUnavailable: 0
  selector:
    matchLabels:
      {{- include "labels.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "labels.pod" . | nindent 8 }}
        # Not in the selector above: the balancer takes a replica out of traffic by changing it.
        traffic: active
      {{- with .values.podAnnotations }}
      annotations:
        {{- include "texts" . | nindent 8 }}
      {{- end }}
    spec:
      {{- include "pod.common" (merge (dict "user" 65532 "token" (eq .name "balancer")) .) | nindent 6 }}
      {{- include "pod.spread" (merge (dict "revision" "pod-template-hash") .) | nindent 6 }}
      # No preStop: from SIGTERM on, the service itself accepts, notifies and drains.
      terminationGracePeriodSeconds: {{ .values.terminationGracePeriodSeconds }}
      containers:
        - name: {{ .name }}
          image: {{ include "image" (dict "root" .root "image" (include "image.ours" .)) }}
          imagePullPolicy: {{ .root.Values.image.pullPolicy }}
          args: [serve, {{ .name }}]
          ports:
            {{- if .protocol }}
            - name: {{ .name }}
              containerPort: {{ .values.port }}
              protocol: {{ .protocol }}
            {{- end }}
            - name: admin
              containerPort: {{ .values.adminPort }}
          env:
            {{- include "service.env" . | trim | nindent 12 }}
          {{- range $probe := list "startup" "readiness" "liveness" }}
          {{- with get ($.values.probes | default dict) $probe }}
          {{ $probe }}Probe:
            httpGet:
              path: {{ .path }}
              port: admin
            {{- toYaml (omit . "path") | nindent 12 }}
          {{- end }}
          {{- end }}
          resources:
            {{- toYaml .values.resources | nindent 12 }}
          {{- include "container.security" . | nindent 10 }}
          {{- if include "service.mounts" . }}
          volumeMounts:
            {{- include "service.mounts" . | trim | nindent 12 }}
          {{- end }}
      {{- if include "service.volumes" . }}
      volumes:
        {{- include "service.volumes" . | trim | nindent 8 }}
      {{- end }}
{{- end }}

{{/* The platform's settings, then `env`: the user wins. */}}
{{- define "service.env" }}
{{- $env := dict "ADMIN_HOST" (include "env.admin.host" .) }}
{{- if .protocol }}{{ $_ := set $env "PORT" .values.port }}{{ end }}
{{- $_ := set $env "ADMIN_PORT" .values.adminPort }}
{{- $_ := mustMergeOverwrite $env (include "service.backends" . | fromYaml) }}
{{- range $name, $value := .values.env }}
{{- if not (kindIs "invalid" $value) }}{{ $_ := set $env $name $value }}{{ end }}
{{- end }}
{{- include "env.site" . }}
{{- if and (has .name (list "ws" "stream")) (not (hasKey $env "HOST_ID")) }}
# Identifies its sessions: the address that the gateway sees.
- name: HOST_ID
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
{{- end }}
{{- include "env.list" $env }}
{{- end }}

{{/* A table of variables; a table as value is a reference to a Secret. */}}
{{- define "env.list" }}
{{- range $name, $value := . }}
{{- if kindIs "map" $value }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef:
      {{- toYaml $value | nindent 6 }}
{{- else }}
- name: {{ $name }}
  value: {{ include "text" $value | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Probes and scrapes reach the pod's address, a forwarded port its loopback address. */}}
{{- define "env.admin.host" }}::{{ end }}

{{/* A container with our program. */}}
{{- define "env.site" }}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- end }}

{{/* A table of texts, such as labels: what looks like a number or a boolean is one in the values, but must not be one here. */}}
{{- define "texts" -}}
{{- $texts := dict }}
{{- range $name, $value := . }}
{{- if not (kindIs "invalid" $value) }}{{ $_ := set $texts $name (include "text" $value) }}{{ end }}
{{- end }}
{{- toYaml $texts }}
{{- end }}

{{/* Prints a value like playctl: whole numbers, which Helm parses as floats, without exponent or fraction. */}}
{{- define "text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- end }}

{{/* Variables of the parts that a service needs, as a table; a table as value is a reference to a Secret. */}}
{{- define "service.backends" }}
{{- $env := dict }}
{{- $needs := include (printf "%s.needs" .name) . | splitList " " }}
{{- with .root.Values.kafka }}
{{- if and .enabled (has "kafka" $needs) }}
{{- $_ := set $env "KAFKA_BROKERS" (.brokers | default (printf "%s:9092" (include "kafka.name" $))) }}
{{- $_ := set $env "KAFKA_LOGGING_TOPIC" .loggingTopic }}
{{- if eq $.name "tcp" }}{{ $_ := set $env "KAFKA_BCAST_TOPIC" .broadcastTopic }}{{ end }}
{{- if .sasl.enabled }}
{{- $_ := set $env "KAFKA_SASL_USER" .sasl.user }}
{{- $_ := set $env "KAFKA_SASL_PASSWORD" (dict "name" (include "kafka.secret" $) "key" "client-passwords") }}
{{- end }}
{{- end }}
{{- end }}
{{- with .root.Values.memcached }}
{{- if and .enabled (has "memcached" $needs) }}
{{- $_ := set $env "MEMCACHED_SERVICE" (.host | default (include "memcached.name" $)) }}
{{- $_ := set $env "MEMCACHED_PORT" .port }}
{{- end }}
{{- end }}
{{- with .root.Values.redis }}
{{- if has "redis" $needs }}
{{- $_ := set $env "REDIS_HOST" (.address | default (include "redis.name" $) | trimSuffix (printf ":%s" (include "redis.port" $)) | trimAll "[]") }}
{{- $_ := set $env "REDIS_PORT" (include "redis.port" $) }}
{{- if or (not .address) .existingSecret }}
{{- $_ := set $env "REDIS_PASSWORD" (dict "name" (include "redis.secret" $) "key" "password") }}
{{- end }}
{{- end }}
{{- end }}
{{- with .root.Values.cassandra }}
{{- if has "cassandra" $needs }}
{{- $_ := set $env "CASSANDRA_CONTACT_POINTS" (.contactPoints | default (printf "%s:9042" (include "cassandra.name" $))) }}
{{- if .existingSecret }}
{{- $_ := set $env "CASSANDRA_USERNAME" (dict "name" .existingSecret "key" "username") }}
{{- $_ := set $env "CASSANDRA_PASSWORD" (dict "name" .existingSecret "key" "password") }}
{{- end }}
{{- end }}
{{- end }}
{{- with .root.Values.etcd }}
{{- if and .enabled (has "etcd" $needs) }}
{{- $_ := set $env "ETCD_ENDPOINTS" (.endpoints | default (include "etcd.endpoints" (dict "root" $.root "values" .))) }}
{{- end }}
{{- end }}
{{- if has "profiles" $needs }}
{{- $_ := set $env "PROFILES_URL" (printf "http://%s:%v" (include "service.exposed" (dict "name" "profiles")) .root.Values.profiles.port) }}
{{- end }}
{{- if and .root.Values.balancer.enabled (has "shed" $needs) }}
{{- $_ := set $env "SHED_TOKEN" (dict "name" (include "shed.secret" .) "key" "token") }}
{{- end }}
{{- if has "gateway" $needs }}
{{- range include "gateway.listeners" . | fromYamlArray }}
{{- if eq .service "ws" }}
{{- $_ := set $env "WS_SERVER_HOST" "envoy-gateway-tcp" }}
{{- $_ := set $env "WS_SERVER_PORT" .port }}
{{- end }}
{{- end }}
{{- end }}
{{- with .root.Values.elasticsearch }}
{{- if has "elasticsearch" $needs }}
{{- $scheme := ternary "https" "http" .operator }}
{{- $_ := set $env "ELASTICSEARCH_ENDPOINT" (.url | default (printf "%s://%s:9200" $scheme (include "elasticsearch.service" $))) }}
{{- $_ := set $env "ELASTICSEARCH_USERNAME" "elastic" }}
{{- $_ := set $env "ELASTICSEARCH_PASSWORD" (dict "name" (include "elasticsearch.secret" $) "key" "elastic") }}
{{- if and .operator (not .url) }}{{ $_ := set $env "ELASTICSEARCH_CA_FILE" "/etc/elasticsearch/ca.crt" }}{{ end }}
{{- end }}
{{- end }}
{{- toYaml $env }}
{{- end }}

{{/* The operator's Elasticsearch has a certificate from its own authority. */}}
{{- define "service.trusts" }}{{ with .root.Values.elasticsearch }}{{ if and (eq $.name "logger") .operator (not .url) }}true{{ end }}{{ end }}{{ end }}
{{- define "service.mounts" }}{{ if include "service.trusts" . }}
- name: elasticsearch-authority
  mountPath: /etc/elasticsearch
  readOnly: true
{{- end }}{{ end }}
{{- define "service.volumes" }}{{ if include "service.trusts" . }}
- name: elasticsearch-authority
  secret:
    secretName: {{ .root.Release.Name }}-es-http-certs-public
{{- end }}{{ end }}

{{- define "service.ingress" }}
{{- if eq .name "profiles" }}
{{- range list "directory" "stream" }}
{{- include "policy.part" (dict "root" $.root "part" . "port" $.values.port "direction" "from") }}
{{- end }}
{{- else if .protocol }}
{{- include "policy.part" (dict "root" .root "part" "gateway" "port" .values.port "protocol" .protocol "direction" "from") }}
# The gateway's health checks.
{{- include "policy.part" (dict "root" .root "part" "gateway" "port" .values.adminPort "direction" "from") }}
{{- end }}
{{- if has .name (include "gateway.controller.services" . | splitList " ") }}
# The controller of the Ingress.
- from:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ .root.Values.gateway.ingress.namespace }}
  ports:
    - {port: {{ .values.port }}, protocol: TCP}
{{- end }}
{{- include "policy.scraped" (dict "root" .root "port" .values.adminPort) }}
{{- if and .root.Values.balancer.enabled (eq .name (include "balancer.service" .)) }}
# The balancer counts its connections, and orders it to shed some.
{{- include "policy.part" (dict "root" .root "part" "balancer" "port" .values.adminPort "direction" "from") }}
{{- end }}
{{- end }}

{{- define "policy.kafka" }}
{{- with .root.Values.kafka }}
{{- if and .enabled .brokers }}
{{- include "policy.outside" (regexFindAll "[0-9]+(,|$)" .brokers -1 | join "" | splitList "," | uniq | compact) }}
{{- else if .enabled }}
{{- include "policy.part" (dict "root" $.root "part" "kafka" "port" 9092 "direction" "to") }}
{{- end }}
{{- end }}
{{- end }}

{{- define "service.egress" }}
{{- $needs := include (printf "%s.needs" .name) . | splitList " " }}
{{- include "policy.dns" . }}
{{- if has "kafka" $needs }}{{ include "policy.kafka" . }}{{ end }}
{{- with .root.Values.memcached }}
{{- if and .enabled (has "memcached" $needs) }}
{{- if .host }}{{ include "policy.outside" (list .port) }}
{{- else }}{{ include "policy.part" (dict "root" $.root "part" "memcached" "port" .port "direction" "to") }}{{ end }}
{{- end }}
{{- end }}
{{- if has "redis" $needs }}
{{- if .root.Values.redis.address }}{{ include "policy.outside" (list (include "redis.port" .)) }}
{{- else }}{{ include "policy.part" (dict "root" .root "part" "redis" "port" 6379 "direction" "to") }}{{ end }}
{{- end }}
{{- with .root.Values.cassandra }}
{{- if has "cassandra" $needs }}
{{- if .contactPoints }}{{ include "policy.outside" (regexFindAll "[0-9]+(,|$)" .contactPoints -1 | join "" | splitList "," | uniq | compact) }}
{{- else }}{{ include "policy.part" (dict "root" $.root "part" "cassandra" "port" 9042 "direction" "to") }}{{ end }}
{{- end }}
{{- end }}
{{- if eq .name "balancer" }}
# The API server, whose address is unknown here.
{{- include "policy.outside" (list 443 6443 8443) }}
{{- $service := include "balancer.service" . }}
{{- with get .root.Values $service }}
{{- include "policy.part" (dict "root" $.root "part" $service "port" .adminPort "direction" "to") }}
{{- else }}
# A service outside this chart: its port named admin.
- to:
    - podSelector: {}
  ports:
    - {port: admin, protocol: TCP}
{{- end }}
{{- end }}
{{- with .root.Values.etcd }}
{{- if and .enabled (has "etcd" $needs) }}
{{- if not .endpoints }}{{ include "policy.part" (dict "root" $.root "part" "etcd" "port" 2379 "direction" "to") }}
{{- else }}{{ include "policy.outside" (regexFindAll "[0-9]+(,|$)" .endpoints -1 | join "" | splitList "," | uniq | compact) }}{{ end }}
{{- end }}
{{- end }}
{{- if has "profiles" $needs }}
{{- include "policy.part" (dict "root" .root "part" "profiles" "port" .root.Values.profiles.port "direction" "to") }}
{{- end }}
{{- if has "gateway" $needs }}
{{- range include "gateway.listeners" . | fromYamlArray }}
{{- if eq .service "ws" }}{{ include "policy.part" (dict "root" $.root "part" "gateway" "port" .port "direction" "to") }}{{ end }}
{{- end }}
{{- end }}
{{- if has "elasticsearch" $needs }}
{{- $url := urlParse .root.Values.elasticsearch.url }}
{{- if .root.Values.elasticsearch.url }}{{ include "policy.outside" (list (regexFind "[0-9]+$" $url.host | default (ternary "443" "80" (eq $url.scheme "https")))) }}
{{- else }}{{ include "policy.elasticsearch" (dict "root" .root "direction" "to") }}{{ end }}
{{- end }}
{{- end }}
