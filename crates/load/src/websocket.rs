//! The client side of WebSocket (RFC 6455) for an event loop: nothing here reads, writes, or keeps what it read.
//!
//! * [`frames`] parses what a server sends, however it is split, in 24 bytes per connection, and writes masked frames.
//! * [`upgrade`] is the handshake before them.
//! * [`close`] is the last frame: code, reason, and when to come back.
//!
//! No extensions are offered. Text is not checked for UTF-8: a load compares it with what it sent.

pub(crate) mod close;
pub(crate) mod frames;
pub(crate) mod upgrade;
