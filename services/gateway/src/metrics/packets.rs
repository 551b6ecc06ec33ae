//! The counts of UDP as Prometheus metrics.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;
use udp_drops::KernelDrops;

use super::{Read, backend_counters, backends, counter, endpoints, gauge};
use crate::cluster::Cluster;
use crate::shortages::Shortage;
use crate::stats::Stats;

/// A registry with all counts of a UDP gateway.
pub(crate) fn registry(stats: Arc<Stats>, cluster: Arc<Cluster>, kernel: KernelDrops) -> Registry {
    let mut registry = Registry::with_prefix("gateway");
    registry.register_collector(Box::new(Metrics { stats, cluster, kernel }));
    service::logs::register(&mut registry);
    registry
}

#[derive(Debug)]
struct Metrics {
    stats: Arc<Stats>,
    cluster: Arc<Cluster>,
    kernel: KernelDrops,
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        self.sessions(&mut encoder)?;
        self.packets(&mut encoder)?;
        let view = self.cluster.view();
        endpoints(&mut encoder, &view, &self.stats, self.cluster.ejections())?;
        backends(&mut encoder, &view.endpoints)?;
        let counters: [(&str, &str, Read); 4] = [
            (
                "backend_sessions_expired",
                "Sessions of a backend that ended because they were idle",
                |counts| counts.expired,
            ),
            ("backend_sent_packets", "Packets forwarded to a backend", |counts| counts.packets_to),
            ("backend_received_packets", "Packets received from a backend", |counts| counts.packets_from),
            ("backend_dropped_packets", "Packets for a backend that could not be sent", |counts| {
                counts.packets_dropped
            }),
        ];
        backend_counters(&mut encoder, &view.endpoints, &counters)
    }
}

impl Metrics {
    fn sessions(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let (stats, packets) = (&self.stats, &self.stats.packets);
        gauge(encoder, "sessions_active", "Clients' sessions", stats.active() as u64)?;
        for (name, help, count) in [
            ("sessions_opened", "Sessions opened", &stats.opened),
            ("sessions_closed", "Sessions ended, for any reason", &stats.closed),
            ("sessions_expired", "Sessions ended because they were idle", &packets.expired),
            ("sessions_evicted", "Sessions evicted to make room for others", &packets.evicted),
            ("sessions_cut", "Sessions cut off by the end of a drain", &stats.cut),
            ("sessions_moved", "Sessions moved to another backend", &packets.moved),
            (
                "sessions_resumed",
                "Sessions resumed at the backend they had through another gateway",
                &packets.resumed,
            ),
            ("loop_turns", "Turns of the event loops", &stats.turns),
        ] {
            counter(encoder, name, help, count.get())?;
        }
        let help = "Sessions refused because no backend accepted them";
        let mut family = encoder.encode_descriptor("sessions_refused", help, None, MetricType::Counter)?;
        for shortage in [Shortage::NoEndpoint, Shortage::CircuitOpen] {
            let count = ConstCounter::new(stats.shortages.refusals(shortage));
            count.encode(family.encode_family(&[("reason", shortage.reason())])?)?;
        }
        Ok(())
    }

    fn packets(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let packets = &self.stats.packets;
        counter(encoder, "packets_received", "Packets received from clients", packets.received.get())?;
        counter(encoder, "packets_answered", "Packets sent to clients", packets.answered.get())?;
        let help = "Packets dropped, by reason; `kernel`: dropped before the gateway saw them";
        let mut family = encoder.encode_descriptor("packets_dropped", help, None, MetricType::Counter)?;
        for (reason, count) in [
            ("kernel", self.kernel.count().unwrap_or_default()),
            ("loop", packets.loops.get()),
            ("no_session", packets.no_session.get()),
            ("unsent", packets.unsent.get()),
        ] {
            ConstCounter::new(count).encode(family.encode_family(&[("reason", reason)])?)?;
        }
        Ok(())
    }
}
