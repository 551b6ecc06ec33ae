//! The TCP data plane: single-threaded event loops that carry sessions.
//!
//! * [`worker`]: one loop: waits for events and hands them on. [`accept`]: new connections, and pauses;
//!   [`pace`](crate::pace): how quickly.
//! * [`sessions`]: all sessions of a loop: choosing a backend, retries, ends.
//! * [`session`]: one client and its backend; what ends and failures mean.
//! * [`flow`], [`stash`], [`splice`]: one direction: moving bytes, holding them back, bulk.
//! * [`room`]: what the kernel may keep of a direction.
//!
//! It does not know about files, health checks or the admin port: it reads the eligible backends from
//! [`Cluster`](crate::cluster::Cluster), counts, and follows the phase of [`Shutdown`](service::Shutdown).

mod accept;
mod connects;
mod flow;
pub(crate) mod room;
mod session;
pub(crate) mod sessions;
mod splice;
mod stash;
pub(crate) mod worker;
