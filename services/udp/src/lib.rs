//! The `udp` service: `msg`, `mcset` and `mcget` over UDP; one datagram is one packet.
//!
//! ```text
//!            ┌──────── worker (one thread, one socket) ────────┐         ┌─ backend (one thread, tokio) ─┐
//!  peers ───▶│ recvmmsg · parse · sendmmsg, 64 datagrams a time │───────▶│ memcached · log shipping      │
//!            │ replies are parts of the requests' own memory    │◀───────│                               │
//!            └──────────────────────────────────────────────────┘ mailbox └───────────────────────────────┘
//! ```
//!
//! A *worker* answers what it can at once and hands commands that need memcached to the *backend* through a bounded
//! queue. With several workers, each has its own socket, and the kernel spreads the peers over them.
//!
//! A source address proves nothing here, so forging one must not pay: replies are short unless the request has an
//! existing token (`amplification`), and no reply is itself a request that gets a reply, because otherwise two servers
//! could be made to answer each other forever.
//!
//! A limitation: if it listens on all addresses of a machine with several, a reply leaves from the address that the
//! kernel's route to the peer selects. Set `HOST` to one address there.
//!
//! [`run`] is the whole service; [`Server::bind`] and [`Server::run`] are its two halves, for callers that need the
//! real addresses in between. [`Settings`] lists the settings, [`metrics`] the metrics.

mod amplification;
mod backend;
pub mod metrics;
mod server;
mod settings;
mod worker;

pub use server::Server;
pub use service::Error;
use service::Shutdown;
pub use settings::Settings;

/// Runs the service on this thread and its own threads until `shutdown` is complete.
///
/// # Errors
/// The service cannot start ([`Server::bind`]), or an event loop failed.
pub fn run(settings: Settings, shutdown: Shutdown) -> Result<(), Error> {
    Server::bind(settings, shutdown)?.run()
}
