//! The `ws-client` service: users that connect to the `ws` service on request, and come back when they are closed.
//!
//! `POST /route/kickstart/ws/batch/connect` and `…/disconnect` with `{"userIds": [...]}` answer 202 at once. Users of a
//! batch connect one after the other, [`Settings::connect_every`] apart; a user who was closed comes back after
//! [`Settings::return_after`] and some more at random, or when the server's hint says. `GET /route/kickstart/ws/users`
//! tells each user's state, and why the last session ended.

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

/// Runs the service on this thread and those it starts until `shutdown` is complete.
///
/// # Errors
/// What kept it from starting ([`Server::bind`]).
pub fn run(settings: Settings, shutdown: Shutdown) -> Result<(), Error> {
    Server::bind(settings, shutdown)?.run()
}
