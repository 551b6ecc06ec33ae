{{- define "ws-client.objects" }}{{ include "service.objects" . }}{{ end }}
{{- define "ws-client.needs" }}kafka gateway{{ end }}
