//! The page `/metrics`, generated for each scrape.

use std::{fmt, sync::Arc};

use parking_lot::Mutex;
use platform::target::{
    AutoscalerSnapshot, PartSnapshot, ReplicaPhase, ReplicaSnapshot, ServiceSnapshot, Snapshot,
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use super::Shown;
use crate::supervisor::sample::{Scrape, Targets};
use controller::Counts;

/// The container of a pod that runs the service, as in the chart.
const CONTAINER: &str = "service";
const PHASES: [(ReplicaPhase, &str); 6] = [
    (ReplicaPhase::Starting, "starting"),
    (ReplicaPhase::Ready, "ready"),
    (ReplicaPhase::Unready, "unready"),
    (ReplicaPhase::Draining, "draining"),
    (ReplicaPhase::BackOff, "back_off"),
    (ReplicaPhase::Stopped, "stopped"),
];

#[derive(Debug)]
pub(super) struct Page {
    shown: Arc<Mutex<Option<Shown>>>,
}

impl Page {
    pub(super) fn new(shown: Arc<Mutex<Option<Shown>>>) -> Self {
        Self { shown }
    }
}

impl Collector for Page {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(Shown { snapshot, counts }) = self.shown.lock().clone() else { return Ok(()) };
        let scrape = Scrape::take(&targets(&snapshot));
        let mut families = Families { encoder, view: &snapshot, counts };
        families.own()?;
        families.kube_state()?;
        families.cadvisor(&scrape)
    }
}

fn targets(view: &Snapshot) -> Targets {
    let replicas = || view.services.iter().flat_map(|service| &service.replicas);
    Targets {
        ports: replicas().filter_map(ReplicaSnapshot::socket).map(|address| address.port()).collect(),
        pids: replicas().filter_map(|replica| replica.pid).collect(),
    }
}

/// The page being written. The encoder adds `_total` to the names of counters.
struct Families<'encoder, 'view> {
    encoder: DescriptorEncoder<'encoder>,
    view: &'view Snapshot,
    counts: Counts,
}

/// Reads a number of an autoscaler.
type Number = fn(&AutoscalerSnapshot) -> u32;
type Label<'a> = (&'static str, &'a str);

