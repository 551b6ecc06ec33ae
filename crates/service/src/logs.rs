//! Logs: one JSON object per line, always on stderr and, if configured, also in Kafka.
//!
//! The `tracing` subscriber belongs to the process, and so does the queue between it and Kafka. The binary creates both
//! with [`init`], once; the service with a Kafka producer takes the other end of the queue with [`ship`]. The queue is
//! bounded: while Kafka is away, lines are dropped and counted, and the next delivered line says how many. Logging
//! never waits for Kafka or for the reader of stderr: see [`stderr`].

mod counts;
mod layer;
mod lines;
mod seldom;
mod shipping;
mod stderr;

use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub use self::counts::register;
use self::layer::ShippingLayer;
pub use self::lines::LogLines;
pub use self::seldom::Seldom;
use self::shipping::Queue;
pub use self::shipping::{dropped, ship};
pub use self::stderr::Stderr;
use crate::kafka::KAFKA_BROKERS;
use crate::settings::{Env, Invalid, Reader, Setting, Variable};

/// The variable that selects what to log.
pub const RUST_LOG: Variable = Variable::new(
    "RUST_LOG",
    "info",
    "What is logged: a level (error, warn, info, debug, trace), or `target=level` separated by commas.",
);

/// The target of log lines about log shipping itself. They are not shipped.
pub const PIPELINE: &str = "logger::pipeline";

/// The queue to Kafka, if lines should go there.
static QUEUE: OnceLock<Queue> = OnceLock::new();

/// Selects what to log.
struct Filter(EnvFilter);

impl Setting for Filter {
    fn parse(text: &str) -> Result<Self, String> {
        EnvFilter::try_new(text).map(Self).map_err(|_| {
            "a level (error, warn, info, debug, trace), or target=level separated by commas".into()
        })
    }
}

/// Sets up this process's logs. From now on, lines are queued for Kafka if `KAFKA_BROKERS` is set. Does nothing if a
/// subscriber is already set.
///
/// # Errors
/// `RUST_LOG` has a bad value.
pub fn init(env: &Env) -> Result<(), Invalid> {
    let mut reader = Reader::new(env);
    let Filter(filter) = reader.get(&RUST_LOG);
    reader.finish(())?;
    let shipping = env.get(KAFKA_BROKERS.name).map(|_| ShippingLayer::new(QUEUE.get_or_init(Queue::new)));
    let stderr = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(Stderr);
    // Fails only if there is already a subscriber, which then stays.
    let _ = tracing_subscriber::registry().with(filter).with(stderr).with(shipping).try_init();
    Ok(())
}

/// This replica's name in logs: `POD_NAME`, or the host's name.
pub fn pod_name(configured: Option<&str>) -> String {
    match configured {
        Some(name) => name.to_owned(),
        None => rustix::system::uname().nodename().to_string_lossy().into_owned(),
    }
}
