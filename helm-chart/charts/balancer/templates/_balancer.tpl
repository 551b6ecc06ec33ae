{{- define "balancer.objects" }}
{{- fail "balancer.enabled: in a cluster this version has no balancer to run; on this machine it has (playctl up -f balancer)" }}
{{- end }}
{{- define "balancer.needs" }}redis{{ end }}
