//! The measured figures, and the goals.

use serde::{Deserialize, Serialize};

use crate::contestant::Contestant;

/// One number that a row measures for each contestant.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    pub(crate) title: &'static str,
    pub(crate) unit: Unit,
    pub(crate) goals: Vec<Goal>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unit {
    /// Units of work per second of CPU time.
    PerCpuSecond,
    /// Bytes per second of CPU time.
    BytesPerCpuSecond,
    Bytes,
    /// CPUs in use.
    Cores,
    Seconds,
    /// How many times as much.
    Times,
    Count,
}

impl Unit {
    /// A value with three significant digits and the unit.
    pub(crate) fn format(self, value: f64) -> String {
        match self {
            Self::PerCpuSecond => format!("{}/CPU s", scaled(value, 1000.0, &["", " k", " M", " G"])),
            Self::BytesPerCpuSecond => {
                format!("{}/CPU s", scaled(value, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB"]))
            }
            Self::Bytes => scaled(value, 1024.0, &[" B", " KiB", " MiB", " GiB"]),
            Self::Cores => format!("{value:.4} cores"),
            Self::Seconds => scaled(value * 1e9, 1000.0, &[" ns", " µs", " ms", " s"]),
            Self::Times => format!("{value:.2} ×"),
            Self::Count => format!("{value:.0}"),
        }
    }
}

fn scaled(value: f64, step: f64, units: &[&str]) -> String {
    let mut value = value;
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    for larger in units {
        if value.abs() < step {
            break;
        }
        value /= step;
        unit = larger;
    }
    let digits = match value.abs() {
        large if large >= 99.95 => 0,
        middle if middle >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.digits$}{unit}")
}

/// The goal for `playctl`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "goal", rename_all = "kebab-case")]
pub(crate) enum Goal {
    /// At least this multiple of what another contestant reaches in the same run.
    AtLeast { ratio: f64, of: Contestant },
    /// At most this multiple of what another contestant needs in the same run.
    AtMost { ratio: f64, of: Contestant },
    /// Less than this.
    Under { value: f64 },
    /// At most this.
    UpTo { value: f64 },
    /// At least this.
    From { value: f64 },
}

impl Goal {
    /// The other contestant, if the goal is a ratio.
    pub(crate) fn against(self) -> Option<Contestant> {
        match self {
            Self::AtLeast { of, .. } | Self::AtMost { of, .. } => Some(of),
            Self::Under { .. } | Self::UpTo { .. } | Self::From { .. } => None,
        }
    }

    /// Whether `reached`, a ratio or a value like the goal, is good enough.
    pub(crate) fn is_met(self, reached: f64) -> bool {
        match self {
            Self::AtLeast { ratio: bound, .. } | Self::From { value: bound } => reached >= bound,
            Self::AtMost { ratio: bound, .. } | Self::UpTo { value: bound } => reached <= bound,
            Self::Under { value } => reached < value,
        }
    }

    /// How many times better than the goal `reached` is; below 1 it is missed. Zero where zero is allowed counts as 1.
    pub(crate) fn margin(self, reached: f64) -> f64 {
        let margin = match self {
            Self::AtLeast { ratio: bound, .. } | Self::From { value: bound } => reached / bound,
            Self::AtMost { ratio: bound, .. }
            | Self::Under { value: bound }
            | Self::UpTo { value: bound } => bound / reached,
        };
        if margin.is_nan() { 1.0 } else { margin }
    }

    /// The fraction of the goal by which it is missed: 0.1 is a tenth too little, or too much. Negative if it is met.
    pub(crate) fn shortfall(self, reached: f64) -> f64 {
        match self {
            Self::AtLeast { ratio: bound, .. } | Self::From { value: bound } => 1.0 - reached / bound,
            Self::AtMost { ratio: bound, .. }
            | Self::Under { value: bound }
            | Self::UpTo { value: bound } => reached / bound - 1.0,
        }
    }

    pub(crate) fn in_words(self, unit: Unit) -> String {
        match self {
            Self::AtLeast { ratio, .. } => format!("≥ {ratio:.2} ×"),
            Self::AtMost { ratio, .. } => format!("≤ {ratio:.2} ×"),
            Self::Under { value } => format!("< {}", unit.format(value)),
            Self::UpTo { value } => format!("≤ {}", unit.format(value)),
            Self::From { value } => format!("≥ {}", unit.format(value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_three_significant_digits() {
        assert_eq!(Unit::PerCpuSecond.format(412_345.0), "412 k/CPU s");
        assert_eq!(Unit::Bytes.format(1228.8), "1.20 KiB");
        assert_eq!(Unit::Bytes.format(512.0), "512 B");
        assert_eq!(Unit::Seconds.format(0.000_012_3), "12.3 µs");
        assert_eq!(Unit::Seconds.format(0.0), "0.00 ns");
        assert_eq!(Unit::Cores.format(0.00123), "0.0012 cores");
    }

    #[test]
    fn goals_are_met_at_their_bound_and_missed_beyond() {
        let at_least = Goal::AtLeast { ratio: 0.9, of: Contestant::Reference };
        assert!(at_least.is_met(0.9) && !at_least.is_met(0.89));
        assert!(at_least.margin(0.81) < 0.91 && at_least.margin(0.81) > 0.89);
        let at_most = Goal::AtMost { ratio: 1.2, of: Contestant::Reference };
        assert!(at_most.is_met(1.2) && !at_most.is_met(1.21));
        assert!((at_most.margin(0.6) - 2.0).abs() < 1e-9);
        assert!(
            (at_most.shortfall(1.5) - 0.25).abs() < 1e-9 && (at_least.shortfall(0.45) - 0.5).abs() < 1e-9
        );
        let under = Goal::Under { value: 0.005 };
        assert!(under.is_met(0.0049) && !under.is_met(0.005));
    }
}
