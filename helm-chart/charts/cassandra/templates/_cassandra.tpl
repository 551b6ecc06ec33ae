{{- define "cassandra.objects" }}
{{- if include "cassandra.isOurs" . }}
{{- include "cassandra.workload" (merge (dict "object" (include "cassandra.name" .)) .) }}
{{- end }}
{{- end }}

{{- define "cassandra.workload" }}
{{- include "account" . }}
{{- include "budget" . }}
---
# Headless: clients discover all nodes, and nodes find each other before they are ready.
apiVersion: v1
kind: Service
metadata:
  {{- include "metadata" . | nindent 2 }}
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector:
    {{- include "labels.selector" . | nindent 4 }}
  ports:
    - name: cql
      port: 9042
      targetPort: cql
    - name: storage
      port: 7000
      targetPort: storage
---
apiVersion: apps/v1
kind: StatefulSet
metadata:
  {{- include "metadata" . | nindent 2 }}
spec:
  replicas: {{ .values.replicas }}
  serviceName: {{ .object }}
  # One after another: two nodes must not join a ring at the same time.
  podManagementPolicy: OrderedReady
  selector:
    matchLabels:
      {{- include "labels.selector" . | nindent 6 }}
  {{- include "storage.claim" . | nindent 2 }}
  template:
    metadata:
      labels:
        {{- include "labels.pod" . | nindent 8 }}
    spec:
      {{- include "pod.common" (merge (dict "user" 999) .) | nindent 6 }}
      {{- include "pod.spread" (merge (dict "revision" "controller-revision-hash") .) | nindent 6 }}
      terminationGracePeriodSeconds: 120
      initContainers:
        # Its start script writes into its configuration, and the root file system is read-only.
        - name: configuration
          image: {{ include "image" (dict "root" .root "image" .values.image) }}
          command: [sh, -c, "cp -r /etc/cassandra/. /config/"]
          resources:
            {{- toYaml .values.resources | nindent 12 }}
          {{- include "container.security" . | nindent 10 }}
          volumeMounts:
            - name: config
              mountPath: /config
      containers:
        - name: cassandra
          image: {{ include "image" (dict "root" .root "image" .values.image) }}
          env:
            - name: CASSANDRA_CLUSTER_NAME
              value: {{ .root.Release.Name }}
            - name: CASSANDRA_SEEDS
              value: {{ .object }}-0.{{ .object }}
            - name: CASSANDRA_ENDPOINT_SNITCH
              value: GossipingPropertyFileSnitch
            - name: MAX_HEAP_SIZE
              value: {{ .values.heap | quote }}
            - name: HEAP_NEWSIZE
              value: 128m
          ports:
            - name: cql
              containerPort: 9042
            - name: storage
              containerPort: 7000
          {{- range $probe := list "startup" "readiness" "liveness" }}
          {{ $probe }}Probe:
            # It opens the port of its protocol last.
            {{- include "probe.target" (dict "port" "cql") | nindent 12 }}
            periodSeconds: {{ ternary 10 5 (eq $probe "liveness") }}
            timeoutSeconds: 3
            failureThreshold: {{ ternary 60 3 (eq $probe "startup") }}
          {{- end }}
          resources:
            {{- toYaml .values.resources | nindent 12 }}
          {{- include "container.security" . | nindent 10 }}
          volumeMounts:
            - name: config
              mountPath: /etc/cassandra
            - name: data
              mountPath: /var/lib/cassandra
            - name: logs
              mountPath: /opt/cassandra/logs
            - name: tmp
              mountPath: /tmp
      volumes:
        - name: config
          emptyDir:
            sizeLimit: 16Mi
        - name: logs
          emptyDir:
            sizeLimit: 256Mi
        {{- include "storage.volume" . | trim | nindent 8 }}
{{- include "policy" (merge (dict "ingress" (include "cassandra.ingress" .) "egress" (include "cassandra.egress" .)) .) }}
{{- end }}

{{- define "cassandra.ingress" }}
{{- include "policy.part" (dict "root" .root "part" "profiles" "port" 9042 "direction" "from") }}
{{- include "policy.part" (dict "root" .root "part" "cassandra" "port" 7000 "direction" "from") }}
{{- end }}

{{- define "cassandra.egress" }}
{{- include "policy.dns" . }}
{{- include "policy.part" (dict "root" .root "part" "cassandra" "port" 7000 "direction" "to") }}
{{- end }}
