//! The `tcp` service: text commands over TCP.
//!
//! ```text
//!             ┌──────────── worker (one thread, mio) ───────────┐        ┌── backend (one thread, tokio) ──┐
//!  clients ──▶│ accept · read · parse · reply · broadcast passes │──────▶│ memcached · Kafka producer       │
//!             │ one shared read buffer, state per connection     │◀──────│ Kafka consumer · log shipping    │
//!             └──────────────────────────────────────────────────┘ inbox └─────────────────────────────────┘
//! ```
//!
//! *Workers* carry the connections. Nothing in a worker waits for anything but its poller: what needs a backend
//! goes to the *backend* thread through a bounded queue and comes back through the worker's inbox. An idle connection
//! costs its state and the kernel's socket: no buffer, no timer, no task. With etcd, one more thread keeps the clients of
//! all servers known to each other. [`Settings`] is what can be set, [`metrics`] what is counted.
//!
//! [`run`] is the whole service; [`Server::bind`] and [`Server::run`] are its two halves, for callers that need the
//! real addresses in between.

mod backend;
mod inbox;
pub mod metrics;
mod presence;
mod roster;
mod server;
mod settings;
mod worker;

pub use server::Server;
pub use service::Error;
use service::Shutdown;
pub use settings::Settings;

/// Runs the service on this thread and those it starts until `shutdown` is complete.
///
/// # Errors
/// What kept it from starting ([`Server::bind`]), or a fault of the event loop.
pub fn run(settings: Settings, shutdown: Shutdown) -> Result<(), Error> {
    Server::bind(settings, shutdown)?.run()
}
