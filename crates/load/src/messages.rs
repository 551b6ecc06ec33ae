//! Messages between a run and its workers, wherever these are: what to do, and the results.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use platform::event::{Counters, Ending, EventKind};
use scenario::{Rate, Scenario};
use serde::{Deserialize, Serialize};

use crate::histogram::{Each, Sparse};

/// The work of one worker. All workers of a run get the same, except for `worker`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// When the run's first connection is due, on the machine's monotonic clock.
    pub(crate) origin_ns: u64,
    pub(crate) worker: u32,
    pub(crate) workers: u32,
    pub(crate) scenario: Scenario,
    pub(crate) targets: Vec<SocketAddr>,
    /// Source addresses, used in turn; empty: the kernel's choice.
    pub(crate) sources: Vec<IpAddr>,
    /// Ask each connection which replica serves it.
    pub(crate) identify: bool,
    /// Report events of single connections.
    pub(crate) trace: bool,
    pub(crate) tick_ms: u32,
    pub(crate) seed: u64,
}

/// Something that a client sends in addition to its messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Repeated in the report of its outcome.
    pub(crate) id: u32,
    /// The client's number in the run, from 0.
    pub(crate) client: u64,
    /// With `{token}` in it, and escapes.
    pub(crate) payload: String,
    /// What the answer must contain, with `{connections}` in it.
    pub(crate) answer: Option<String>,
    /// The number of the broadcast: every worker receives the order and watches for it.
    pub(crate) broadcast: Option<u16>,
}

/// Users who join. Each worker handles those with its own numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Join {
    /// Repeated in the report that all of them have arrived.
    pub(crate) id: u32,
    /// The first one's number in the run, from 0.
    pub(crate) first: u64,
    pub(crate) users: u64,
    /// `None`: all at once.
    pub(crate) rate: Option<Rate>,
}

/// Users who leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leave {
    /// Repeated in the report of how many left.
    pub(crate) id: u32,
    /// Users of these replicas, by the replicas' own names; `None`: any users.
    pub(crate) of: Option<Vec<String>>,
    /// Maximum number from each worker.
    pub(crate) shares: Vec<u64>,
}

/// A worker's part of an action, in the order received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Task {
    Send(Order),
    /// Report the current state, and then that this was done. The next command relies on it.
    Muster(u32),
    Join(Join),
    Leave(Leave),
}

/// Commands to a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Command {
    /// Close the connections at that time of the run, unless an earlier one was set.
    CloseAt(u32),
    Task(Task),
    /// Close them now. Outstanding messages may still be answered.
    Stop,
    /// Close without waiting even for those.
    StopAtOnce,
}

/// A message of a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// All of its connections were started and decided. `at_ms`: time of the run.
    RampDone {
        at_ms: u32,
    },
    /// The current state and the measurements since the last report. `regular`: the one per tick, not an extra one.
    Progress {
        regular: bool,
        measured: Box<Measured>,
    },
    /// The next stage of the profile starts. Reported by one worker for all.
    Stage {
        index: usize,
    },
    /// It starts to close its connections.
    Closing {
        at_ms: u32,
    },
    Trace(Box<EventKind>),
    Warning(String),
    /// Why the first failed connect failed.
    FirstError(String),
    /// The start of the first unexpected answer.
    FirstWrong(Vec<u8>),
    /// The outcome of an [`Order`].
    Ordered {
        id: u32,
        outcome: String,
        failed: bool,
    },
    /// The state was reported on request.
    Mustered {
        id: u32,
    },
    /// All of the worker's users of a group have arrived: each one's first attempt has ended.
    Joined {
        id: u32,
    },
    /// This many of the worker's users were sent away.
    Left {
        id: u32,
        left: u64,
    },
    /// A worker's last report: everything is closed.
    Done {
        at_ms: u32,
        measured: Box<Measured>,
    },
    /// It cannot go on.
    Failed(String),
}

/// A worker's state and measurements.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) open: u64,
    pub(crate) connecting: u64,
    /// The maximum number open at once.
    pub(crate) open_max: u64,
    /// Since the start of the run.
    pub(crate) totals: Counters,
    /// Since the last report.
    pub(crate) distributions: Each<Sparse>,
    /// Open connections by replica; `None`: the target does not say.
    pub(crate) replicas: Vec<(Option<String>, u64)>,
    /// The most connections that each replica accepted in one second.
    #[serde(default)]
    pub(crate) busiest: Vec<(Option<String>, u64)>,
    /// Since the start of the run, by code.
    pub(crate) endings: Vec<Ending>,
    /// By the broadcasts' numbers.
    pub(crate) broadcasts: Vec<Broadcast>,
    /// Since the last report: streams of contested pairs.
    #[serde(default)]
    pub(crate) held: Vec<Held>,
}

/// From the first event of a stream to its end: the moment when its client closed it, or, if the server did, its last
/// event. Nobody else can have had the pair in this period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) pair: u64,
    /// The number of the connection.
    pub(crate) client: u64,
    /// Since the start of the run.
    pub(crate) from_ms: u32,
    pub(crate) to_ms: u32,
}

/// The fate of one broadcast at a worker's clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Broadcast {
    /// A client of this worker sent it, and learned that it cannot be delivered.
    pub(crate) sent: bool,
    pub(crate) refused: bool,
    /// Clients that were open when it was sent, and how many of them received it.
    pub(crate) due: u64,
    pub(crate) received: u64,
    /// Receipts beyond the first.
    pub(crate) doubled: u64,
}

/// Whole milliseconds, at least one.
pub(crate) fn at_least_one_ms(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX).max(1)
}
