{{- define "directory.objects" }}{{ include "service.objects" . }}{{ end }}
{{- define "directory.needs" }}kafka redis profiles{{ end }}
