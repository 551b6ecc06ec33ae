{{- define "etcd.objects" }}
{{- if include "etcd.isOurs" . }}
{{- include "etcd.workload" (merge (dict "object" (include "etcd.name" .)) .) }}
{{- end }}
{{- end }}

{{/* URLs of the members for clients, separated by commas: (dict "root" $ "values" the part's values) */}}
{{- define "etcd.endpoints" -}}
{{- $name := include "etcd.name" . }}
{{- range $index, $_ := until (int .values.members) }}{{ if $index }},{{ end }}http://{{ $name }}-{{ $index }}.{{ $name }}:2379{{ end }}
{{- end }}

{{- define "etcd.workload" }}
{{- $domain := printf "%s.%s.svc" .object .root.Release.Namespace }}
{{- $members := list }}
{{- range $index, $_ := until (int .values.members) }}
{{- $members = append $members (printf "%s-%d=http://%s-%d.%s:2380" $.object $index $.object $index $domain) }}
{{- end }}
{{- include "account" . }}
{{- include "budget" . }}
---
apiVersion: v1
kind: Service
metadata:
  {{- include "metadata" . | nindent 2 }}
spec:
  clusterIP: None
  # Members must find each other before any of them is ready.
  publishNotReadyAddresses: true
  selector:
    {{- include "labels.selector" . | nindent 4 }}
  ports:
    - name: client
      port: 2379
      targetPort: client
    - name: peer
      port: 2380
      targetPort: peer
---
apiVersion: apps/v1
kind: StatefulSet
metadata:
  {{- include "metadata" . | nindent 2 }}
spec:
  replicas: {{ .values.members }}
  serviceName: {{ .object }}
  # The first one is not ready before there is a second one.
  podManagementPolicy: Parallel
  selector:
    matchLabels:
      {{- include "labels.selector" . | nindent 6 }}
  {{- include "storage.claim" . | nindent 2 }}
  template:
    metadata:
      labels:
        {{- include "labels.pod" . | nindent 8 }}
    spec:
      {{- include "pod.common" (merge (dict "user" 65532) .) | nindent 6 }}
      {{- include "pod.spread" . | nindent 6 }}
      terminationGracePeriodSeconds: 30
      containers:
        - name: etcd
          image: {{ include "image" (dict "root" .root "image" .values.image) }}
          command: [etcd]
          args:
            - --name=$(POD_NAME)
            - --data-dir=/var/lib/etcd/data
            - --listen-client-urls=http://0.0.0.0:2379
            - --advertise-client-urls=http://$(POD_NAME).{{ $domain }}:2379
            - --listen-peer-urls=http://0.0.0.0:2380
            - --initial-advertise-peer-urls=http://$(POD_NAME).{{ $domain }}:2380
            - --initial-cluster={{ join "," $members }}
            - --initial-cluster-token={{ .root.Release.Namespace }}-{{ .object }}
            # Presence is small and written often: old revisions are removed after five minutes.
            - --quota-backend-bytes=268435456
            - --auto-compaction-mode=periodic
            - --auto-compaction-retention=5m
          env:
            - name: POD_NAME
              valueFrom:
                fieldRef:
                  fieldPath: metadata.name
          ports:
            - name: client
              containerPort: 2379
            - name: peer
              containerPort: 2380
          # Ready: it has a leader. Alive: it answers, even while a majority is away.
          {{- range $probe := list "startup" "readiness" "liveness" }}
          {{ $probe }}Probe:
            httpGet:
              path: /{{ ternary "readyz" "livez" (eq $probe "readiness") }}
              port: client
            periodSeconds: {{ ternary 10 2 (eq $probe "liveness") }}
            timeoutSeconds: 3
            failureThreshold: {{ ternary 60 3 (eq $probe "startup") }}
          {{- end }}
          resources:
            {{- toYaml .values.resources | nindent 12 }}
          {{- include "container.security" . | nindent 10 }}
          volumeMounts:
            - name: data
              mountPath: /var/lib/etcd
      volumes:
        {{- include "storage.volume" . | trim | nindent 8 }}
{{- include "policy" (merge (dict "ingress" (include "etcd.ingress" .) "egress" (include "etcd.egress" .)) .) }}
{{- end }}

{{- define "etcd.ingress" }}
{{- include "policy.part" (dict "root" .root "part" "tcp" "port" 2379 "direction" "from") }}
{{- include "policy.part" (dict "root" .root "part" "etcd" "port" 2380 "direction" "from") }}
{{- end }}

{{- define "etcd.egress" }}
{{- include "policy.dns" . }}
{{- include "policy.part" (dict "root" .root "part" "etcd" "port" 2380 "direction" "to") }}
{{- end }}
