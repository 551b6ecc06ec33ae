//! Scenarios: loads with actions and expectations, as files. Pure: no sockets, no clock, no runtime. The load generator
//! carries a scenario out over sockets; the simulator reads the same files and does it in virtual time.
//!
//! * A [`Scenario`] is the one description of a load. [`find`] reads it from a file or takes a built-in one; the flags
//!   of the command line are laid over its fields, and [`Scenario::validate`] says what cannot be.
//! * [`Action`]s are what it does to the platform. A [`Schedule`] is fed with events and says what is due.
//! * [`Expectation`]s are what it must show. An [`Evaluator`] judges them over the events of the run.
//! * [`fit`] compares a scenario with the platform it is going to run on.

pub mod action;
mod changes;
pub mod expect;
mod file;
pub mod fit;
mod number;
mod payload;
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
