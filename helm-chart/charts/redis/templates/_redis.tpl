{{- define "redis.objects" }}
{{- if include "redis.isOurs" . }}
{{- include "redis.workload" (merge (dict "object" (include "redis.name" .)) .) }}
{{- end }}
{{- end }}

{{- define "redis.workload" }}
{{- include "account" . }}
{{- include "budget" . }}
---
apiVersion: v1
kind: Service
metadata:
  {{- include "metadata" . | nindent 2 }}
spec:
  clusterIP: None
  selector:
    {{- include "labels.selector" . | nindent 4 }}
  ports:
    - name: redis
      port: 6379
      targetPort: redis
---
# A StatefulSet, because there must never be two: a pod is gone before its successor starts.
apiVersion: apps/v1
kind: StatefulSet
metadata:
  {{- include "metadata" . | nindent 2 }}
spec:
  replicas: 1
  serviceName: {{ .object }}
  {{- include "storage.claim" . | nindent 2 }}
  selector:
    matchLabels:
      {{- include "labels.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "labels.pod" . | nindent 8 }}
    spec:
      {{- include "pod.common" (merge (dict "user" 999) .) | nindent 6 }}
      terminationGracePeriodSeconds: 10
      containers:
        - name: redis
          image: {{ include "image" (dict "root" .root "image" .values.image) }}
          # The password in a file, since command lines are public. Every write goes to a file too: a granted lock must
          # exist when Redis is back.
          command: [sh, -ec]
          args:
            - |
              umask 077
              printf '%s\n' "requirepass $REDIS_PASSWORD" >/tmp/redis.conf
              exec redis-server /tmp/redis.conf --dir /data --save '' --appendonly yes --maxclients 4096 \
                --maxmemory {{ .values.megabytes }}mb --maxmemory-policy noeviction
          env:
            - name: REDIS_PASSWORD
              valueFrom:
                secretKeyRef:
                  name: {{ include "redis.secret" . }}
                  key: password
          ports:
            - name: redis
              containerPort: 6379
          {{- range $probe := list "startup" "readiness" "liveness" }}
          {{ $probe }}Probe:
            {{- include "probe.target" (dict "port" "redis") | nindent 12 }}
            periodSeconds: {{ ternary 10 2 (eq $probe "liveness") }}
            failureThreshold: {{ ternary 30 3 (eq $probe "startup") }}
          {{- end }}
          resources:
            {{- toYaml .values.resources | nindent 12 }}
          {{- include "container.security" . | nindent 10 }}
          volumeMounts:
            - name: data
              mountPath: /data
            - name: tmp
              mountPath: /tmp
      volumes:
        {{- include "storage.volume" . | trim | nindent 8 }}
{{- include "policy" (merge (dict "ingress" (include "redis.ingress" .)) .) }}
{{- end }}

{{- define "redis.ingress" }}
{{- range list "ws" "balancer" "directory" "stream" }}
{{- include "policy.part" (dict "root" $.root "part" . "port" 6379 "direction" "from") }}
{{- end }}
{{- end }}
