//! The backends of services, served by the supervisor itself when no real ones are configured.
//!
//! Each can be stopped and started again at its address, and bounds its clients' memory.

pub mod elasticsearch;
mod guests;
pub mod kafka;
pub mod memcached;
pub mod redis;
mod server;
