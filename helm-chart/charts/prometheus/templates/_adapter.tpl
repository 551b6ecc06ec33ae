{{/* Serves Prometheus' series as custom.metrics.k8s.io, by files/adapter.yaml. */}}
{{- define "prometheus.adapter" }}
{{- $config := .root.Files.Get "files/adapter.yaml" }}
{{- $account := dict "kind" "ServiceAccount" "name" .object "namespace" .namespace }}
{{- $cluster := printf "%s-%s" .root.Release.Namespace .object }}
{{- include "account" . }}
{{- include "budget" . }}
---
# It translates between series and pods of any namespace.
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  {{- include "metadata.cluster" (merge (dict "object" $cluster) .) | nindent 2 }}
rules:
  - apiGroups: [""]
    resources: [namespaces, pods]
    verbs: [get, list, watch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  {{- include "metadata.cluster" (merge (dict "object" $cluster) .) | nindent 2 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {{ $cluster }}}
subjects: [{{ toJson $account }}]
---
# Like every aggregated API, it asks the API server who its callers are and what they may do.
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  {{- include "metadata.cluster" (merge (dict "object" (printf "%s-delegator" $cluster)) .) | nindent 2 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:auth-delegator}
subjects: [{{ toJson $account }}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  {{- include "metadata" (merge (dict "object" $cluster "namespace" "kube-system") .) | nindent 2 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: extension-apiserver-authentication-reader}
subjects: [{{ toJson $account }}]
---
# The autoscalers' controller may read the served metrics.
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  {{- include "metadata.cluster" (merge (dict "object" (printf "%s-reader" $cluster)) .) | nindent 2 }}
rules:
  - apiGroups: [custom.metrics.k8s.io]
    resources: ["*"]
    verbs: [get, list]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  {{- include "metadata.cluster" (merge (dict "object" (printf "%s-reader" $cluster)) .) | nindent 2 }}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {{ $cluster }}-reader}
subjects: [{kind: ServiceAccount, name: horizontal-pod-autoscaler, namespace: kube-system}]
---
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "metadata" . | nindent 2 }}
data:
  config.yaml: |
    {{- $config | nindent 4 }}
---
apiVersion: v1
kind: Service
metadata:
  {{- include "metadata" . | nindent 2 }}
spec:
  selector:
    {{- include "labels.selector" . | nindent 4 }}
  ports:
    - name: https
      port: 443
      targetPort: https
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata:
  {{- include "metadata.cluster" (merge (dict "object" "v1beta1.custom.metrics.k8s.io") .) | nindent 2 }}
spec:
  group: custom.metrics.k8s.io
  version: v1beta1
  groupPriorityMinimum: 100
  versionPriority: 100
  # The adapter generates its certificate at start.
  insecureSkipTLSVerify: true
  service:
    name: {{ .object }}
    namespace: {{ .namespace }}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "metadata" . | nindent 2 }}
spec:
  replicas: 1
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
      annotations:
        checksum/config: {{ sha256sum $config }}
    spec:
      {{- include "pod.common" (merge (dict "user" 10001 "token" true) .) | nindent 6 }}
      {{- include "pod.spread" (merge (dict "revision" "pod-template-hash") .) | nindent 6 }}
      terminationGracePeriodSeconds: 30
      containers:
        - name: adapter
          image: {{ include "image" (dict "root" .root "image" .values.adapter.image) }}
          args:
            - --config=/etc/adapter/config.yaml
            - --prometheus-url={{ include "prometheus.url" . }}
            # Interval for listing series; the values themselves are queried each time.
            - --metrics-relist-interval=30s
            - --secure-port=6443
            - --cert-dir=/tmp/certificates
          ports:
            - name: https
              containerPort: 6443
          {{- range $probe := list "startup" "readiness" "liveness" }}
          {{ $probe }}Probe:
            httpGet:
              path: /{{ ternary "healthz" "readyz" (eq $probe "liveness") }}
              port: https
              scheme: HTTPS
            periodSeconds: {{ ternary 10 2 (eq $probe "liveness") }}
            timeoutSeconds: 3
            failureThreshold: {{ ternary 60 3 (eq $probe "startup") }}
          {{- end }}
          resources:
            {{- toYaml .values.adapter.resources | nindent 12 }}
          {{- include "container.security" . | nindent 10 }}
          volumeMounts:
            - name: config
              mountPath: /etc/adapter
              readOnly: true
            - name: tmp
              mountPath: /tmp
      volumes:
        - name: config
          configMap:
            name: {{ .object }}
        - name: tmp
          emptyDir:
            sizeLimit: 16Mi
{{- include "policy" (merge (dict "ingress" (include "prometheus.adapter.ingress" .) "egress" (include "prometheus.adapter.egress" .)) .) }}
{{- end }}

{{/* The API server calls it, from an unknown address. */}}
{{- define "prometheus.adapter.ingress" }}
{{- include "policy.outside" (list 6443) }}
{{- end }}

{{- define "prometheus.adapter.egress" }}
{{- include "policy.dns" . }}
{{- $url := include "prometheus.url" . | urlParse }}
{{- include "policy.outside" (list 443 6443 8443 (regexFind "[0-9]+$" $url.host | default "80") | uniq) }}
{{- end }}
