//! The metrics and their names.
//!
//! | metric | meaning |
//! |---|---|
//! | `users` | streams open here; the service's own port also has it under `/metrics` |
//! | `stream_opened_total` | opened streams |
//! | `stream_ended_total{by}` | ended streams: by the `client`, `shed` (another replica has more room), by `shutdown`, `lock_lost` (the lock has another owner or none), `lock_unknown` (Redis did not confirm it in time) |
//! | `stream_refused_total{reason}` | clients without a stream: `not_bound` (the profile does not have the user), `locked` (the pair is open, or was a moment ago), `profiles` or `redis` (away), `full` (`MAX_STREAMS`), `request` (400) |
//! | `stream_events_total`, `stream_event_bytes_total` | started events, and their bytes |
//! | `stream_events_skipped_total` | events that fell due while a client was not reading |
//! | `stream_redis_failures_total`, `stream_profiles_failures_total` | failed attempts to use them |
//! | `stream_log_lines_total`, `stream_log_lines_shipped_total`, `stream_log_lines_dropped_total`, `stream_log_lines_unwritten_total` | as for every service |

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use service::metrics::{by_label, counter};

use crate::streams::{Order, Streams};

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Client,
    Shed,
    ShutDown,
    LockLost,
    LockUnknown,
}

impl From<Order> for Ended {
    fn from(order: Order) -> Self {
        match order {
            Order::Shed => Self::Shed,
            Order::ShutDown => Self::ShutDown,
            Order::LockLost => Self::LockLost,
            Order::LockUnknown => Self::LockUnknown,
        }
    }
}

/// Why a client gets no stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    NotBound,
    Locked,
    Profiles,
    Redis,
    Full,
    Request,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) opened: Counter,
    ended: [Counter; 5],
    refused: [Counter; 6],
    events: Counter,
    event_bytes: Counter,
    pub(crate) redis_failures: Counter,
    pub(crate) profiles_failures: Counter,
}

/// Reads the table, because separate numbers could drift.
#[derive(Debug)]
struct Table(Arc<Streams>);

impl Collector for Table {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let users = ConstGauge::new(self.0.count() as i64);
        let help = "Streams open here";
        users.encode(encoder.encode_descriptor("users", help, None, users.metric_type())?)?;
        let skipped = ConstCounter::new(self.0.skipped(clock::runtime_now()));
        let help = "Events that fell due while a client was not reading";
        let kind = skipped.metric_type();
        skipped.encode(encoder.encode_descriptor("stream_events_skipped", help, None, kind)?)
    }
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry, streams: &Arc<Streams>) -> Self {
        registry.register_collector(Box::new(Table(Arc::clone(streams))));
        let registry = registry.sub_registry_with_prefix("stream");
        service::logs::register(registry);
        let ways = ["client", "shed", "shutdown", "lock_lost", "lock_unknown"];
        let reasons = ["not_bound", "locked", "profiles", "redis", "full", "request"];
        Self {
            opened: counter(registry, "opened", "Opened streams"),
            ended: by_label(registry, "ended", "Ended streams, by cause", "by", ways),
            refused: by_label(registry, "refused", "Clients without a stream, by reason", "reason", reasons),
            events: counter(registry, "events", "Started events"),
            event_bytes: counter(registry, "event_bytes", "Bytes of started events"),
            redis_failures: counter(registry, "redis_failures", "Failed attempts to use Redis"),
            profiles_failures: counter(registry, "profiles_failures", "Failed attempts to ask profiles"),
        }
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.events.inc();
        self.event_bytes.inc_by(bytes as u64);
    }

    pub(crate) fn ended(&self, ended: Ended) {
        self.ended[ended as usize].inc();
    }

    pub(crate) fn refused(&self, reason: Refused) {
        self.refused[reason as usize].inc();
    }
}
