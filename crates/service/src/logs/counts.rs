//! The fate of this process's log lines, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;

use super::shipping::Queue;
use super::{QUEUE, stderr};

/// Adds `log_lines_total`, `log_lines_shipped_total` and `log_lines_dropped_total` under the registry's prefix, which
/// stay at 0 if no lines go to Kafka, and `log_lines_unwritten_total`.
pub fn register(registry: &mut Registry) {
    registry.register_collector(Box::new(Lines));
}

#[derive(Debug)]
struct Lines;

impl Collector for Lines {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let count = |counter: fn(&Queue) -> &AtomicU64| {
            QUEUE.get().map_or(0, |queue| counter(queue).load(Ordering::Relaxed))
        };
        // Read the ends before the starts, so that no line seems to end before it started.
        let shipped = count(|queue| &queue.shipped);
        let dropped = count(|queue| &queue.dropped);
        let logged = count(|queue| &queue.logged);
        for (name, help, value) in [
            ("log_lines", "Log lines meant for Kafka", logged),
            ("log_lines_shipped", "Log lines delivered to Kafka", shipped),
            ("log_lines_dropped", "Log lines that did not reach Kafka", dropped),
            ("log_lines_unwritten", "Log lines that could not be written to stderr", stderr::unwritten()),
        ] {
            let encoder = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(encoder)?;
        }
        Ok(())
    }
}
