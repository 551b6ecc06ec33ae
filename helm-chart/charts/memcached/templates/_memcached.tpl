{{- define "memcached.objects" }}
{{- if include "memcached.isOurs" . }}
{{- include "memcached.workload" (merge (dict "object" (include "memcached.name" .)) .) }}
{{- end }}
{{- end }}

{{- define "memcached.workload" }}
{{- include "account" . }}
{{- include "budget" . }}
---
# Headless: clients spread keys over all addresses.
apiVersion: v1
kind: Service
metadata:
  {{- include "metadata" . | nindent 2 }}
spec:
  clusterIP: None
  selector:
    {{- include "labels.selector" . | nindent 4 }}
  ports:
    - name: memcached
      port: {{ .values.port }}
      targetPort: memcached
---
# A StatefulSet, because a key's place depends on the set of addresses: a pod is gone before its successor starts.
apiVersion: apps/v1
kind: StatefulSet
metadata:
  {{- include "metadata" . | nindent 2 }}
spec:
  replicas: {{ .values.replicas }}
  serviceName: {{ .object }}
  podManagementPolicy: Parallel
  selector:
    matchLabels:
      {{- include "labels.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "labels.pod" . | nindent 8 }}
    spec:
      {{- include "pod.common" (merge (dict "user" 11211) .) | nindent 6 }}
      {{- include "pod.spread" . | nindent 6 }}
      terminationGracePeriodSeconds: 10
      containers:
        - name: memcached
          image: {{ include "image" (dict "root" .root "image" .values.image) }}
          args: [memcached, --port={{ .values.port }}, --memory-limit={{ .values.megabytes }}, --conn-limit=4096]
          ports:
            - name: memcached
              containerPort: {{ .values.port }}
          {{- range $probe := list "startup" "readiness" "liveness" }}
          {{ $probe }}Probe:
            {{- include "probe.target" (dict "port" "memcached") | nindent 12 }}
            periodSeconds: {{ ternary 10 2 (eq $probe "liveness") }}
            failureThreshold: {{ ternary 30 3 (eq $probe "startup") }}
          {{- end }}
          resources:
            {{- toYaml .values.resources | nindent 12 }}
          {{- include "container.security" . | nindent 10 }}
{{- include "policy" (merge (dict "ingress" (include "memcached.ingress" .)) .) }}
{{- end }}

{{- define "memcached.ingress" }}
{{- range list "tcp" "udp" }}
{{- include "policy.part" (dict "root" $.root "part" . "port" $.values.port "direction" "from") }}
{{- end }}
{{- end }}
