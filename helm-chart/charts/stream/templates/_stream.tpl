{{- define "stream.objects" }}{{ include "service.objects" . }}{{ end }}
{{- define "stream.needs" }}kafka redis profiles shed{{ end }}
