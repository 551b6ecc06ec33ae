//! What the controller wants done. Effects are carried out in order.

use std::{sync::Arc, time::Duration};

use platform::{
    ServiceKind, TargetError,
    target::{Applied, Drained, Killed, Scaled, Started, Stopped},
};
use serde::{Deserialize, Serialize};

use crate::{
    Fact, RequestId, RunId, Trouble,
    template::{GatewayTemplate, PartTemplate, ServiceTemplate},
};

#[derive(Debug, Clone, PartialEq)]
#[expect(
    clippy::large_enum_variant,
    reason = "effects are few and short-lived; a box would only burden readers"
)]
pub enum Effect {
    /// Start something; answered by [`Input::Started`](crate::Input::Started) and, unless that is an error, once by
    /// [`Input::Ended`](crate::Input::Ended).
    Start {
        run: RunId,
        launch: Launch,
    },
    /// Check once whether it is ready; answered by [`Input::Probed`](crate::Input::Probed).
    Probe {
        run: RunId,
        timeout: Duration,
    },
    /// Ask it to shut down cleanly (SIGTERM).
    Terminate {
        run: RunId,
    },
    /// End it at once (SIGKILL).
    Kill {
        run: RunId,
    },
    /// Tell the gateways which replicas there are; answered by
    /// [`Input::EndpointsWritten`](crate::Input::EndpointsWritten), and by each gateway with
    /// [`Input::CaughtUp`](crate::Input::CaughtUp).
    WriteEndpoints {
        version: u64,
        clusters: Vec<Cluster>,
    },
    /// Scrape all replicas; answered by [`Input::Scraped`](crate::Input::Scraped).
    Scrape,
    /// Query Prometheus; answered by [`Input::MetricsAnswered`](crate::Input::MetricsAnswered).
    /// `prometheus`: its URL, if it is available.
    AskMetrics {
        questions: Vec<Question>,
        prometheus: Option<String>,
        patience: Duration,
    },
    /// Report an event.
    Emit(Fact),
    Reply {
        id: RequestId,
        reply: Result<Reply, Failure>,
    },
    /// Nothing is left; there is nothing more to do.
    Finished,
}

/// What to start.
#[derive(Debug, Clone, PartialEq)]
pub enum Launch {
    Replica {
        service: ServiceKind,
        name: String,
        ordinal: u16,
        node: u32,
        template: Arc<ServiceTemplate>,
    },
    Gateway {
        name: String,
        ordinal: u16,
        node: u32,
        template: Arc<GatewayTemplate>,
    },
    /// `topics`: Kafka's, made when it starts.
    Part {
        template: Arc<PartTemplate>,
        topics: Vec<String>,
    },
}

/// The endpoints of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    pub service: ServiceKind,
    pub endpoints: Vec<Endpoint>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub replica: String,
    pub run: RunId,
    /// Gets no new connections; existing ones continue.
    pub draining: bool,
}

/// A custom metric of a service, over these replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub service: String,
    pub metric: String,
    pub replicas: Vec<String>,
}

/// The outcome of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    Applied(Applied),
    Down,
    Scaled(Scaled),
    /// `run`: the run of the process.
    Killed {
        run: RunId,
        killed: Killed,
    },
    Stopped(Stopped),
    Started(Started),
    /// A replica has the new setting, or a decision was reported.
    Marked,
    /// `run` as for `Killed`.
    Drained {
        run: Option<RunId>,
        drained: Drained,
    },
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub error: TargetError,
    /// The last lines of its output explain more.
    pub output_of: Option<String>,
}

impl From<&Trouble> for Failure {
    fn from(trouble: &Trouble) -> Self {
        let error = TargetError::BringUp { message: trouble.to_string() };
        Self { error, output_of: trouble.output_of() }
    }
}

impl From<TargetError> for Failure {
    fn from(error: TargetError) -> Self {
        Self { error, output_of: None }
    }
}
