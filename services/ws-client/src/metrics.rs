//! What is counted, under which names.
//!
//! | metric | meaning |
//! |---|---|
//! | `ws_client_users` | users that are connected, connecting or waiting to come back |
//! | `ws_client_connects_total` | sessions that were opened |
//! | `ws_client_failures_total` | attempts that failed |
//! | `ws_client_closed_total` | sessions that the server ended |

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
        let users = Gauge::default();
        registry.register("users", "Users that are connected or try to be", users.clone());
        Arc::new(Self {
            users,
            connects: counter(registry, "connects", "Sessions that were opened"),
            failures: counter(registry, "failures", "Attempts that failed"),
            closed: counter(registry, "closed", "Sessions that the server ended"),
        })
    }
}
