//! The `profiles` service: users and profiles over REST ([`routes`] lists the paths, `openapi.json` describes them).
//!
//! ```text
//!  request ──▶ routes ──▶ body: what is stored, or what is wrong with it ──▶ repository ─┬─▶ cassandra
//!                │                                                                       └─▶ memory
//!                └──▶ listing: an array of any length, a page at a time
//! ```
//!
//! The data are in Cassandra, or, if none is configured, in this process's memory: for one replica only, and lost with
//! it.

mod body;
mod cassandra;
mod listing;
mod memory;
mod metrics;
mod object;
mod repository;
mod routes;
mod server;
mod settings;

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
