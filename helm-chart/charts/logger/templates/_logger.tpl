{{- define "logger.objects" }}{{ include "service.objects" . }}{{ end }}
{{- define "logger.needs" }}kafka elasticsearch{{ end }}
