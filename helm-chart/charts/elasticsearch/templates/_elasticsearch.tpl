{{- define "elasticsearch.objects" }}
{{- if include "elasticsearch.isOurs" . }}
{{- if .values.operator }}
{{- include "elasticsearch.resource" . }}
{{- else }}
{{- include "elasticsearch.workload" (merge (dict "object" (printf "%s-es" .root.Release.Name)) .) }}
{{- if .values.kibana.enabled }}
{{- include "kibana.workload" (merge (dict "name" "kibana" "object" (printf "%s-kibana" .root.Release.Name)) .) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* As the operator ECK creates it, with its names: RELEASE-es-http, RELEASE-es-elastic-user. */}}
{{- define "elasticsearch.resource" }}
---
apiVersion: elasticsearch.k8s.elastic.co/v1
kind: Elasticsearch
metadata:
  {{- include "metadata" (merge (dict "object" .root.Release.Name) .) | nindent 2 }}
spec:
  version: {{ regexFind "[0-9.]+$" .values.image }}
  nodeSets:
    - name: default
      count: 1
      config:
        node.store.allow_mmap: false
      podTemplate:
        spec:
          containers:
            - name: elasticsearch
              resources:
                {{- toYaml .values.resources | nindent 16 }}
{{- if .values.kibana.enabled }}
---
apiVersion: kibana.k8s.elastic.co/v1
kind: Kibana
metadata:
  {{- include "metadata" (merge (dict "object" .root.Release.Name) .) | nindent 2 }}
spec:
  version: {{ regexFind "[0-9.]+$" .values.image }}
  count: 1
  elasticsearchRef:
    name: {{ .root.Release.Name }}
{{- end }}
{{- end }}

{{/* The pods of either: (dict … "direction" "from"|"to") */}}
{{- define "policy.elasticsearch" }}
{{- if .root.Values.elasticsearch.operator }}
- {{ .direction }}:
    - podSelector:
        matchLabels:
          elasticsearch.k8s.elastic.co/cluster-name: {{ .root.Release.Name }}
  ports:
    - {port: 9200, protocol: TCP}
{{- else }}
{{- include "policy.part" (dict "root" .root "part" "elasticsearch" "port" 9200 "direction" .direction) }}
{{- end }}
{{- end }}

{{- define "elasticsearch.workload" }}
{{- include "account" . }}
{{- include "budget" . }}
---
apiVersion: v1
kind: Service
metadata:
  {{- include "metadata" (merge (dict "object" (include "elasticsearch.service" .)) .) | nindent 2 }}
spec:
  selector:
    {{- include "labels.selector" . | nindent 4 }}
  ports:
    - name: http
      port: 9200
      targetPort: http
---
apiVersion: apps/v1
kind: StatefulSet
metadata:
  {{- include "metadata" . | nindent 2 }}
