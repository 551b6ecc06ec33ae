//! The `balancer` service: looks at the servers of one service and their sessions, decides by one of the policies of
//! [`balance`], and acts through a [`Target`].
//!
//! ```text
//!  Redis ──▶ sessions ─┐
//!                      ├─▶ fleet ──▶ balance: decisions ──▶ actor ──▶ Target: traffic, deletion cost, scale, shed
//!  Target: snapshot ───┘                    │
//!                                           └─▶ log, metrics, the platform's events
//! ```
//!
//! Of several balancers one acts at a time ([`Turn`]); the others stand by. Without a platform it says what it would do
//! and does nothing. [`Settings`] is what can be set, [`metrics`] what is
//! counted.

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

/// What a balancer acts on.
#[derive(Clone)]
pub enum Platform {
    /// A platform, and whose turn it is to act on it.
    Target(Arc<dyn Target>, Arc<dyn Turn>),
    /// There is none, and why: decisions are told and not carried out.
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

/// Runs the service on this thread and those it starts until `shutdown` is complete.
///
/// # Errors
/// What kept it from starting ([`Server::bind`]).
pub fn run(settings: Settings, platform: Platform, shutdown: Shutdown) -> Result<(), Error> {
    Server::bind(settings, platform, shutdown)?.run()
}
