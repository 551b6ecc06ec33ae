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

/// Maximum length of a request, in bytes: values with room to spare.
pub(crate) const REQUEST_MAX: usize = 4 * 1024 * 1024;

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "request", content = "with", rename_all = "snake_case")]
pub(crate) enum Request {
    /// Answered by events while the change is carried out, then `Applied`.
    Apply {
        values: Box<Values>,
        nodes: u32,
    },
    /// One node more or fewer; the rest stays. Answered like `Apply`.
    Nodes {
        more: bool,
    },
    /// Any other change; answered by `Done`, a teardown by `Down`.
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
    /// The end of the answer.
    End,
    Failed(TargetError),
    /// To a supervisor's own first connection: another supervisor already has the platform.
    Taken {
        holder: String,
    },
}

/// Identifies a run of a platform, so that another process can check whether anything of it remains.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Traces {
    /// The value of [`RUN_VARIABLE`] of all its processes.
    pub(crate) run: Uuid,
    pub(crate) supervisor: u32,
    /// Second byte of all its addresses.
    pub(crate) slot: Option<u8>,
    /// The address of the supervisor's socket.
    pub(crate) socket: PathBuf,
}

/// Marks every process of one run.
pub(crate) const RUN_VARIABLE: &str = "PLAYCTL_RUN";
