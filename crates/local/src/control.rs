//! The protocol of a platform's control socket: JSON lines, one request per connection, answered by any number of
//! messages, the last of which ends the conversation.

mod client;
mod socket;

use std::path::PathBuf;

use autoscale::explain::Case;
use platform::{
    Event, HostPort, TargetError,
    target::{EventsFrom, LogLine, LogQuery, Shed, Snapshot},
    values::Values,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub(crate) use client::{Connection, Incoming};
pub(crate) use socket::{bind, bind_datagram, connect, connect_datagram};

/// Longest request, in bytes: values with room to spare.
pub(crate) const REQUEST_MAX: usize = 4 * 1024 * 1024;

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "request", content = "with", rename_all = "snake_case")]
pub(crate) enum Request {
    /// Answered by events while the change is carried out, then `Applied`.
    Apply {
        values: Box<Values>,
        nodes: u32,
    },
    /// One node more, or one less; the rest stays. Answered as `Apply` is.
    Nodes {
        more: bool,
    },
    /// Anything else that changes something; answered by `Done`, a teardown by `Down`.
    Act(controller::Request),
    Snapshot,
    /// Answered by `End`: the supervisor is alive.
    Ping,
    /// Answered by events until the platform goes down.
    Events {
        from: EventsFrom,
    },
    /// Answered by log lines; then `End`.
    Logs {
        query: LogQuery,
    },
    Endpoint {
        service: String,
    },
    Autoscaler {
        service: String,
    },
    /// Answered by `Shed`.
    Shed {
        service: String,
        replica: String,
        order: Shed,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "reply", content = "with", rename_all = "snake_case")]
pub(crate) enum Reply {
    Event(Box<Event>),
    Log(LogLine),
    Done(controller::Reply),
    Down(Traces),
    Snapshot(Box<Snapshot>),
    Endpoint(HostPort),
    Autoscaler(Box<Case>),
    /// How many connections were asked to move.
    Shed(u64),
    /// There is nothing more to come.
    End,
    Failed(TargetError),
    /// To a supervisor's own first connection: another one has the platform already.
    Taken {
        holder: String,
    },
}

/// By what a run of a platform can be recognised, so that somebody else can look whether anything of it is left.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Traces {
    /// The value of [`RUN_VARIABLE`] of all its processes.
    pub(crate) run: Uuid,
    pub(crate) supervisor: u32,
    /// Second byte of all its addresses.
    pub(crate) slot: Option<u8>,
    /// Where the supervisor listens.
    pub(crate) socket: PathBuf,
}

/// Marks every process of one run.
pub(crate) const RUN_VARIABLE: &str = "PLAYCTL_RUN";
