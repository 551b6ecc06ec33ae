//! The load generator: many long-lived connections, each with its own schedule.
//!
//! * [`run()`] runs a [`scenario::Scenario`]. It prints nothing: everything is an event, and the end is a summary.
//! * A [`Director`] carries out the scenario's actions, on the platform and through the load's clients.
//!
//! # The model
//! It is open: connections start and messages fall due by schedule, whatever the server does, and a message's
//! latency counts from its due time. A server that stalls for a second shows a second, in every message that was
//! due meanwhile (no coordinated omission). Since the protocol has no frames, a connection has at most one message
//! outstanding; one that falls due meanwhile is sent as soon as the answer arrives, and is late.
//!
//! A connection's schedule begins when it opens: message `k` is due at `open + k × every`, in whole milliseconds.
//! One that ends reconnects after a delay and starts over; messages due meanwhile are not made up for
//! (the counters and the reconnect latency show the gap). After a `reconnect` notice the outstanding message is
//! still answered, then the connection closes and reconnects. A message that is not answered within the time-out
//! ends its connection, and is counted separately from the latencies, which cover only correct answers.
//!
//! # Counts
//! They are disjoint and add up. An attempt to connect succeeds, is refused, times out, fails otherwise, or is cut off by
//! the close. A connection ends in exactly one way. A message that was due was sent or never sent; where answers are expected,
//! a sent one is answered, answered wrongly, timed out, or cut off by the end of its connection or of the load.
//! The load closes on schedule: half a second later (over UDP a second) it cuts off whatever is outstanding.
//!
//! For `echo`, an answer is correct if the payload comes back: either unchanged or, if it begins with `msg:`, its
//! second field, as our text protocol answers.
//!
//! # WebSocket
//! A connection is open once its upgrade is answered correctly. An answer is one whole message, in any number of
//! fragments, so a message that nobody waits for answers nothing. A close with a code that asks the client to reconnect
//! counts as a notice; closes are also counted by code. Nothing is buffered: 24 bytes per connection track its frames.
//!
//! # Users who come and go
//! Over TCP and WebSocket users can join and leave in groups. The ramp's connections are numbered first; users who join get the
//! next numbers. For an order each worker reports who is where, then the run decides across all of them which users of which replica
//! leave, and tells each worker how many of its own. A user who leaves waits for its answer first, and stays away.
//!
//! # Server-sent events
//! A connection is open once its request is answered by a stream of events, and sends nothing more. Events are counted,
//! and so are the gaps between numeric ids; the time between two events is measured across all of a client's
//! connections, each of which resumes where the last one ended (`Last-Event-ID`). Where clients share users
//! and profiles, each worker records who held which pair when, and the run compares them. An event that announces that
//! there will be no others, as our service sends when it has no lock for a client, counts separately. Nothing is buffered: less
//! than 250 bytes per connection track its position.
//!
//! # Datagrams
//! Over UDP a connection is a peer: a socket with its own port. Nothing waits for an answer, unless a window limits
//! how many messages of a peer may be outstanding; messages due beyond it are late. The peers each have a schedule,
//! or share a [`scenario::Profile`], which gives their total rate, or (a window and no interval) send
//! as fast as answers come. A payload that begins with `msg:` gets the peer's and the message's number after the
//! colon, so each answer identifies its message, and lost, duplicated and reordered ones are known. Other
//! payloads are sent unchanged, and an answer counts for the oldest outstanding message.
//!
//! A message without an answer in time is lost, and is not among the latencies; messages that the kernel dropped at this
//! side's own sockets are counted separately. A duplicate that arrives after the time-out counts as overdue.
//!
//! # Limits
//! One thread keeps the schedule of tens of thousands of connections; beyond the limit on
//! open files they are spread over worker processes, and over source addresses where ports run out (loopback). Workers
//! can also run remotely, as in pods ([`Away`]).
//! Memory does not grow with time: only counters and histograms.
//!
//! Making a load requires Linux (epoll), and so does the feature `engine`, which is on by default. Without it, this crate
//! directs remote workers and merges their reports, on any system.

#[cfg(all(feature = "engine", not(target_os = "linux")))]
compile_error!(
    "making a load needs Linux: epoll, eventfd, /proc; remote workers do not need the feature `engine` here"
);

mod away;
mod commanders;
mod control;
mod crew;
mod director;
mod error;
mod histogram;
mod messages;
mod pairs;
mod recognise;
mod run;
mod target;

// What makes a load, and so requires Linux.
#[cfg(not(feature = "engine"))]
mod absent;
#[cfg(feature = "engine")]
mod clock;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
#[cfg(feature = "engine")]
mod here;
#[cfg(feature = "engine")]
mod http_head;
#[cfg(feature = "engine")]
mod limits;
#[cfg(feature = "engine")]
mod probe;
#[cfg(feature = "engine")]
mod remote;
#[cfg(feature = "engine")]
mod reply;
#[cfg(feature = "engine")]
mod sse;
#[cfg(feature = "engine")]
mod watch;
#[cfg(feature = "engine")]
mod websocket;
#[cfg(feature = "engine")]
mod wheel;
#[cfg(feature = "engine")]
mod worker;
#[cfg(feature = "engine")]
mod worker_thread;

#[cfg(not(feature = "engine"))]
use self::absent as here;
pub use self::{
    away::{Away, Heard, Workers},
    control::Control,
    director::Director,
    error::LoadError,
    pairs::bind as bind_pairs,
    run::{Identify, Options, ReplicaNames, WorkerCommand, run},
    target::{protocol, resolve, split_path},
};
#[cfg(feature = "engine")]
pub use self::{
    away::{Stop, serve_away},
    remote::serve_worker,
    reply::NOTICE,
};
