//! The contract of the `ws` service, over real sockets, with a Redis.
//!
//! Every test has its own server on free ports, and its own Redis: the platform's embedded one, or the program that
//! `TEST_REDIS` names. Tests wait for conditions, with a deadline.
#![expect(clippy::unwrap_used, reason = "tests")]

mod drain;
mod faults;
mod http;
mod limits;
mod orders;
mod redis_away;
mod sessions;
mod slow;
mod support;
