//! The `ws-client` service: users that connect to the `ws` service on request, and reconnect when they are closed.
//!
//! `POST /route/kickstart/ws/batch/connect` and `…/disconnect` with `{"userIds": [...]}` answer 202 at once. Users of a
//! batch connect one after another, [`Settings::connect_every`] apart; a closed user reconnects after
//! [`Settings::return_after`] plus a random delay, or when the server's hint says. `GET /route/kickstart/ws/users`
//! shows each user's state, and why the last session ended.

mod metrics;
mod routes;
mod server;
mod settings;
mod user;
mod users;

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
