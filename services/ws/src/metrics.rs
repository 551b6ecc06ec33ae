//! The metrics and their names.
//!
//! | metric | meaning |
//! |---|---|
//! | `ws_sessions` | current sessions |
//! | `ws_sessions_opened_total` | opened sessions |
//! | `ws_sessions_ended_total{by}` | ended sessions: by the `client`, `rebalanced` (4001), by `shutdown` (1001), `lost` (no answer to a ping, or not reading), `refused` (a message that is too long or not text, or a protocol violation) |
//! | `ws_sessions_left_out{key}` | values in Redis under `WsSession#` that were not sessions in the last listing of all
//! sessions |
//! | `ws_refused_total{reason}` | clients without a session: `full` (1013), `rate` (503), `request` (400) |
//! | `ws_messages_total` | echoed text messages |
//! | `ws_redis_failures_total` | failed attempts to write to or read from Redis |
//! | `ws_log_lines_total`, `ws_log_lines_shipped_total`, `ws_log_lines_dropped_total`, `ws_log_lines_unwritten_total` | as for every service |

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use service::metrics::{by_label, counter};
use service::sessions::listed::Noticed;

use crate::sessions::{KEY_PREFIX, Sessions};

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Client,
    Rebalanced,
    ShutDown,
    Lost,
    Refused,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) opened: Counter,
    ended: [Counter; 5],
    pub(crate) refused_full: Counter,
    pub(crate) refused_rate: Counter,
    pub(crate) refused_request: Counter,
    pub(crate) messages: Counter<u64, AtomicU64>,
    pub(crate) redis_failures: Counter,
    /// Listed values that are not sessions.
    pub(crate) left_out: Noticed,
}

/// Reads the table, because a separate gauge could drift.
#[derive(Debug)]
struct Count(Arc<Sessions>);

impl Collector for Count {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let gauge = ConstGauge::new(self.0.count() as i64);
        let encoder =
            encoder.encode_descriptor("ws_sessions", "Current sessions", None, gauge.metric_type())?;
        gauge.encode(encoder)
    }
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry, sessions: &Arc<Sessions>) -> Self {
        registry.register_collector(Box::new(Count(Arc::clone(sessions))));
        let registry = registry.sub_registry_with_prefix("ws");
        service::logs::register(registry);
        let ways = ["client", "rebalanced", "shutdown", "lost", "refused"];
        let [refused_full, refused_rate, refused_request] = by_label(
            registry,
            "refused",
            "Clients without a session, by reason",
            "reason",
            ["full", "rate", "request"],
        );
        let [left_out] = Noticed::register(registry, [KEY_PREFIX]);
        Self {
            left_out,
            opened: counter(registry, "sessions_opened", "Opened sessions"),
            ended: by_label(registry, "sessions_ended", "Ended sessions, by cause", "by", ways),
            refused_full,
            refused_rate,
            refused_request,
            messages: counter(registry, "messages", "Echoed text messages"),
            redis_failures: counter(registry, "redis_failures", "Failed attempts to use Redis"),
        }
    }

    pub(crate) fn ended(&self, ended: Ended) {
        self.ended[ended as usize].inc();
    }
}
