{{/* Common to all pods: no token, not root, nothing to write to, no privileges.
     (dict … "user" UID "token" true where the API server is asked) */}}
{{- define "pod.common" -}}
serviceAccountName: {{ .object | default .name }}
automountServiceAccountToken: {{ .token | default false }}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .user }}
  runAsGroup: {{ .user }}
  fsGroup: {{ .user }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- include "pod.scheduling" . }}
{{- end }}

{{- define "pod.scheduling" }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .root.Values.scheduling.nodeSelector }}
nodeSelector:
  {{- include "texts" . | nindent 2 }}
{{- end }}
{{- with .root.Values.scheduling.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .root.Values.scheduling.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Spreads the replicas of each revision over the nodes. */}}
{{- define "pod.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "labels.selector" . | nindent 8 }}
    {{- if .revision }}
    matchLabelKeys: [{{ .revision }}]
    {{- end }}
{{- end }}

{{- define "container.security" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{/* (dict … "path" PATH "port" PORT NAME), or tcp without a path */}}
{{- define "probe.target" -}}
{{- if .path }}
httpGet:
  path: {{ .path }}
  port: {{ .port }}
{{- else }}
tcpSocket:
  port: {{ .port }}
{{- end }}
{{- end }}

{{- define "account" }}
---
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "metadata" . | nindent 2 }}
automountServiceAccountToken: false
{{- end }}

{{- define "budget" }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "metadata" . | nindent 2 }}
spec:
  maxUnavailable: 1
  # A pod that is not ready never stops a node from being drained.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "labels.selector" . | nindent 6 }}
{{- end }}