spec:
  replicas: 1
  serviceName: {{ include "elasticsearch.service" . }}
  selector:
    matchLabels:
      {{- include "labels.selector" . | nindent 6 }}
  {{- include "storage.claim" . | nindent 2 }}
  template:
    metadata:
      labels:
        {{- include "labels.pod" . | nindent 8 }}
    spec:
      {{- include "pod.common" (merge (dict "user" 1000) .) | nindent 6 }}
      terminationGracePeriodSeconds: 120
      initContainers:
        # It writes its key store into its configuration at start, and the root file system is read-only.
        - name: configuration
          image: {{ include "image" (dict "root" .root "image" .values.image) }}
          command: [sh, -c, "cp -r /usr/share/elasticsearch/config/. /config/"]
          resources:
            {{- toYaml .values.resources | nindent 12 }}
          {{- include "container.security" . | nindent 10 }}
          volumeMounts:
            - name: config
              mountPath: /config
      containers:
        - name: elasticsearch
          image: {{ include "image" (dict "root" .root "image" .values.image) }}
          env:
            - name: discovery.type
              value: single-node
            - name: cluster.name
              value: {{ .root.Release.Name }}
            - name: network.host
              value: 0.0.0.0
            # With a password but without certificates: only the logger may reach it.
            - name: xpack.security.enabled
              value: "true"
            - name: xpack.security.http.ssl.enabled
              value: "false"
            - name: ingest.geoip.downloader.enabled
              value: "false"
            # Memory maps need a kernel setting on the node that an unprivileged pod cannot change.
            - name: node.store.allow_mmap
              value: "false"
            - name: ES_JAVA_OPTS
              value: -Xms{{ .values.heap }} -Xmx{{ .values.heap }}
            - name: ES_TMPDIR
              value: /tmp
            - name: ELASTIC_PASSWORD
              valueFrom:
                secretKeyRef:
                  name: {{ include "elasticsearch.secret" . }}
                  key: elastic
          ports:
            - name: http
              containerPort: 9200
          {{- range $probe := list "startup" "readiness" "liveness" }}
          {{ $probe }}Probe:
            {{- include "probe.target" (dict "port" "http") | nindent 12 }}
            periodSeconds: {{ ternary 10 5 (eq $probe "liveness") }}
            timeoutSeconds: 3
            failureThreshold: {{ ternary 60 3 (eq $probe "startup") }}
          {{- end }}
          resources:
            {{- toYaml .values.resources | nindent 12 }}
          {{- include "container.security" . | nindent 10 }}
          volumeMounts:
            - name: config
              mountPath: /usr/share/elasticsearch/config
            - name: data
              mountPath: /usr/share/elasticsearch/data
            - name: logs
              mountPath: /usr/share/elasticsearch/logs
            - name: tmp
              mountPath: /tmp
      volumes:
        - name: config
          emptyDir: {}
        - name: logs
          emptyDir:
            sizeLimit: 256Mi
        {{- include "storage.volume" . | trim | nindent 8 }}
{{- include "policy" (merge (dict "ingress" (include "elasticsearch.ingress" .) "egress" (include "policy.dns" .)) .) }}
{{- end }}

{{- define "elasticsearch.ingress" }}
{{- range list "logger" "kibana" }}
{{- include "policy.part" (dict "root" $.root "part" . "port" 9200 "direction" "from") }}
{{- end }}
{{- end }}

{{- define "kibana.workload" }}
{{- include "account" . }}
{{- include "budget" . }}
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
      port: 5601
      targetPort: http
---
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "metadata" . | nindent 2 }}
spec:
  replicas: 1
  selector:
    matchLabels:
      {{- include "labels.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "labels.pod" . | nindent 8 }}
    spec:
      {{- include "pod.common" (merge (dict "user" 1000) .) | nindent 6 }}
      terminationGracePeriodSeconds: 30
      containers:
        - name: kibana
          image: {{ include "image" (dict "root" .root "image" .values.kibana.image) }}
          env:
            - name: ELASTICSEARCH_HOSTS
              value: http://{{ include "elasticsearch.service" . }}:9200
            - name: ELASTICSEARCH_SERVICEACCOUNTTOKEN
              valueFrom:
                secretKeyRef:
                  name: {{ .object }}-token
                  key: token
            - name: SERVER_HOST
              value: 0.0.0.0
            - name: PATH_DATA
              value: /tmp
            - name: TELEMETRY_OPTIN
              value: "false"
          ports:
            - name: http
              containerPort: 5601
          {{- range $probe := list "startup" "readiness" "liveness" }}
          {{ $probe }}Probe:
            {{- include "probe.target" (dict "port" "http") | nindent 12 }}
            periodSeconds: {{ ternary 20 5 (eq $probe "liveness") }}
            timeoutSeconds: 5
            failureThreshold: {{ ternary 60 3 (eq $probe "startup") }}
          {{- end }}
          resources:
            {{- toYaml .values.kibana.resources | nindent 12 }}
          {{- include "container.security" . | nindent 10 }}
          volumeMounts:
            - name: tmp
              mountPath: /tmp
      volumes:
        - name: tmp
          emptyDir:
            sizeLimit: 512Mi
{{- include "policy" (merge (dict "egress" (include "kibana.egress" .)) .) }}
{{- end }}

{{- define "kibana.egress" }}
{{- include "policy.dns" . }}
{{- include "policy.elasticsearch" (dict "root" .root "direction" "to") }}
{{- end }}
