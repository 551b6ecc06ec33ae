//! The embedded gateway: a proxy for TCP, UDP and HTTP.
//!
//! It accepts clients' connections or packets, and gives each client to one replica of a service, chosen by the number
//! of connections or sessions that each replica has ([`balance`]). A file or DNS, which may change at any time, says
//! which replicas exist; active checks of `/readyz` and failed connects say which of them are healthy. A change never
//! moves or drops an established connection; a UDP session moves to another replica when its own can no longer keep it.
//!
//! The parts, from the outside in:
//! * [`Settings`] and [`Gateway`]: its settings, and how it starts.
//! * `control`: the endpoints, health checks, ejections, shutdown; on one thread with a runtime.
//! * `cluster`: which replicas may take a connection; no I/O and no clock.
//! * `tcp`, `udp`, `http`: the data planes; a process runs one of them: single-threaded event loops, or tasks for HTTP.
//! * `router`, `upstream`: choosing a replica, connecting to it.
//! * `shortages`: shortages that keep clients out, reported once.
//! * `stats` and `metrics`: the counts, and how they are shown.
//!
//! Limits: no TLS, no proxy protocol, no idle time-out for TCP (connections live for hours; keep-alive finds dead
//! peers, and a peer that does not read pending data is reset after `STALL_TIMEOUT`), Linux only (epoll, inotify,
//! splice).

mod cluster;
mod control;
mod counter;
mod endpoints;
mod gateway;
mod health;
mod http;
mod listeners;
mod metrics;
mod pace;
mod published;
mod router;
pub mod settings;
mod shortages;
mod stats;
mod tcp;
mod udp;
mod upstream;

pub use cluster::backend::BackendCounts;
pub use cluster::health::Verdict;
pub use cluster::{ClusterView, EndpointView};
pub use gateway::{Error, Gateway};
pub use settings::Settings;

/// Binds everything and serves connections until the drain that `shutdown` requests is over. Blocks.
///
/// # Errors
/// It cannot start, or a part of it failed.
pub fn run(settings: Settings, shutdown: service::Shutdown) -> Result<(), Error> {
    Gateway::bind(settings, shutdown)?.run()
}
