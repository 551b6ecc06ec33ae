# shellcheck shell=bash
SUMMARY='Prometheus (and promtool); scrapes the targets in conf/targets/*.json'
VERSION='2.*'
PORTS=(http=29090)

install() { debian prometheus prometheus "$VERSION"; }
program() { program_path prometheus; }
version() { "$(program)" --version 2>&1 | awk '{ sub(/\+.*/, "", $3); print $3; exit }'; }

# Targets come and go by file, as replicas do, without a restart.
configure() {
    mkdir -p "$CONF/targets"
    cat >"$CONF/prometheus.yml" <<EOC
global: {scrape_interval: 5s, scrape_timeout: 4s}
scrape_configs:
  - job_name: prometheus
    static_configs: [{targets: ["$ADDRESS:${PORT[http]}"]}]
  - job_name: platform
    file_sd_configs: [{files: ["$CONF/targets/*.json"], refresh_interval: 5s}]
EOC
    promtool check config "$CONF/prometheus.yml" >"$STATE/log/promtool.log" 2>&1 ||
        fail "$BRING_UP_FAILED" "prometheus: $(<"$STATE/log/promtool.log")"
}

start() {
    launch "$(program)" --config.file="$CONF/prometheus.yml" --web.listen-address="$ADDRESS:${PORT[http]}" \
        --web.enable-lifecycle --storage.tsdb.path="$DATA" --storage.tsdb.retention.time=2h \
        --storage.tsdb.retention.size=256MB
}

ready() { http_get "${PORT[http]}" /-/ready; }

settings() {
    printf '%s\n' "PROMETHEUS_URL=http://$ADDRESS:${PORT[http]}" "PROMETHEUS_TARGETS=$CONF/targets"
}
