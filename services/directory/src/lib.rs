//! The `directory` service: users and profiles as text, open profiles, and test data.
//!
//! ```text
//!  request ──▶ routes ─┬─▶ profiles (over HTTP): lists, read object by object, so that any length fits
//!                      ├─▶ opened: the locks of open profiles in Redis
//!                      └─▶ testdata: made in the background, one run at a time
//! ```

mod elements;
mod metrics;
mod names;
mod opened;
mod profiles;
mod routes;
mod server;
mod settings;
mod testdata;

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
