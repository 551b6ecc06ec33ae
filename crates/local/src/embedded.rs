//! Parts that services lean on, served by the supervisor itself when no real one is configured.
//!
//! Each can be stopped and started again at its address, and bounds what its clients hold.

pub mod elasticsearch;
mod guests;
pub mod kafka;
pub mod memcached;
pub mod redis;
mod server;