impl Families<'_, '_> {
    /// One family; `fill` is given its encoder.
    fn family(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        fill: impl FnOnce(&mut Family<'_>) -> fmt::Result,
    ) -> fmt::Result {
        fill(&mut Family { encoder: self.encoder.encode_descriptor(name, help, None, kind)? })
    }

    /// Metrics of this platform only.
    fn own(&mut self) -> fmt::Result {
        let view = self.view;
        self.family("playctl_replicas", "Replicas by phase", MetricType::Gauge, |family| {
            for service in &view.services {
                for (phase, name) in PHASES {
                    let count = service.replicas.iter().filter(|replica| replica.phase == phase).count();
                    family.gauge(&[("service", &service.name), ("phase", name)], count as f64)?;
                }
            }
            Ok(())
        })?;
        let help = "Desired number of replicas";
        self.family("playctl_replicas_desired", help, MetricType::Gauge, |family| {
            for service in &view.services {
                family.gauge(&[("service", &service.name)], f64::from(service.desired))?;
            }
            Ok(())
        })?;
        let help = "1 if the gateway answers that it is ready";
        self.family("playctl_gateway_ready", help, MetricType::Gauge, |family| {
            for gateway in gateways(view) {
                family.gauge(&[("gateway", &gateway.name)], f64::from(u8::from(gateway.healthy)))?;
            }
            Ok(())
        })?;
        let help = "Restarts of a gateway after it died";
        self.family("playctl_gateway_restarts", help, MetricType::Counter, |family| {
            for gateway in gateways(view) {
                family.counter(&[("gateway", &gateway.name)], f64::from(gateway.restarts))?;
            }
            Ok(())
        })?;
        let counts = self.counts;
        for (name, help, count) in [
            ("playctl_scrapes", "Reads of the kernel's counts of the replicas", counts.scrapes),
            ("playctl_syncs", "Syncs of the autoscalers", counts.syncs),
            ("playctl_metric_failures", "Metrics that could not be read at a sync", counts.metric_failures),
        ] {
            let encoder = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(count).encode(encoder)?;
        }
        Ok(())
    }

    /// Metrics as in kube-state-metrics.
    fn kube_state(&mut self) -> fmt::Result {
        let view = self.view;
        let numbers: [(&str, &str, Number); 4] = [
            ("spec_min_replicas", "Lower limit of the autoscaler", |one| one.min),
            ("spec_max_replicas", "Upper limit of the autoscaler", |one| one.max),
            ("status_current_replicas", "Replicas that the autoscaler last saw", |one| one.current),
            ("status_desired_replicas", "Replicas that the autoscaler wants", |one| one.desired),
        ];
        for (name, help, number) in numbers {
            let name = format!("kube_horizontalpodautoscaler_{name}");
            self.family(&name, help, MetricType::Gauge, |family| {
                for (service, autoscaler) in autoscalers(view) {
                    let labels =
                        [("namespace", view.platform.as_str()), ("horizontalpodautoscaler", &service.name)];
                    family.gauge(&labels, f64::from(number(autoscaler)))?;
                }
                Ok(())
            })?;
        }
        self.hpa_metrics("spec", "Target of a metric", |metric| Some(metric.target_milli))?;
        self.hpa_metrics("status", "Value of a metric that the autoscaler last saw", |metric| {
            metric.value_milli
        })?;
        let help = "Restarts of a replica in place";
        self.family("kube_pod_container_status_restarts", help, MetricType::Counter, |family| {
            for replica in replicas(view) {
                family.counter(&of_container(view, replica), f64::from(replica.restarts))?;
            }
            Ok(())
        })?;
        let help = "1 for the state of a replica's readiness";
        self.family("kube_pod_status_ready", help, MetricType::Gauge, |family| {
            for replica in replicas(view) {
                let ready = replica.phase == ReplicaPhase::Ready;
                for (condition, is_so) in [("true", ready), ("false", !ready)] {
                    let [namespace, pod] = of_pod(view, replica);
                    let labels = [namespace, pod, ("condition", condition)];
                    family.gauge(&labels, f64::from(u8::from(is_so)))?;
                }
            }
            Ok(())
        })
    }

    fn hpa_metrics(
        &mut self,
        which: &str,
        help: &str,
        milli: fn(&platform::event::MetricProposal) -> Option<i64>,
    ) -> fmt::Result {
        let view = self.view;
        let name = format!("kube_horizontalpodautoscaler_{which}_target_metric");
        self.family(&name, help, MetricType::Gauge, |family| {
            for (service, autoscaler) in autoscalers(view) {
                for metric in &autoscaler.values {
                    let Some(milli) = milli(metric) else { continue };
                    let labels = [
                        ("namespace", view.platform.as_str()),
                        ("horizontalpodautoscaler", &service.name),
                        ("metric_name", &metric.metric),
                        ("metric_target_type", if metric.utilization { "utilization" } else { "average" }),
                    ];
                    family.gauge(&labels, milli as f64 / 1000.0)?;
                }
            }
            Ok(())
        })
    }

    /// Metrics as in the kubelet's cAdvisor: seen from outside, for the running process only.
    fn cadvisor(&mut self, scrape: &Scrape) -> fmt::Result {
        let view = self.view;
        let running = || replicas(view).filter_map(|replica| Some((replica, replica.pid?)));
        // Replicas listen on IPv4 addresses, so their connections are not tcp6; the queries add the two.
        for (family, is_tcp) in [("tcp", true), ("tcp6", false)] {
            let (name, help) = (format!("container_network_{family}_usage_total"), "Connections by state");
            self.family(&name, help, MetricType::Gauge, |family| {
                for (replica, _) in running() {
                    let [namespace, pod] = of_pod(view, replica);
                    // Nothing connects to a UDP service.
                    let Some(count) = replica.socket().and_then(|address| scrape.connections(address)) else {
                        continue;
                    };
                    let count = if is_tcp { count } else { 0 };
                    family.gauge(&[namespace, pod, ("tcp_state", "established")], count as f64)?;
                }
                Ok(())
            })?;
        }
        let help = "Packets that came in: of UDP, by the service's own count";
        self.family("container_network_receive_packets", help, MetricType::Counter, |family| {
            for (replica, _) in running() {
                let [namespace, pod] = of_pod(view, replica);
                if let Some(packets) = replica.packets_received {
                    family.counter(&[namespace, pod, ("interface", "lo")], packets as f64)?;
                }
            }
            Ok(())
        })?;
        let used = || running().filter_map(|(replica, pid)| Some((replica, scrape.usage(pid)?)));
        let help = "Seconds of CPU used, user and system";
        self.family("container_cpu_usage_seconds", help, MetricType::Counter, |family| {
            used().try_for_each(|(replica, usage)| {
                family.counter(&of_container(view, replica), usage.cpu.as_secs_f64())
            })
        })?;
        let help = "Memory in use in bytes: resident";
        self.family("container_memory_working_set_bytes", help, MetricType::Gauge, |family| {
            used().try_for_each(|(replica, usage)| {
                family.gauge(&of_container(view, replica), usage.memory_bytes as f64)
            })
        })?;
        let help = "When the process was started, in seconds since 1970";
        self.family("container_start_time_seconds", help, MetricType::Gauge, |family| {
            running().filter_map(|(replica, _)| Some((replica, replica.started?))).try_for_each(
                |(replica, started)| {
                    family.gauge(&of_container(view, replica), started.as_millisecond() as f64 / 1000.0)
                },
            )
        })
    }
}

/// One family being written.
struct Family<'a> {
    encoder: MetricEncoder<'a>,
}

impl Family<'_> {
    fn gauge(&mut self, labels: &[Label<'_>], value: f64) -> fmt::Result {
        ConstGauge::new(value).encode(self.encoder.encode_family(&labels)?)
    }

    fn counter(&mut self, labels: &[Label<'_>], value: f64) -> fmt::Result {
        ConstCounter::new(value).encode(self.encoder.encode_family(&labels)?)
    }
}

fn replicas(view: &Snapshot) -> impl Iterator<Item = &ReplicaSnapshot> {
    view.services.iter().flat_map(|service| &service.replicas)
}

fn gateways(view: &Snapshot) -> impl Iterator<Item = &PartSnapshot> {
    view.parts.iter().filter(|part| part.is_gateway())
}

fn autoscalers(view: &Snapshot) -> impl Iterator<Item = (&ServiceSnapshot, &AutoscalerSnapshot)> {
    view.services.iter().filter_map(|service| Some((service, service.autoscaler.as_ref()?)))
}

fn of_pod<'a>(view: &'a Snapshot, replica: &'a ReplicaSnapshot) -> [Label<'a>; 2] {
    [("namespace", &view.platform), ("pod", &replica.name)]
}

fn of_container<'a>(view: &'a Snapshot, replica: &'a ReplicaSnapshot) -> [Label<'a>; 3] {
    let [namespace, pod] = of_pod(view, replica);
    [namespace, pod, ("container", CONTAINER)]
}

#[cfg(test)]
mod tests;
