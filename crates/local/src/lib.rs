//! Target: the platform as local processes, with embedded backends.
//!
//! [`LocalTarget`] is the client's side: it starts a [`supervisor`] if none is running, and talks to it over a Unix socket.
//! The supervisor starts replicas as processes of this same program, each with its own loopback address as a pod has
//! its own IP, probes and counts them, runs the autoscaler's loop and tells the gateways where the replicas are.
//! [`embedded`] has the backends that it serves when no real ones are configured, [`child`] makes its children
//! die with it.

#[cfg(not(target_os = "linux"))]
compile_error!(
    "a platform on this machine needs Linux: the whole of 127.0.0.0/8, sock_diag, pidfd, the parent-death signal"
);

pub mod child;
pub mod doctor;
pub mod embedded;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing {
    //! Parsers of other servers' answers, for the fuzz targets. Panics if an invariant is violated.

    /// An instant query's answer, and the pods' values, which are found in it if it is valid.
    pub fn prometheus(status: u16, body: &str, pods: &[(String, f64)]) {
        crate::prometheus::client::fuzz(status, body, pods);
    }

    /// A page of metrics.
    pub fn exposition(page: &str, count: u64) {
        crate::supervisor::fuzz_counted(page, count);
    }
}
pub mod supervisor;

mod control;
mod hearsay;
mod http;
mod journal;
mod kernel;
mod leftovers;
mod listeners;
mod lock;
mod paths;
mod process;
mod programs;
mod prometheus;
mod slot;
mod target;
mod turn;

/// Who listens at an address of this machine, in words; `None`: nobody that can be seen.
pub fn holder(protocol: platform::values::Protocol, address: std::net::SocketAddr) -> Option<String> {
    kernel::port::holder(protocol, address).map(|holder| holder.to_string())
}

pub use hearsay::{Ear, Voice, deafen};
pub use target::{LocalTarget, Page, opener};
pub use turn::BalancerTurn;
