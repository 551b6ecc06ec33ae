//! The counts as Prometheus metrics, read at each scrape.
//!
//! All names begin with `gateway_`. Counters of backends have the label `backend` and disappear with the backend.

pub(crate) mod packets;

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::cluster::backend::BackendCounts;
use crate::cluster::health::Verdict;
use crate::cluster::{ClusterView, Clusters, EndpointView};
use crate::settings::Protocol;
use crate::shortages::Shortage;
use crate::stats::Stats;

/// A registry with all of the gateway's counts.
pub(crate) fn registry(stats: Arc<Stats>, clusters: Clusters, carries: Protocol) -> Registry {
    let mut registry = Registry::with_prefix("gateway");
    registry.register_collector(Box::new(Metrics { stats, clusters, carries }));
    service::logs::register(&mut registry);
    registry
}

#[derive(Debug)]
struct Metrics {
    stats: Arc<Stats>,
    clusters: Clusters,
    carries: Protocol,
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        self.connections(&mut encoder)?;
        if self.carries == Protocol::Http {
            self.requests(&mut encoder)?;
        }
        let view = self.clusters.view();
        endpoints(&mut encoder, &view, &self.stats, self.clusters.ejections())?;
        backends(&mut encoder, &view.endpoints)
    }
}

impl Metrics {
    fn connections(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let stats = &self.stats;
        gauge(encoder, "connections_active", "Open client connections", stats.active() as u64)?;
        for (name, help, counter) in [
            ("connections_opened", "Client connections accepted", &stats.opened),
            ("connections_closed", "Client connections closed, for any reason", &stats.closed),
            (
                "connections_delayed",
                "Pauses because of the accept rate while a client was waiting",
                &stats.delayed,
            ),
            ("connects_retried", "Connects retried at another backend", &stats.retried),
            ("sessions_reset", "Sessions reset by either side", &stats.reset),
            (
                "sessions_timed_out",
                "Sessions reset because a side stopped reading for the stall time-out, or vanished",
                &stats.timed_out,
            ),
            (
                "sessions_silent",
                "Sessions closed because neither side sent anything for the tunnel time-out",
                &stats.silent,
            ),
            ("sessions_cut", "Sessions cut off by the end of a drain", &stats.cut),
            ("loop_turns", "Turns of the event loops", &stats.turns),
        ] {
            let encoder = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(counter.get()).encode(encoder)?;
        }
        let help = "Client connections closed, or requests refused, because no backend accepted them";
        let mut family = encoder.encode_descriptor("connections_refused", help, None, MetricType::Counter)?;
        for shortage in Shortage::REFUSALS {
            let count = ConstCounter::new(stats.shortages.refusals(shortage));
            count.encode(family.encode_family(&[("reason", shortage.reason())])?)?;
        }
        let help = "Times that accepting paused for lack of room";
        let mut family = encoder.encode_descriptor("accept_pauses", help, None, MetricType::Counter)?;
        for shortage in Shortage::PAUSES {
            let count = ConstCounter::new(stats.shortages.pauses(shortage));
            count.encode(family.encode_family(&[("reason", shortage.reason())])?)?;
        }
        Ok(())
    }
}

impl Metrics {
    fn requests(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let http = &self.stats.http;
        counter(encoder, "requests", "Client requests", http.requests.get())?;
        let help = "Requests that a backend accepted but did not answer";
        counter(encoder, "requests_unanswered", help, http.unanswered.get())?;
        let help =
            "Answers cut short because a backend or client was gone; the client's connection was reset";
        counter(encoder, "answers_broken", help, http.broken.get())?;
        let help = "Answers to clients, by status class";
        let mut family = encoder.encode_descriptor("answers", help, None, MetricType::Counter)?;
        for (class, count) in http.answers() {
            ConstCounter::new(count).encode(family.encode_family(&[("status", class)])?)?;
        }
        Ok(())
    }
}

/// Metrics of the endpoints file and of all backends together.
fn endpoints(
    encoder: &mut DescriptorEncoder<'_>,
    view: &ClusterView,
    stats: &Stats,
    ejections: u64,
) -> std::fmt::Result {
    let help = "Version of the endpoints in use";
    gauge(encoder, "endpoints_version", help, view.version.unwrap_or(0))?;
    let help = "1 if the current endpoints could not be read or looked up";
    gauge(encoder, "endpoints_stale", help, u64::from(stats.endpoints_stale()))?;
    counter(
        encoder,
        "endpoints_rejected",
        "Endpoints files that could not be used, and look-ups that failed",
        stats.endpoints_rejected.get(),
    )?;
    let help = "Backends ejected after consecutive failed connects";
    counter(encoder, "ejections", help, ejections)
}

/// Reads one count of a backend.
type Read = fn(&BackendCounts) -> u64;

fn backends(encoder: &mut DescriptorEncoder<'_>, endpoints: &[EndpointView]) -> std::fmt::Result {
    type Look = fn(&EndpointView) -> u64;
    let counters: [(&str, &str, Read); 5] = [
        ("backend_sessions_opened", "Sessions given to a backend", |counts| counts.opened),
        ("backend_sessions_closed", "Sessions of a backend that ended", |counts| counts.closed),
        ("backend_connects_failed", "Failed connects to a backend", |counts| counts.failed),
        ("backend_sent_bytes", "Bytes forwarded to a backend", |counts| counts.bytes_to),
        ("backend_received_bytes", "Bytes forwarded from a backend", |counts| counts.bytes_from),
    ];
    backend_counters(encoder, endpoints, &counters)?;
    let gauges: [(&str, &str, Look); 2] = [
        ("backend_sessions_active", "Current sessions of a backend", |endpoint| endpoint.counts.active),
        ("backend_healthy", "1 if a backend's health check passes", |endpoint| {
            u64::from(endpoint.health == Verdict::Healthy)
        }),
    ];
    for (name, help, read) in gauges {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for endpoint in endpoints {
            let label = [("backend", endpoint.name.as_str())];
            ConstGauge::new(read(endpoint)).encode(family.encode_family(&label)?)?;
        }
    }
    Ok(())
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> std::fmt::Result {
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> std::fmt::Result {
    ConstCounter::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)
}

fn backend_counters(
    encoder: &mut DescriptorEncoder<'_>,
    endpoints: &[EndpointView],
    counters: &[(&str, &str, Read)],
) -> std::fmt::Result {
    for (name, help, read) in counters {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for endpoint in endpoints {
            let label = [("backend", endpoint.name.as_str())];
            ConstCounter::new(read(&endpoint.counts)).encode(family.encode_family(&label)?)?;
        }
    }
    Ok(())
}
