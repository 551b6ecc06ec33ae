//! The metrics and their names.
//!
//! | metric | meaning |
//! |---|---|
//! | `profiles_answers_total{status}` | answers by status class: `2xx`, `4xx`, `5xx` |
//! | `profiles_listed_total` | objects in lists |
//! | `profiles_lists_cut_off_total` | incomplete lists |
//! | `profiles_backend_failures_total{backend}` | requests that failed because Cassandra was away |
//! | `profiles_log_lines_total`, `profiles_log_lines_shipped_total`, `profiles_log_lines_dropped_total`, `profiles_log_lines_unwritten_total` | as for every service |

use std::sync::Arc;

use axum::http::StatusCode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use service::metrics::{backend_failures, by_label, counter};

/// See the module.
#[derive(Debug)]
pub(crate) struct Metrics {
    answers: [Counter; 3],
    pub(crate) listed: Counter,
    pub(crate) cut_off: Counter,
    pub(crate) cassandra_failures: Counter,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Arc<Self> {
        let registry = registry.sub_registry_with_prefix("profiles");
        service::logs::register(registry);
        let [cassandra_failures] = backend_failures(registry, ["cassandra"]);
        let classes = ["2xx", "4xx", "5xx"];
        Arc::new(Self {
            answers: by_label(registry, "answers", "Answers by status class", "status", classes),
            listed: counter(registry, "listed", "Objects in lists"),
            cut_off: counter(registry, "lists_cut_off", "Incomplete lists"),
            cassandra_failures,
        })
    }

    pub(crate) fn answered(&self, status: StatusCode) {
        let class = match status.as_u16() {
            ..400 => 0,
            400..500 => 1,
            _ => 2,
        };
        self.answers[class].inc();
    }
}
