//! Scenarios: loads with actions and expectations, as files. No sockets, no clock, no runtime. The load generator runs a
//! scenario over sockets; the simulator runs the same files in virtual time.
//!
//! * A [`Scenario`] describes a load completely. [`find`] reads it from a file or takes a built-in one; the command
//!   line's flags override its fields, and [`Scenario::validate`] reports what is impossible.
//! * [`Action`]s act on the platform. A [`Schedule`] consumes events and says what is due.
//! * [`Expectation`]s are its required results. An [`Evaluator`] judges them by the events of the run.
//! * [`fit`] compares a scenario with its platform.

pub mod action;
mod changes;
pub mod expect;
mod file;
pub mod fit;
mod number;
mod payload;
mod placeholders;
mod profile;
mod protocol;
mod rate;
mod reconnect;
mod scenario;
mod spread;
mod text;

pub use action::{Action, Schedule, Step, Trigger, Verb};
pub use expect::{Evaluator, Expectation};
pub use file::{ScenarioError, find, names};
pub use number::{Share, parse_count};
pub use payload::{Payload, escape};
pub use profile::{Profile, Stage};
pub use protocol::Protocol;
pub use rate::Rate;
pub use reconnect::{Plan, Policy, Reconnect};
pub use scenario::{Every, Expect, Hold, LoadDuration, Messages, Phases, Ramp, Scenario, Stay, Wait};

/// The name of a value in a table of all values.
fn name_of<T: PartialEq>(names: &[(&'static str, T)], value: &T) -> &'static str {
    names.iter().find(|(_, known)| known == value).map_or("", |(name, _)| name)
}

/// The value of a name in such a table.
fn named<T: Copy>(names: &[(&'static str, T)], name: &str) -> Option<T> {
    names.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

/// `; did you mean `lost`?`, or nothing.
fn hint<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    yaml::nearest(wanted, known).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}
