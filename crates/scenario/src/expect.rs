//! The expectations of a run, one line each, and their verdicts.
//!
//! The lines of a scenario and the flags of the command line (`--expect-lost 0`) become the same [`Expectation`]s. An
//! [`Evaluator`] judges them by the merged stream of events: the load's own and the platform's.
//!
//! ```text
//! lost = 0                      connected >= 10000         p99 <= 50ms        connect p99 <= 1s
//! answered >= 99%               broadcasts-missed = 0      broadcast max <= 1s
//! tcp 1 → 2                     tcp 1 → 2 within 30s of crossing              tcp 2 → 1 within 130s of close
//! replicas = 4                  spread = 6/6/6/4           decided ⌈9 ÷ 7⌉    never decided becomes inactive
//! ```

mod evaluate;
mod measure;
mod parse;

use std::{fmt, time::Duration};

pub use self::{
    evaluate::Evaluator,
    measure::{Count, Latency},
    parse::ExpectationError,
};
use platform::duration;

use crate::spread;

/// One required result of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expectation {
    /// A counter of the summary is at most, or at least, this much.
    Count { what: Count, bound: Bound, limit: Limit },
    /// A latency of the summary is at most this long. Not met if nothing was measured.
    Latency { what: Latency, at_most: Duration },
    /// The autoscaler, or a balancer, changed a service's replicas like this.
    Scale { service: String, from: u32, to: u32, within: Option<Within> },
    /// When the close begins, the replicas have these numbers of the load's connections, the most first.
    Spread(Vec<u64>),
    /// A balancer's decision had this text in its reason or orders before the close began. `never`: none had.
    Decided { text: String, never: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    AtMost,
    AtLeast,
    Exactly,
}

/// How many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    Number(u64),
    /// A share of the possible number, in hundredths of a per cent.
    Share(u64),
}

/// The time limit, and its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Within {
    pub time: Duration,
    pub of: Anchor,
}

/// The start of a time limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// The first connect.
    Start,
    /// The last time before the change that the service's metric went above its target and tolerance.
    Crossing,
    /// The close of the client's connections.
    Close,
}

impl Anchor {
    const NAMES: [(&'static str, Self); 3] =
        [("start", Self::Start), ("crossing", Self::Crossing), ("close", Self::Close)];

    fn name(self) -> &'static str {
        crate::name_of(&Self::NAMES, &self)
    }
}

impl Expectation {
    /// At most this many connections lost.
    pub fn lost(at_most: u64) -> Self {
        Self::Count { what: Count::LOST, bound: Bound::AtMost, limit: Limit::Number(at_most) }
    }

    /// At most this many attempts refused.
    pub fn refused(at_most: u64) -> Self {
        Self::Count { what: Count::REFUSED, bound: Bound::AtMost, limit: Limit::Number(at_most) }
    }

    /// At least this many of the plan's connections were open at least once.
    pub fn connected(at_least: u64) -> Self {
        Self::Count { what: Count::CONNECTED, bound: Bound::AtLeast, limit: Limit::Number(at_least) }
    }

    /// The 99th percentile of the messages' latency, from the due time.
    pub fn p99(at_most: Duration) -> Self {
        Self::Latency { what: Latency::MESSAGE_P99, at_most }
    }

    pub fn scale(service: impl Into<String>, from: u32, to: u32) -> Self {
        Self::Scale { service: service.into(), from, to, within: None }
    }

    /// Only a platform can show whether it is met.
    pub(crate) fn is_told_by_platform(&self) -> bool {
        matches!(
            self,
            Self::Scale { .. }
                | Self::Decided { .. }
                | Self::Count { what: Count::REPLICAS | Count::DECISIONS, .. }
        )
    }

    pub(crate) fn is_about_log_lines(&self) -> bool {
        matches!(self, Self::Count { what: Count::LOG_LINES_UNACCOUNTED, .. })
    }

    /// Lowers the limit for a load with a share of the clients and of the time.
    pub(crate) fn shrink(&mut self, clients: f64, time: f64) {
        if let Self::Count { what, bound: Bound::AtLeast, limit: Limit::Number(limit) } = self {
            let share = match what.grows() {
                measure::Grows::No => 1.0,
                measure::Grows::WithClients => clients,
                measure::Grows::WithTime => clients * time,
            };
            *limit = (*limit as f64 * share).floor() as u64;
        }
    }

    /// Whether it is about the same quantity, with any limit.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Count { what, bound, .. }, Self::Count { what: other, bound: other_bound, .. }) => {
                what == other && bound == other_bound
            }
            (Self::Latency { what, .. }, Self::Latency { what: other, .. }) => what == other,
            (
                Self::Scale { service, from, to, .. },
                Self::Scale { service: other, from: other_from, to: other_to, .. },
            ) => (service, from, to) == (other, other_from, other_to),
            (Self::Spread(_), Self::Spread(_)) => true,
            _ => self == other,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(formatter, "{number}"),
            Self::Share(share) => write!(formatter, "{}%", *share as f64 / 100.0),
        }
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count { what, bound: Bound::AtMost, limit: Limit::Number(0) } => {
                write!(formatter, "{what} = 0")
            }
            Self::Count { what, bound, limit } => {
                let sign = match bound {
                    Bound::AtMost => "<=",
                    Bound::AtLeast => ">=",
                    Bound::Exactly => "=",
                };
                write!(formatter, "{what} {sign} {limit}")
            }
            Self::Latency { what, at_most } => write!(formatter, "{what} <= {}", duration::format(*at_most)),
            Self::Scale { service, from, to, within } => {
                write!(formatter, "{service} {from} → {to}")?;
                match within {
                    None => Ok(()),
                    Some(Within { time, of }) => {
                        write!(formatter, " within {} of {}", duration::format(*time), of.name())
                    }
                }
            }
            Self::Spread(counts) => write!(formatter, "spread = {}", spread::words(counts)),
            Self::Decided { text, never } => {
                write!(formatter, "{}decided {text}", if *never { "never " } else { "" })
            }
        }
    }
}
