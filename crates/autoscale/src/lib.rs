//! The Kubernetes HorizontalPodAutoscaler as a library: no clock, no I/O, no global state.
//!
//! [`Autoscaler`] behaves like the `autoscaling/v2` controller of Kubernetes 1.34 in every observable detail, which is
//! checked against recordings of that controller (`tests/conformance.rs`). The caller provides time and observations and
//! carries out decisions, so the same engine serves a live platform, a simulation in virtual time and an explanation of
//! the current state.
//!
//! ```
//! use autoscale::{Autoscaler, ControllerSettings, HpaSpec, MetricReading, Observation, Pod, PodSamples, Sample};
//!
//! let spec: HpaSpec = yaml::from_str("
//! maxReplicas: 5
//! metrics:
//!   - type: Pods
//!     pods:
//!       metric: {name: tcp_state_established}
//!       target: {type: AverageValue, averageValue: 5k}
//! ")?;
//! let mut autoscaler = Autoscaler::new(&spec, ControllerSettings::default())?;
//! let sample = Sample { milli: 7_012_000, ..Sample::default() };
//! let observed = Observation {
//!     spec_replicas: 1,
//!     status_replicas: 1,
//!     pods: vec![Pod::default()],
//!     metrics: vec![MetricReading::Pods(PodSamples { listed: vec![Some(sample)], unlisted: vec![] })],
//!     ..Observation::default()
//! };
//! let decision = autoscaler.reconcile(0, &observed);
//! assert_eq!(decision.scaled_to, Some(2));
//! assert_eq!(decision.rescale_reason().to_string(), "pods metric tcp_state_established above target");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The modules: [`quantity`] and [`spec`] (the user's input), [`manifest`] (files), [`observation`] (the inputs of a
//! decision), [`calculator`] (one metric, without memory), the engine, its [`memory`] and [`status`], [`decision`] (the
//! outcome). `docs/autoscaling.md` describes the whole algorithm.

mod amount;
pub mod calculator;
pub mod decision;
mod engine;
pub mod explain;
pub mod manifest;
pub mod memory;
mod names;
pub mod observation;
mod plan;
pub mod quantity;
mod rate;
pub mod settings;
pub mod spec;
mod stabilize;
pub mod status;
mod words;

pub use calculator::{MetricError, Proposal, Source, Target, Verdict};
pub use decision::{Decision, Limits, MetricOutcome, MissingRequest, ReconcileError, RescaleReason};
pub use engine::{Autoscaler, Snapshot};
pub use memory::{Memory, Recommendation, ScaleEvent};
pub use observation::{
    Container, ContainerKind, Faults, MetricReading, Observation, Phase, Pod, PodSamples, Ready, ReadyStatus,
    Requests, Sample,
};
pub use quantity::Quantity;
pub use rate::Cap;
pub use settings::{ControllerSettings, Tolerances};
pub use spec::{FieldError, HpaSpec, InvalidSpec};
pub use stabilize::{Direction, Stabilization};
pub use status::{Condition, ConditionReason, Conditions, CurrentMetric, Status};
