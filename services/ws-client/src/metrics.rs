//! The metrics and their names.
//!
//! | metric | meaning |
//! |---|---|
//! | `ws_client_users` | users that are connected, connecting or waiting to reconnect |
//! | `ws_client_connects_total` | opened sessions |
//! | `ws_client_failures_total` | failed attempts |
//! | `ws_client_closed_total` | sessions ended by the server |
//! | `ws_client_log_lines_total`, `ws_client_log_lines_shipped_total`, `ws_client_log_lines_dropped_total`, `ws_client_log_lines_unwritten_total` | as for every service |

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use service::metrics::counter;

/// See the module.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) users: Gauge,
    pub(crate) connects: Counter,
    pub(crate) failures: Counter,
    pub(crate) closed: Counter,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Arc<Self> {
        let registry = registry.sub_registry_with_prefix("ws_client");
        service::logs::register(registry);
        let users = Gauge::default();
        registry.register("users", "Users that are connected or trying to connect", users.clone());
        Arc::new(Self {
            users,
            connects: counter(registry, "connects", "Opened sessions"),
            failures: counter(registry, "failures", "Failed attempts"),
            closed: counter(registry, "closed", "Sessions ended by the server"),
        })
    }
}
