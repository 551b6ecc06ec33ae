//! Parts that services lean on, served by the supervisor itself when no real one is configured.

pub mod elasticsearch;
pub mod kafka;
pub mod memcached;
