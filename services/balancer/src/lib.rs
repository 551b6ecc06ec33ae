//! The `balancer` service: observes the servers of one service and their sessions, decides by one of the policies of
//! [`balance`], and acts through a [`Target`].
//!
//! ```text
//!  Redis ──▶ sessions ─┐
//!                      ├─▶ fleet ──▶ balance: decisions ──▶ actor ──▶ Target: traffic, deletion cost, scale, shed
//!  Target: snapshot ───┘                    │
//!                                           └─▶ log, metrics, the platform's events
//! ```
//!
//! Only one of several balancers acts at a time ([`Turn`]); the others stand by. Without a platform it only says what
//! it would do. [`Settings`] lists the settings, [`metrics`] the metrics.

mod actor;
mod ended;
mod engine;
mod fleet;
mod foresight;
pub mod metrics;
mod routes;
mod server;
mod sessions;
mod settings;
mod turn;

use std::fmt;
use std::sync::Arc;

use platform::Target;
pub use server::Server;
pub use service::Error;
use service::Shutdown;
pub use settings::{Environment, Policy, Settings};
pub use turn::{Alone, Turn};

/// The platform that a balancer acts on.
#[derive(Clone)]
pub enum Platform {
    /// A platform, and the turn to act on it.
    Target(Arc<dyn Target>, Arc<dyn Turn>),
    /// There is none, and why: decisions are reported but not carried out.
    None { why: String },
}

impl fmt::Debug for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target(..) => f.write_str("Target"),
            Self::None { why } => f.debug_struct("None").field("why", why).finish(),
        }
    }
}

/// Runs the service on this thread and its own threads until `shutdown` is complete.
///
/// # Errors
/// The service cannot start ([`Server::bind`]).
pub fn run(settings: Settings, platform: Platform, shutdown: Shutdown) -> Result<(), Error> {
    Server::bind(settings, platform, shutdown)?.run()
}
