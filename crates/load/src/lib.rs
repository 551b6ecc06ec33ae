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
//! # Datagrams
//! Over UDP a connection is a peer: a socket with a port of its own. Nothing waits for an answer, unless a window says
//! how many messages of a peer may be outstanding; what falls due beyond it is late. The peers have a schedule each,
//! or share a [`Profile`], which says how many messages all of them send together, or (a window and no interval) send
//! as fast as answers come. A payload that begins with `msg:` gets the peer's and the message's number behind the
//! colon, so each answer tells which message it answers, and lost, duplicated and reordered ones are known. Other
//! payloads stay as they are, and an answer counts as that to the oldest outstanding message.
//!
//! A message without an answer in time is lost, and is not among the latencies; what the kernel dropped at this
//! side's own sockets is counted apart. A duplicate that comes later than the time-out counts as overdue.
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
mod frequency;
mod histogram;
mod limits;
mod plan;
mod probe;
mod profile;
mod protocol;
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
pub use frequency::{Frequency, FrequencyError};
pub use plan::{Identify, LoadDuration, Plan, PlanError, Reconnect, Request};
pub use profile::{Profile, Stage};
pub use protocol::Protocol;
pub use rate::{Rate, RateError};
pub use remote::{WorkerCommand, serve_worker};
pub use reply::{Expect, NOTICE};
pub use run::{Options, ReplicaNames, run};
pub use scenario::{Scenario, ScenarioError};
