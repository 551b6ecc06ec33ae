// cAdvisor from its library, whose module has no command of its own: only its metrics, including those for TCP.
package main

import (
	"flag"
	"log"
	"net/http"
	"time"

	"github.com/google/cadvisor/cache/memory"
	"github.com/google/cadvisor/container"
	_ "github.com/google/cadvisor/container/containerd/install"
	v2 "github.com/google/cadvisor/info/v2"
	"github.com/google/cadvisor/manager"
	"github.com/google/cadvisor/metrics"
	"github.com/google/cadvisor/utils/sysfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/utils/clock"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:18080", "address of /metrics")
	prefix := flag.String("prefix", "/kubepods", "cgroups to look at")
	every := flag.Duration("every", time.Second, "time between two readings")
	flag.Parse()
	wanted := container.MetricSet{
		container.CpuUsageMetrics:        {},
		container.MemoryUsageMetrics:     {},
		container.NetworkUsageMetrics:    {},
		container.NetworkTcpUsageMetrics: {},
	}
	dynamic := false
	housekeeping := manager.HousekeepingConfig{Interval: every, AllowDynamic: &dynamic}
	looker, err := manager.New(memory.New(time.Minute, nil), sysfs.NewRealSysFs(), housekeeping, wanted, http.DefaultClient, []string{*prefix}, nil, "", 0)
	if err == nil {
		err = looker.Start()
	}
	if err != nil {
		log.Fatal(err)
	}
	options := v2.RequestOptions{IdType: v2.TypeName, Count: 1, Recursive: true}
	registry := prometheus.NewRegistry()
	registry.MustRegister(metrics.NewPrometheusCollector(looker, metrics.DefaultContainerLabels, wanted, clock.RealClock{}, options))
	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	log.Fatal(http.ListenAndServe(*listen, nil))
}
