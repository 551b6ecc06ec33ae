//! The load generator against servers with known behaviour: every count must be exact.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod actions;
mod datagrams;
mod endings;
mod exchange;
mod groups;
mod identity;
mod open_model;
mod processes;
mod running;
mod sequence;
mod server;
mod sse;
mod websocket;
