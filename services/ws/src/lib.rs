//! The `ws` service: WebSocket sessions that echo, are listed in Redis, and can be moved to other instances.
//!
//! ```text
//!  client ──▶ service::web ──▶ routes ──▶ session: echo, ping, close
//!                                          │            │
//!                                          ▼            ▼
//!                                       sessions: who is here and how long idle ──▶ store: mirrored to Redis
//!                                          ▲
//!                                       service::sessions: "close your n most idle" from Redis
//! ```
//!
//! An idle session has one task, a read buffer of 1 KiB and no timer: one sweep a second finds the peers to ping or to
//! drop. Redis is a copy of [`sessions`], never the other way round: while it is away, sessions continue, and when it
//! is back, all of them are written again. Its keys expire, so the sessions of a killed instance vanish.
//!
//! [`Settings`] lists the settings, [`metrics`] the metrics.

mod accept_rate;
mod clock;
pub mod metrics;
mod routes;
mod server;
mod session;
mod sessions;
mod settings;
mod store;

pub use server::Server;
pub use service::Error;
use service::Shutdown;
pub use settings::Settings;

/// Runs the service on this thread and its own threads until `shutdown` is complete.
///
/// # Errors
/// The service cannot start ([`Server::bind`]).
pub fn run(settings: Settings, shutdown: Shutdown) -> Result<(), Error> {
    Server::bind(settings, shutdown)?.run()
}
