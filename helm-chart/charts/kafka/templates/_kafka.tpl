{{- define "kafka.objects" }}
{{- if include "kafka.isOurs" . }}
{{- include "kafka.workload" (merge (dict "object" (include "kafka.name" .)) .) }}
{{- end }}
{{- end }}

{{- define "kafka.workload" }}
{{- $properties := include "kafka.properties" . | trim }}
{{- include "account" . }}
{{- include "budget" . }}
---
apiVersion: v1
kind: Service
metadata:
  {{- include "metadata" . | nindent 2 }}
spec:
  clusterIP: None
  # The broker must be able to resolve its own name before it is ready.
  publishNotReadyAddresses: true
  selector:
    {{- include "labels.selector" . | nindent 4 }}
  ports:
    - name: kafka
      port: 9092
      targetPort: kafka
---
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "metadata" . | nindent 2 }}
data:
  server.properties: |
    {{- $properties | nindent 4 }}
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
        checksum/config: {{ sha256sum $properties }}
    spec:
      {{- include "pod.common" (merge (dict "user" 1000) .) | nindent 6 }}
      terminationGracePeriodSeconds: 60
      containers:
        - name: kafka
          image: {{ include "image" (dict "root" .root "image" .values.image) }}
          # Not the image's own start script, which writes into its root file system.
          command: [bash, -ec]
          args:
            - |
              /opt/kafka/bin/kafka-storage.sh format --ignore-formatted --cluster-id "$CLUSTER_ID" --config /etc/kafka-config/server.properties
              exec /opt/kafka/bin/kafka-server-start.sh /etc/kafka-config/server.properties
          env:
            - name: CLUSTER_ID
              value: {{ printf "%s/%s" .root.Release.Namespace .root.Release.Name | sha256sum | trunc 22 | quote }}
            - name: KAFKA_HEAP_OPTS
              value: -Xms{{ .values.heap }} -Xmx{{ .values.heap }}
            - name: LOG_DIR
              value: /tmp/logs
            {{- if .values.sasl.enabled }}
            - name: CLIENT_PASSWORD
              valueFrom:
                secretKeyRef:
                  name: {{ include "kafka.secret" . }}
                  key: client-passwords
            {{- end }}
          ports:
            - name: kafka
              containerPort: 9092
          # It opens its port once it has registered and caught up.
          {{- range $probe := list "startup" "readiness" "liveness" }}
          {{ $probe }}Probe:
            {{- include "probe.target" (dict "port" "kafka") | nindent 12 }}
            periodSeconds: {{ ternary 10 2 (eq $probe "liveness") }}
            timeoutSeconds: 3
            failureThreshold: {{ ternary 60 3 (eq $probe "startup") }}
          {{- end }}
          resources:
            {{- toYaml .values.resources | nindent 12 }}
          {{- include "container.security" . | nindent 10 }}
          volumeMounts:
            - name: config
              mountPath: /etc/kafka-config
              readOnly: true
            - name: data
              mountPath: /var/lib/kafka/data
            - name: tmp
              mountPath: /tmp
      volumes:
        - name: config
          configMap:
            name: {{ .object }}
        {{- include "storage.volume" . | trim | nindent 8 }}
{{- include "policy" (merge (dict "ingress" (include "kafka.ingress" .) "egress" (include "policy.dns" .)) .) }}
{{- end }}

{{/* Every service ships its log there. */}}
{{- define "kafka.ingress" }}
{{- range list "tcp" "udp" "ws" "stream" "directory" "logger" "ws-client" "balancer" "profiles" "page" }}
{{- include "policy.part" (dict "root" $.root "part" . "port" 9092 "direction" "from") }}
{{- end }}
{{- if eq .root.Values.gateway.kind "playctl" }}
{{- include "policy.part" (dict "root" .root "part" "gateway" "port" 9092 "direction" "from") }}
{{- end }}
{{- end }}

{{/* One broker, which is its own controller; both talk to themselves on loopback. */}}
{{- define "kafka.properties" }}
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:9093
controller.listener.names=CONTROLLER
inter.broker.listener.name=INTERNAL
listeners=CLIENT://:9092,INTERNAL://127.0.0.1:9094,CONTROLLER://127.0.0.1:9093
advertised.listeners=CLIENT://{{ .object }}.{{ .root.Release.Namespace }}.svc:9092,INTERNAL://127.0.0.1:9094
listener.security.protocol.map=CLIENT:{{ ternary "SASL_PLAINTEXT" "PLAINTEXT" .values.sasl.enabled }},INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT
{{- if .values.sasl.enabled }}
# The password comes from the environment, so that it is in no file and no argument.
config.providers=env
config.providers.env.class=org.apache.kafka.common.config.provider.EnvVarConfigProvider
sasl.enabled.mechanisms=PLAIN
listener.name.client.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_{{ .values.sasl.user }}="${env:CLIENT_PASSWORD}";
{{- end }}
log.dirs=/var/lib/kafka/data/logs
num.partitions=3
auto.create.topics.enable=true
# One broker: Kafka's internal topics have one copy.
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
{{- end }}
