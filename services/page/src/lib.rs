//! The `page` service: the page "Server-User Network".
//!
//! It serves three files and one document with settings. The browser itself queries the host that is typed into the
//! page: `GET /{ws,sse}-session/all` for the sessions, `POST /route/kickstart/ws/batch/{connect,disconnect}` on port
//! 8089 to connect or disconnect users. So the page needs no backend and knows no platform.

mod metrics;
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
