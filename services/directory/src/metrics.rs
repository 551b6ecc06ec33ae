//! The metrics and their names.
//!
//! | metric | meaning |
//! |---|---|
//! | `directory_answers_total{status}` | answers by status class: `2xx`, `4xx`, `5xx` |
//! | `directory_backend_failures_total{backend}` | calls that failed because `profiles` or `redis` was away |
//! | `directory_testdata_profiles_wanted` | profiles that the current or last run creates; 0: no run yet |
//! | `directory_testdata_running` | 1 while test data are being created |
//! | `directory_testdata_profiles_total`, `directory_testdata_users_total` | created profiles and users |
//! | `directory_testdata_failures_total` | failed creations |
//! | `directory_log_lines_total`, `directory_log_lines_shipped_total`, `directory_log_lines_dropped_total`, `directory_log_lines_unwritten_total` | as for every service |

use std::sync::Arc;

use axum::http::StatusCode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use service::metrics::{backend_failures, by_label, counter};

/// See the module.
#[derive(Debug)]
pub(crate) struct Metrics {
    answers: [Counter; 3],
    pub(crate) profiles_failures: Counter,
    pub(crate) redis_failures: Counter,
    pub(crate) testdata_wanted: Gauge,
    pub(crate) testdata_running: Gauge,
    pub(crate) testdata_profiles: Counter,
    pub(crate) testdata_users: Counter,
    pub(crate) testdata_failures: Counter,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Arc<Self> {
        let registry = registry.sub_registry_with_prefix("directory");
        service::logs::register(registry);
        let [profiles_failures, redis_failures] = backend_failures(registry, ["profiles", "redis"]);
        let (testdata_wanted, testdata_running) = (Gauge::default(), Gauge::default());
        let wanted = "Profiles that the run of test data creates";
        registry.register("testdata_profiles_wanted", wanted, testdata_wanted.clone());
        registry.register(
            "testdata_running",
            "1 while test data are being created",
            testdata_running.clone(),
        );
        let classes = ["2xx", "4xx", "5xx"];
        Arc::new(Self {
            answers: by_label(registry, "answers", "Answers by status class", "status", classes),
            profiles_failures,
            redis_failures,
            testdata_wanted,
            testdata_running,
            testdata_profiles: counter(registry, "testdata_profiles", "Profiles created as test data"),
            testdata_users: counter(registry, "testdata_users", "Users created as test data"),
            testdata_failures: counter(registry, "testdata_failures", "Test data that could not be created"),
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
