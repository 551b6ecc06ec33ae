//! The controller's inputs.
//!
//! All of them can be serialized as JSON, so that a run can be recorded and replayed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use platform::{
    target::{Balanced, Subject, Traffic},
    values::Values,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Time;

/// One start of a process or an embedded part. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId(pub u64);

/// Names a request in its reply; the caller's choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// Time has passed; see [`Controller::next_due`](crate::Controller::next_due).
    Tick,
    Request {
        id: RequestId,
        request: Request,
    },
    /// The client that requested the bring-up is gone: a platform that is not up yet is taken down again.
    Abandoned,
    /// The whole program was asked to end.
    Interrupted,
    /// The outcome of [`Effect::Start`](crate::Effect::Start).
    Started {
        run: RunId,
        result: Result<Started, String>,
    },
    /// The outcome of [`Effect::Probe`](crate::Effect::Probe).
    Probed {
        run: RunId,
        result: Result<Probed, ProbeFailure>,
    },
    /// A gateway has applied this version of the endpoints.
    CaughtUp {
        run: RunId,
        version: u64,
    },
    /// The end of a run; comes exactly once per started run.
    Ended {
        run: RunId,
        exit: Exit,
    },
    /// The outcome of [`Effect::WriteEndpoints`](crate::Effect::WriteEndpoints).
    EndpointsWritten {
        version: u64,
        result: Result<(), String>,
    },
    /// The outcome of [`Effect::Scrape`](crate::Effect::Scrape). A run without a sample could not be scraped.
    Scraped {
        samples: Vec<(RunId, Sample)>,
    },
    /// The outcome of [`Effect::AskMetrics`](crate::Effect::AskMetrics).
    MetricsAnswered {
        answers: Vec<MetricAnswer>,
    },
}

/// What a client wants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Bring the platform into the state that the values describe.
    Apply(Box<Apply>),
    Teardown {
        grace: bool,
    },
    Scale {
        service: String,
        replicas: u32,
    },
    /// `loads`: the replicas' current loads, for subjects such as `tcp/fullest`; a replica without one counts with its
    /// last scrape.
    Kill {
        what: Subject,
        restart: bool,
        loads: Vec<(RunId, u64)>,
    },
    Stop {
        what: Subject,
    },
    Start {
        what: Subject,
    },
    /// `loads` as for `Kill`.
    Drain {
        what: Subject,
        loads: Vec<(RunId, u64)>,
    },
    SetTraffic {
        service: String,
        replica: String,
        traffic: Traffic,
    },
    SetDeletionCost {
        service: String,
        replica: String,
        cost: i32,
    },
    /// Report a balancer's decision.
    Balanced {
        service: String,
        balanced: Balanced,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Apply {
    pub values: Arc<Values>,
    pub nodes: u32,
    /// The programs found for the values, by name: the path and version, which distinguish installations.
    pub programs: BTreeMap<String, String>,
    /// Why the prerequisites of the change are not met (a taken port, a missing program): the change fails.
    pub obstacle: Option<String>,
}

/// Something runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Its address for others: `host:port` or a URL. Parts only.
    pub address: Option<String>,
    /// Its program and location, in words. Parts and gateways only.
    pub detail: String,
}

/// A probe succeeded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// The server's name for itself, if it reports one.
    pub server_id: Option<Uuid>,
}

/// A probe failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeFailure {
    /// With an HTTP status outside 200 to 399 and the first line of the body.
    Answered {
        status: u16,
        line: String,
    },
    NoAnswer {
        error: String,
    },
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    Code(i32),
    Signal(i32),
    /// It did not start.
    NotStarted(String),
    /// Its end could not be observed.
    Lost(String),
    /// Neither code nor signal: an embedded part.
    Stopped,
}

/// One run's scraped values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Established connections; `None`: nothing connects to it.
    pub connections: Option<u64>,
    /// The number of packets that it reports to have received so far, and when it reported that.
    pub packets: Option<(Time, u64)>,
    /// The number of sessions that it reports.
    #[serde(default)]
    pub sessions: Option<u64>,
    /// CPU time used so far and resident bytes; `None`: the process is gone.
    pub usage: Option<Usage>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub cpu: Duration,
    pub memory_bytes: u64,
}

/// The values of one custom metric by replica, in milli-units, or why there are none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricAnswer {
    pub service: String,
    pub metric: String,
    pub values: Result<BTreeMap<String, i64>, String>,
}
