//! The contract of the `stream` service, over real sockets, with a server of Redis' protocol and one that answers as
//! `profiles` does.
//!
//! Every test has a server of its own on free ports, and a Redis of its own: the platform's embedded one, or the
//! program that `TEST_REDIS` names. Tests wait for conditions, with a deadline.
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
