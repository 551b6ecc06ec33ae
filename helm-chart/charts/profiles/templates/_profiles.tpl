{{- define "profiles.objects" }}{{ include "service.objects" . }}{{ end }}
{{- define "profiles.needs" }}kafka cassandra{{ end }}
