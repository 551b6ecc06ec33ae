//! The `tcp` service: text commands over TCP.
//!
//! ```text
//!             ┌──────────── worker (one thread, mio) ───────────┐        ┌── backend (one thread, tokio) ──┐
//!  clients ──▶│ accept · read · parse · reply · broadcast passes │──────▶│ memcached · Kafka producer       │
//!             │ one shared read buffer, state per connection     │◀──────│ Kafka consumer · log shipping    │
//!             └──────────────────────────────────────────────────┘ inbox └─────────────────────────────────┘
//! ```
//!
//! *Workers* own the connections. A worker never blocks except in its poller: requests for a backend go to the
//! *backend* thread through a bounded queue, and their results come back through the worker's inbox. An idle connection
//! costs its state and the kernel's socket: no buffer, no timer, no task. With etcd, one more thread shares the lists
//! of clients between servers. [`Settings`] lists the settings, [`metrics`] the metrics.
//!
//! [`run`] is the whole service; [`Server::bind`] and [`Server::run`] are its two halves, for callers that need the
//! real addresses in between.

mod backend;
mod inbox;
pub mod metrics;
mod presence;
mod request;
mod roster;
mod server;
mod settings;
mod worker;

pub use server::Server;
pub use service::Error;
use service::Shutdown;
pub use settings::Settings;

/// Runs the service on this thread and its own threads until `shutdown` is complete.
///
/// # Errors
/// The service cannot start ([`Server::bind`]), or an event loop failed.
pub fn run(settings: Settings, shutdown: Shutdown) -> Result<(), Error> {
    Server::bind(settings, shutdown)?.run()
}
