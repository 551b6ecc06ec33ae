//! The contract of the `stream` service, over real sockets, with a Redis and a server that answers like `profiles`.
//!
//! Every test has its own server on free ports, and its own Redis: the platform's embedded one, or the program that
//! `TEST_REDIS` names. Tests wait for conditions, with a deadline.
#![expect(clippy::unwrap_used, reason = "tests")]

mod churn;
mod drain;
mod events;
mod limits;
mod locks;
mod orders;
#[cfg(feature = "real-servers")]
mod outage;
mod owned;
mod page;
mod profiles;
mod redis_away;
mod refusals;
mod slow;
mod support;
