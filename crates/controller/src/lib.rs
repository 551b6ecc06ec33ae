//! A control plane's decisions, as one pure state machine: `step(now, input) -> effects`.
//!
//! Rollouts and the order in which replicas go, probes, crash back-off, drains and grace periods, gateways on every
//! node, the parts that services depend on, metric windows, the autoscalers' loop, endpoints and their versions, bring-up,
//! teardown, and the effects of a change of `values.yaml`. It has no clock, no I/O and no runtime: the caller
//! passes in the time, carries out the [`Effect`]s, and reports their outcomes as [`Input`]s. The supervisor of a
//! platform on this machine does that with processes, the simulator with models, tests with nothing.
//!
//! Equal inputs give equal effects: time is a number, everything that is iterated is ordered, and nothing is random.
//!
//! Locations (addresses, ports, pids, files) are up to the caller; the controller knows replicas by [`RunId`] and by
//! service and ordinal. Reasons are data ([`Fact`]); [`Fact::into_event`] puts them in words.

mod apply;
mod autoscaling;
mod backoff;
mod balancing;
mod controller;
mod deletion;
mod deployment;
mod effect;
mod endpoints;
mod facts;
mod gateways;
mod in_memory;
mod input;
mod instance;
mod instances;
mod lifecycle;
mod names;
mod ordinals;
mod parts;
mod pipeline;
mod probe;
mod recording;
mod requests;
mod series;
mod snapshot;
mod teardown;
mod template;
mod time;
mod window;

pub use autoscaling::metric;
pub use controller::{Capacity, Controller};
pub use effect::{Cluster, Effect, Endpoint, Failure, Launch, Question, Reply};
pub use facts::{Fact, Trouble, Warning};
pub use input::{
    Apply, Exit, Input, MetricAnswer, ProbeFailure, Probed, Request, RequestId, RunId, Sample, Started, Usage,
};
pub use names::node_name;
pub use pipeline::Counts;
pub use platform::PartKind;
pub use recording::{Difference, Header, Recorded, Recording};
pub use snapshot::{PartPlace, Places, ReplicaPlace};
pub use template::{Backends, GatewayTemplate, Kafka, PartTemplate, ServiceTemplate, Source};
pub use time::Time;
