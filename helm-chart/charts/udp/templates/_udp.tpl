{{- define "udp.objects" }}{{ include "service.objects" . }}{{ end }}
{{- define "udp.needs" }}kafka memcached{{ end }}
