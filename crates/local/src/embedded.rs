//! Parts that services depend on, served by the supervisor itself when no real one is configured.
//!
//! Each can be stopped and started again at its address, and bounds its clients' memory.

pub mod elasticsearch;
mod guests;
pub mod kafka;
pub mod memcached;
pub mod redis;
mod server;
