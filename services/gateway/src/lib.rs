//! The embedded gateway: an L4 proxy for TCP and UDP.
//!
//! It takes clients' connections, or packets, and gives each client to one replica of a service, chosen by the number
//! of connections or sessions that each has ([`balance`]). Which replicas exist it learns from a file that may change at any time; which of them
//! are well, from active checks of `/readyz` and from connects that fail. Established connections are never moved
//! and never dropped by a change of the file; UDP sessions go to another replica if theirs cannot have them any more.
//!
//! The parts, from the outside in:
//! * [`Settings`] and [`Gateway`]: what it is told, and how it is brought up.
//! * `control`: the endpoints file, health checks, ejections, shutdown; on one thread with a runtime.
//! * `cluster`: which replicas may take a connection; no I/O and no clock.
//! * `tcp`, `udp`: the data planes; single-threaded event loops. A process runs one of the two.
//! * `shortages`: what keeps clients out, said once.
//! * `stats` and `metrics`: what is counted, and how it is shown.
//!
//! Limits: no TLS, no proxy protocol, no idle time-out of TCP (connections live for hours; keep-alive finds dead peers),
//! Linux only (epoll, inotify, splice).

mod cluster;
mod control;
mod endpoints;
mod gateway;
mod health;
mod listeners;
mod log_lines;
mod metrics;
mod published;
pub mod settings;
mod shortages;
mod stats;
mod tcp;
mod udp;

pub use cluster::backend::BackendCounts;
pub use cluster::health::Verdict;
pub use cluster::{ClusterView, EndpointView};
pub use gateway::{Error, Gateway};
pub use settings::Settings;

/// Binds everything and carries connections until the drain that `shutdown` asks for is over. Blocks.
///
/// # Errors
/// If it cannot start, or if a part of it fails.
pub fn run(settings: Settings, shutdown: service::Shutdown) -> Result<(), Error> {
    Gateway::bind(settings, shutdown)?.run()
}
