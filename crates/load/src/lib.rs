//! The load generator: many connections that stay, each with a schedule of its own.
//!
//! * [`run`] carries a [`scenario::Scenario`] out. It prints nothing: everything is an event, and the end is a summary.
//! * A [`Director`] takes the scenario's actions, on the platform and through the load's clients.
//!
//! # The model
//! It is open: connections start and messages fall due by schedule, whatever the server does, and a message's
//! latency counts from its due time. A server that stalls for a second shows a second, in every message that was
//! due meanwhile (no coordinated omission). Since the protocol has no frames, a connection has at most one message
//! outstanding; one that falls due meanwhile is sent as soon as the answer is there, and is late.
//!
//! A connection's schedule begins when it opens: message `k` is due at `open + k × every`, in whole milliseconds.
//! One that ends comes back after a delay and starts over; what would have been due meanwhile is not made up for
//! (the counters and the reconnect latency show the gap). After a `reconnect` notice the outstanding message is
//! still answered, then the connection leaves and comes back. A message that is not answered within the time-out
//! ends its connection, and is counted beside the latencies, which are of what was answered as expected.
//!
//! # Counts
//! They are disjoint and add up. An attempt to connect succeeds, is refused, times out, fails otherwise or is cut off by
//! the close. A connection ends in one way. A message that was due was sent or never was; where answers are expected,
//! one that was sent is answered, answered wrongly, timed out, or cut off by the end of its connection or of the load.
//! The load closes when it is said to: half a second later (over UDP a second) whatever is outstanding is cut off.
//!
//! An answer is right, for `echo`, if the payload comes back: either as it is, or, where it begins with `msg:`, its
//! second field, as our text protocol answers.
//!
//! # WebSocket
//! A connection is open once its upgrade is answered as it should be. An answer is one whole message, in however many
//! fragments, so what comes while none is awaited is nobody's answer. A close with a code that asks the client to come back
//! counts as a notice; ends are also counted by code. Nothing is buffered: 24 bytes per connection know where its frames are.
//!
//! # Users who come and go
//! Over TCP and WebSocket users can join and leave in groups. Connections have the numbers of the ramp first; who joins gets the
//! next ones. For an order each worker reports who is where, then it is decided over all of them which users of which replica
//! leave, and each worker is told how many of its own. A user who leaves waits for its answer first, and stays away.
//!
//! # Server-sent events
//! A connection is open once its request is answered by a stream of events, and sends nothing more. Events are counted,
//! and so is what lies between two ids where these are numbers; the time between two events counts over all the
//! connections that a client has, each of which begins where the last one ended (`Last-Event-ID`). Where clients share users
//! and profiles, it is noted who had which pair when, and compared over all workers. An event that says that
//! there will be no others, as our service's does when it has no lock for a client, counts apart. Nothing is buffered: less
//! than 250 bytes per connection know where it is.
//!
//! # Datagrams
//! Over UDP a connection is a peer: a socket with a port of its own. Nothing waits for an answer, unless a window says
//! how many messages of a peer may be outstanding; what falls due beyond it is late. The peers have a schedule each,
//! or share a [`scenario::Profile`], which says how many messages all of them send together, or (a window and no interval) send
//! as fast as answers come. A payload that begins with `msg:` gets the peer's and the message's number behind the
//! colon, so each answer tells which message it answers, and lost, duplicated and reordered ones are known. Other
//! payloads stay as they are, and an answer counts as that to the oldest outstanding message.
//!
//! A message without an answer in time is lost, and is not among the latencies; what the kernel dropped at this
//! side's own sockets is counted apart. A duplicate that comes later than the time-out counts as overdue.
//!
//! # Limits
//! Linux (epoll). One thread keeps the schedule of some tens of thousands of connections; more than the limit on
//! open files allows are spread over worker processes, and over source addresses where ports run out (loopback). Or the
//! workers run elsewhere, as pods do ([`Away`]).
//! Memory does not grow with time: counters and histograms only.

mod away;
mod clock;
mod control;
mod crew;
mod director;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod histogram;
mod limits;
mod probe;
mod recognise;
mod remote;
mod reply;
mod run;
mod sse;
mod target;
mod watch;
mod websocket;
mod wheel;
mod worker;

pub use away::{Away, Heard, Stop, Workers, serve_away};
pub use control::Control;
pub use director::Director;
pub use error::LoadError;
pub use remote::{WorkerCommand, serve_worker};
pub use reply::NOTICE;
pub use run::{Identify, Options, ReplicaNames, run};
pub use sse::pairs::bind as bind_pairs;
pub use target::{protocol, resolve};
