//! The metrics and their names.
//!
//! | metric | meaning |
//! |---|---|
//! | `logger_records_consumed_total` | records taken from Kafka |
//! | `logger_records_skipped_total` | of these, older than `IGNORE_MESSAGES_BEFORE` |
//! | `logger_documents_created_total` | documents written by Elasticsearch |
//! | `logger_documents_duplicate_total` | documents that already existed: records consumed again |
//! | `logger_dead_letters_total{cause}` | records delivered to the dead-letter topic: `malformed`, or `refused` by Elasticsearch |
//! | `logger_bulks_opened_total`, `logger_bulks_closed_total` | bulks started, and bulks acknowledged in full |
//! | `logger_bulk_requests_total` | requests, including retries |
//! | `logger_bulk_retries_total{cause}` | retried requests: `unavailable`, `busy` (some documents refused for now),
//! `split` (too large) |
//! | `logger_bulk_bytes_total` | total size of all requests' bodies |
//! | `logger_pauses_total`, `logger_resumes_total` | times that consuming was paused because nothing more could be
//! sent, and resumed |
//! | `logger_rebalances_total` | times that partitions were assigned |
//! | `logger_lag_records{partition}` | records not acknowledged yet, updated every 5 s |
//! | `logger_log_lines_total`, `logger_log_lines_shipped_total`, `logger_log_lines_dropped_total` | its own log lines
//! for Kafka, delivered lines, and undelivered ones |
//! | `logger_log_lines_unwritten_total` | log lines that could not be written to stderr |
//!
//! Bulks in flight are opened minus closed, and consuming is paused while pauses exceed resumes: counters, because a
//! gauge hides what happens between two scrapes.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabel {
    cause: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct PartitionLabel {
    pub(crate) partition: i32,
}

/// See the module.
pub(crate) struct Metrics {
    pub(crate) consumed: Counter,
    pub(crate) skipped: Counter,
    pub(crate) created: Counter,
    pub(crate) duplicates: Counter,
    pub(crate) malformed: Counter,
    pub(crate) refused: Counter,
    pub(crate) bulks_opened: Counter,
    pub(crate) bulks_closed: Counter,
    pub(crate) requests: Counter,
    pub(crate) unavailable: Counter,
    pub(crate) busy: Counter,
    pub(crate) split: Counter,
    pub(crate) bulk_bytes: Counter,
    pub(crate) pauses: Counter,
    pub(crate) resumes: Counter,
    pub(crate) rebalances: Counter,
    pub(crate) lag: Family<PartitionLabel, Gauge>,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("logger");
        service::logs::register(registry);
        let dead_letters: Family<CauseLabel, Counter> = Family::default();
        registry.register("dead_letters", "Records in the dead-letter topic, by cause", dead_letters.clone());
        let retries: Family<CauseLabel, Counter> = Family::default();
        registry.register("bulk_retries", "Retried requests, by cause", retries.clone());
        let lag = Family::default();
        registry.register("lag_records", "Records not acknowledged yet", lag.clone());
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        Self {
            consumed: counter("records_consumed", "Records taken from Kafka"),
            skipped: counter("records_skipped", "Records skipped because they were too old"),
            created: counter("documents_created", "Documents written"),
            duplicates: counter("documents_duplicate", "Documents that already existed"),
            bulks_opened: counter("bulks_opened", "Bulks started"),
            bulks_closed: counter("bulks_closed", "Bulks acknowledged in full"),
            requests: counter("bulk_requests", "Bulk requests, including retries"),
            bulk_bytes: counter("bulk_bytes", "Bytes of all bulk requests"),
            pauses: counter("pauses", "Times that consuming was paused"),
            resumes: counter("resumes", "Times that consuming resumed"),
            rebalances: counter("rebalances", "Times that partitions were assigned"),
            malformed: dead_letters.get_or_create_owned(&CauseLabel { cause: "malformed" }),
            refused: dead_letters.get_or_create_owned(&CauseLabel { cause: "refused" }),
            unavailable: retries.get_or_create_owned(&CauseLabel { cause: "unavailable" }),
            busy: retries.get_or_create_owned(&CauseLabel { cause: "busy" }),
            split: retries.get_or_create_owned(&CauseLabel { cause: "split" }),
            lag,
        }
    }
}
