//! The load generator: many connections that stay, each with a schedule of its own.
//!
//! * A [`Request`] is what was typed, a [`Plan`] what it means; a [`Scenario`] is a file that says the same.
//! * [`run`] carries a plan out. It prints nothing: everything is an event, and the end is a summary.
//! * An [`Evaluator`] judges [`Expectation`]s over the events of the load and of the platform.
//!
//! # The model
//! It is open: connections start and messages fall due by schedule, whatever the server does, and a message's
//! latency counts from its due time. A server that stalls for a second shows a second, in every message that was
//! due meanwhile (no coordinated omission). Since the protocol has no frames, a connection has at most one message
//! outstanding; one that falls due meanwhile is sent as soon as the answer is there, and is late.
//!
//! A connection's schedule begins when it opens: message `k` is due at `open + k × every`, in whole milliseconds.
//! One that ends comes back after a delay and begins anew; what would have been due meanwhile is not made up for
//! (the counters and the reconnect latency show the gap). After a `reconnect` notice the outstanding message is
//! still answered, then the connection leaves and comes back. A message that is not answered within the time-out
//! ends its connection, and counts in the latencies with the time waited.
//!
//! An answer is right, for `echo`, if the payload comes back: either as it is, or, where it begins with `msg:`, its
//! second field, as our text protocol answers.
//!
//! # Limits
//! Linux (epoll). One thread keeps the schedule of some tens of thousands of connections; more than the limit on
//! open files allows are spread over worker processes, and over source addresses where ports run out (loopback).
//! Memory does not grow with time: counters and histograms only.

mod clock;
mod control;
mod crew;
mod duration;
mod error;
mod expect;
mod histogram;
mod limits;
mod plan;
mod probe;
mod rate;
mod remote;
mod reply;
mod run;
pub mod scenario;
mod wheel;
mod worker;

pub use control::Control;
pub use duration::{DurationError, format_duration, parse_duration};
pub use error::LoadError;
pub use expect::{Anchor, Bound, Count, Evaluator, Expectation, ExpectationError, Latency, Within};
pub use plan::{Identify, LoadDuration, Plan, PlanError, Reconnect, Request};
pub use rate::{Rate, RateError};
pub use remote::{WorkerCommand, serve_worker};
pub use reply::{Expect, NOTICE};
pub use run::{Options, ReplicaNames, run};
pub use scenario::{Scenario, ScenarioError};
