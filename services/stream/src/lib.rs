//! The `stream` service: server-sent events for a user and a profile, with at most one open stream per pair anywhere.
//!
//! ```text
//!  client ──▶ service::web ──▶ routes ──▶ profiles: are the two bound?
//!                                │  └───▶ locks: is the pair free? ──▶ Redis, where others look too
//!                                ▼            │ refreshed in one batch for all
//!                              events ◀──── streams: who is open here, and who is to leave
//!                                ▲            ▲
//!                              feed          service::sessions: "close your n most idle" from Redis
//! ```
//!
//! An event is slightly larger than 1 MiB, and none of it is copied per client: [`feed`] generates the few bytes around
//! the message once a second for all streams, and the message itself is one of six buffers that live as long as the
//! service. So a client that does not read uses no memory except the kernel's, and skips events meanwhile.
//!
//! Only Redis decides who has a pair and when a lock expires ([`locks`]).
//!
//! [`Settings`] lists the settings, [`metrics`] the metrics.

mod events;
mod feed;
mod ids;
mod locks;
pub mod metrics;
mod page;
mod profiles;
mod routes;
mod server;
mod settings;
mod streams;

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
