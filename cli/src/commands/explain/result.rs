//! What `playctl explain --output json` prints.

use autoscale::explain::Explanation;
use platform::target::Decided;
use schemars::JsonSchema;
use serde::Serialize;

use super::comparison::Comparison;

/// `playctl explain`
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Explain {
    /// Every service of a platform that is autoscaled or balanced.
    All(Vec<Running>),
    /// One service.
    Service(Running),
    /// A manifest with a state.
    One(Box<Explained>),
    /// `--print-state`
    State(StateText),
}

/// An explanation and its subject.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Explained {
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) explanation: Explanation,
    /// What the cluster's own controller says; absent where our engine is the controller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) controller: Option<Comparison>,
}

/// A service of a running platform.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Running {
    Autoscaled {
        #[serde(flatten)]
        explained: Box<Explained>,
        /// What a balancer last ordered beside the autoscaler, as the moving of connections.
        #[serde(skip_serializing_if = "Option::is_none")]
        balancer: Option<Decided>,
    },
    /// It could not be explained; the others can.
    Unexplained { name: String, problem: String },
    /// It has no autoscaler: a balancer sets its replicas, or only moves its connections.
    Balanced {
        name: String,
        /// Replicas that are wanted.
        replicas: u32,
        balancer: Decided,
    },
}

/// The result of `--print-state` as a document.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct StateText {
    pub(super) state: String,
}
