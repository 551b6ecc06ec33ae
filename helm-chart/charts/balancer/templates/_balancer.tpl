{{- define "balancer.objects" }}
{{- include "service.objects" . }}
{{- include "balancer.rights" . }}
{{- include "balancer.turn" . }}
{{- end }}

{{/* Redis only if sessions are listed there: otherwise there is no password either. */}}
{{- define "balancer.needs" }}kafka {{ if include "redis.isWanted" . }}redis {{ end }}shed{{ end }}

{{/* The Deployment to balance, in this namespace. */}}
{{- define "balancer.service" }}{{ (.root.Values.balancer.env | default dict).KUBERNETES_APP_LABEL | default "ws" }}{{ end }}

{{- define "balancer.lease" }}{{ (.root.Values.balancer.env | default dict).BALANCER_LEASE | default (printf "balancer-%s" (include "balancer.service" .)) }}{{ end }}

{{/* Whether it may set the number of replicas: "true", or nothing. Beside an autoscaler it never may. */}}
{{- define "balancer.scales" }}
{{- $policy := (.values.env | default dict).POLICY | default "auto" }}
{{- $balanced := get .root.Values (include "balancer.service" .) | default dict }}
{{- if or (eq $policy "utilization") (and (eq $policy "auto") (not $balanced.autoscaling)) }}true{{ end }}
{{- end }}

{{/* Elects the acting balancer. Created here, so that it is deleted with the release. Argo CD passes Leases over; there the
     balancer creates its own. */}}
{{- define "balancer.turn" }}
---
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata:
  {{- include "metadata" (merge (dict "object" (include "balancer.lease" .)) .) | nindent 2 }}
{{- end }}

{{/* Only in this namespace, and nothing that could run a program or read a Secret. */}}
{{- define "balancer.rights" }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  {{- include "metadata" . | nindent 2 }}
rules:
  # The label `traffic` and the deletion cost.
  - apiGroups: [""]
    resources: [pods]
    verbs: [get, list, patch]
  - apiGroups: [apps]
    resources: [deployments/scale]
    resourceNames: [{{ include "balancer.service" . }}]
    verbs: [get{{ if include "balancer.scales" . }}, patch{{ end }}]
  - apiGroups: [autoscaling]
    resources: [horizontalpodautoscalers]
    verbs: [list]
  - apiGroups: [coordination.k8s.io]
    resources: [leases]
    resourceNames: [{{ include "balancer.lease" . }}]
    verbs: [get, update]
  # A right to create cannot be limited to a name.
  - apiGroups: [coordination.k8s.io]
    resources: [leases]
    verbs: [create]
  # Its decisions.
  - apiGroups: [events.k8s.io]
    resources: [events]
    verbs: [create]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  {{- include "metadata" . | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ .name }}
    namespace: {{ .root.Release.Namespace }}
{{- end }}
