//! The `stream` service: server-sent events for a user and a profile, of which at most one stream is open anywhere.
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
//! An event has a little more than 1 MiB, and none of it is copied for a client: [`feed`] makes the few bytes around the
//! message once a second for all streams, and the message itself is one of six buffers that live as long as the service.
//! So a client that does not read holds no memory but what the kernel has for it, and skips what falls due meanwhile.
//!
//! Redis alone says whose a pair is and when a lock is over ([`locks`]).
//!
//! [`Settings`] is what can be set, [`metrics`] what is counted.

mod events;
mod feed;
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

/// Runs the service on this thread and those it starts until `shutdown` is complete.
///
/// # Errors
/// What kept it from starting ([`Server::bind`]).
pub fn run(settings: Settings, shutdown: Shutdown) -> Result<(), Error> {
    Server::bind(settings, shutdown)?.run()
}
