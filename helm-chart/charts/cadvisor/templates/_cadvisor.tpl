{{/* Connections and packets of every pod, from the kernel: network and tcp only, everything else disabled. */}}
{{- define "cadvisor.objects" }}
{{- include "cadvisor.workload" (merge (dict "namespace" .values.namespace) .) }}
{{- end }}

{{- define "cadvisor.workload" }}
{{- include "account" . }}
---
apiVersion: apps/v1
kind: DaemonSet
metadata:
  {{- include "metadata" . | nindent 2 }}
spec:
  revisionHistoryLimit: 5
  updateStrategy:
    rollingUpdate:
      maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "labels.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "labels.pod" . | nindent 8 }}
    spec:
      serviceAccountName: cadvisor
      automountServiceAccountToken: false
      enableServiceLinks: false
      {{- include "pod.scheduling" . | nindent 6 }}
      terminationGracePeriodSeconds: 10
      securityContext:
        seccompProfile:
          type: RuntimeDefault
      containers:
        - name: cadvisor
          image: {{ include "image" (dict "root" .root "image" .values.image) }}
          args:
            - --port=8080
            - --enable_metrics=network,tcp
            - --housekeeping_interval=7s
            - --max_housekeeping_interval=15s
            - --docker_only=false
            - --store_container_labels=false
            - --whitelisted_container_labels=io.kubernetes.container.name,io.kubernetes.pod.name,io.kubernetes.pod.namespace
            - --logtostderr
          ports:
            - name: cadvisor
              containerPort: 8080
          {{- range $probe := list "startup" "readiness" "liveness" }}
          {{ $probe }}Probe:
            httpGet:
              path: /healthz
              port: cadvisor
            periodSeconds: {{ ternary 10 2 (eq $probe "liveness") }}
            timeoutSeconds: 3
            failureThreshold: {{ ternary 60 3 (eq $probe "startup") }}
          {{- end }}
          resources:
            {{- toYaml .values.resources | nindent 12 }}
          # The one exception: it reads other processes' files in /proc, which needs root, and writes nothing.
          securityContext:
            runAsUser: 0
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities:
              drop: [ALL]
              add: [DAC_READ_SEARCH, SYS_PTRACE]
          volumeMounts:
            {{- range $name, $path := include "cadvisor.paths" . | fromYaml }}
            - name: {{ $name }}
              mountPath: {{ ternary "/rootfs" $path (eq $path "/") }}
              readOnly: true
            {{- end }}
      volumes:
        {{- range $name, $path := include "cadvisor.paths" . | fromYaml }}
        - name: {{ $name }}
          hostPath:
            path: {{ $path }}
        {{- end }}
{{- include "policy" (merge (dict "ingress" (include "policy.scraped" (dict "root" .root "port" 8080))) .) }}
{{- end }}

{{- define "cadvisor.paths" }}
rootfs: /
run: /var/run
sys: /sys
{{- end }}
