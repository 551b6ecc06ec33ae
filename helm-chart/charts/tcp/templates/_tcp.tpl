{{- define "tcp.objects" }}{{ include "service.objects" . }}{{ end }}
{{- define "tcp.needs" }}kafka memcached etcd shed{{ end }}
