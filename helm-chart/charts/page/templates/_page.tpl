{{- define "page.objects" }}{{ include "service.objects" . }}{{ end }}
{{- define "page.needs" }}kafka{{ end }}
