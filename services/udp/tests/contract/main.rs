//! The contract of the `udp` service, over real sockets.
//!
//! Every test has its own server on free ports; memcached is a real server of its protocol. No test depends on how long
//! something takes: tests wait for conditions, with a deadline. Peers never have more in flight than the smallest
//! receive buffer holds, so nothing is lost unless a test wants it.
#![expect(clippy::unwrap_used, reason = "tests")]

mod amplification;
mod batches;
mod cache;
mod commands;
mod drain;
mod support;
