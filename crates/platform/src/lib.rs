//! The platform as types, shared by everything that runs, loads, simulates or reports on it.
//!
//! * [`address`]: where something is reached: a host and a port.
//! * [`event`]: the one event stream (`docs/events.schema.json`).
//! * [`target`]: where a platform runs: this machine, a cluster, virtual time.
//! * [`doctor`]: what a machine has and lacks.
//! * [`endpoints`]: what a gateway is told about the replicas behind it.
//! * [`exit`]: exit codes of the command line.
//! * [`mod@file`]: a file that somebody named, read with a bound.
//! * [`services`]: the table of services.
//! * [`duration`]: the one grammar of durations.
//! * [`values`]: `values.yaml` as types, merged as Helm merges.
//!
//! Nothing here uses a runtime, and nothing does I/O except [`file::read`] and, through it, [`values::Values::load`],
//! which reads charts and files.

pub mod address;
pub mod doctor;
pub mod duration;
pub mod endpoints;
pub mod event;
pub mod exit;
pub mod file;
pub mod parts;
mod protocol;
pub mod services;
pub mod target;
pub mod values;

pub use address::HostPort;
pub use event::{Event, EventKind, Source};
pub use parts::PartKind;
pub use services::ServiceKind;
pub use target::{Target, TargetError};
