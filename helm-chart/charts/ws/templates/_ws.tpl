{{- define "ws.objects" }}{{ include "service.objects" . }}{{ end }}
{{- define "ws.needs" }}kafka redis shed{{ end }}
