//! The `logger` service: log lines from Kafka to Elasticsearch.
//!
//! ```text
//!  Kafka            pump                                  deliver (a few at a time)
//!  general-logs ──▶ consume · judge · fill a bulk ──────▶ POST _bulk until acknowledged ──▶ Elasticsearch
//!       ▲           │ a bulk is full, or old enough       │ refused records ───────────────▶ dead letters (Kafka)
//!       └─ commit ◀─┴─ progress: what is acknowledged ◀───┘
//!                      without a gap
//! ```
//!
//! Every record is written at least once, and a replay writes nothing twice: its document's ID and index follow from
//! the record alone ([`record`]). An offset is committed only when all records before it are acknowledged
//! ([`progress`]), by Elasticsearch or, for those that cannot be documents, by the dead-letter topic.
//!
//! While Elasticsearch is down, nothing is lost and nothing piles up: the bulks in flight are retried with growing
//! delays and jitter, and beyond them consuming is paused. The backlog waits in Kafka.
//!
//! One thread does all of it; librdkafka and the admin port have their own. Memory is bounded by the bulks
//! (`BULK_BYTES` × (`BULKS_IN_FLIGHT` + 1)) and the records fetched ahead.
//!
//! [`Settings`] lists the settings, [`metrics`] the metrics, [`index`] reads what was written.

mod bulk;
mod dead_letters;
mod deliver;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod index;
pub mod metrics;
mod progress;
mod pump;
mod record;
mod server;
mod settings;
mod sink;
mod source;
mod stuck;

/// The target for log lines about the pipeline. They are not shipped: they would enter that very pipeline, and a line
/// about a refused line would be refused and logged in turn.
const PIPELINE: &str = service::logs::PIPELINE;

pub use error::Error;
pub use server::Server;
use service::Shutdown;
pub use settings::{Credentials, Elasticsearch, Settings, Trust};

/// Runs the service on this thread and its own threads until `shutdown` is complete: consumed records are delivered and
/// committed, and the consumer has left its group.
///
/// # Errors
/// The service cannot start ([`Server::bind`]).
pub fn run(settings: Settings, shutdown: Shutdown) -> Result<(), Error> {
    Server::bind(settings, shutdown)?.run()
}
