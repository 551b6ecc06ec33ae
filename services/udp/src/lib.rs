//! The `udp` service: `msg`, `mcset` and `mcget` over UDP; one datagram is one packet.
//!
//! ```text
//!            ┌──────── worker (one thread, one socket) ────────┐         ┌─ backend (one thread, tokio) ─┐
//!  peers ───▶│ recvmmsg · parse · sendmmsg, 64 datagrams a time │───────▶│ memcached · log shipping      │
//!            │ replies are parts of the requests' own memory    │◀───────│                               │
//!            └──────────────────────────────────────────────────┘ mailbox └───────────────────────────────┘
//! ```
//!
//! A *worker* answers what it can at once and hands what needs memcached to the *backend* through a bounded queue.
//! With several workers, each has its own socket and the kernel spreads the peers over them.
//!
//! A source address proves nothing here, so forging one must not pay: replies are short unless the request has an
//! existing token (`amplification`), and no reply is itself a request that gets a reply, because otherwise two servers
//! could be made to answer each other for ever.
//!
//! A limitation: if it listens on every address of a machine with several, a reply leaves from the address of the
//! kernel's route to the peer. Give it one `HOST` there.
//!
//! [`run`] is the whole service; [`Server::bind`] and [`Server::run`] are its two halves, for callers that need the
//! real addresses in between. [`Settings`] is what can be set, [`metrics`] what is counted.

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

/// Runs the service on this thread and those it starts until `shutdown` is complete.
///
/// # Errors
/// What kept it from starting ([`Server::bind`]), or a fault of the event loop.
pub fn run(settings: Settings, shutdown: Shutdown) -> Result<(), Error> {
    Server::bind(settings, shutdown)?.run()
}
