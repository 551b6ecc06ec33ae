{{/* Data of a StatefulSet, in the volume `data`: its own claim, or without a size a folder that is deleted with the pod. */}}
{{- define "storage.claim" }}
{{- with .values.storage }}
{{- if .size }}
volumeClaimTemplates:
  - apiVersion: v1
    kind: PersistentVolumeClaim
    metadata:
      name: data
      labels:
        {{- include "labels.selector" $ | nindent 8 }}
    spec:
      accessModes: [ReadWriteOnce]
      {{- with .storageClass }}
      storageClassName: {{ . }}
      {{- end }}
      resources:
        requests:
          storage: {{ .size }}
# The claims are deleted with the set: nothing remains after `helm uninstall`.
persistentVolumeClaimRetentionPolicy:
  whenDeleted: Delete
  whenScaled: Retain
{{- end }}
{{- end }}
{{- end }}

{{- define "storage.volume" }}
{{- if not .values.storage.size }}
- name: data
  emptyDir: {}
{{- end }}
- name: tmp
  emptyDir:
    sizeLimit: 256Mi
{{- end }}
