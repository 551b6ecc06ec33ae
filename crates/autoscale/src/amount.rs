//! Values of metrics as people read them: `7,012`, `0.35`, `40.5Mi`.

use std::fmt;

use crate::{
    calculator::{Source, Target},
    quantity::Quantity,
};

/// How the values of a metric are written. The spec decides: who writes `300Mi` thinks in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// `7,012`
    Decimal,
    /// `40.5Mi`
    Binary,
}

impl Unit {
    /// The unit of a metric whose target is `quantity`, or a percentage of a request.
    pub(crate) fn of(source: &Source, target: Option<Target>, quantity: Option<&Quantity>) -> Self {
        let is_binary = match target {
            Some(Target::Utilization(_)) => source.resource() == Some("memory"),
            _ => quantity.is_some_and(Quantity::is_binary),
        };
        if is_binary { Self::Binary } else { Self::Decimal }
    }

    /// `milli` thousandths in this unit.
    pub(crate) fn amount(self, milli: i64) -> Amount {
        Amount { unit: self, milli }
    }
}

/// A value with at most three decimals; further ones are cut off.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Amount {
    unit: Unit,
    milli: i64,
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.milli.unsigned_abs();
        let (magnitude, suffix) = match self.unit {
            Unit::Decimal => (magnitude, ""),
            Unit::Binary => [(50, "Pi"), (40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")]
                .into_iter()
                .map(|(power, suffix)| (magnitude >> power, suffix))
                .find(|(scaled, _)| *scaled >= 1000)
                .unwrap_or((magnitude, "")),
        };
        if self.milli < 0 {
            f.write_str("-")?;
        }
        let whole = (magnitude / 1000).to_string();
        for (index, digit) in whole.chars().enumerate() {
            if index > 0 && (whole.len() - index).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        let fraction = format!("{:03}", magnitude % 1000);
        let fraction = fraction.trim_end_matches('0');
        if !fraction.is_empty() {
            write!(f, ".{fraction}")?;
        }
        f.write_str(suffix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_amounts_have_separators_and_at_most_three_decimals() {
        for (milli, text) in [
            (0, "0"),
            (350, "0.35"),
            (7_012_000, "7,012"),
            (-1_234_567_001, "-1,234,567.001"),
            (i64::MIN, "-9,223,372,036,854,775.808"),
        ] {
            assert_eq!(Unit::Decimal.amount(milli).to_string(), text);
        }
    }

    #[test]
    fn binary_amounts_take_the_largest_suffix_that_leaves_one_or_more() {
        for (bytes, text) in [
            (0, "0"),
            (1023, "1,023"),
            (1024, "1Ki"),
            (1536, "1.5Ki"),
            (40 << 20, "40Mi"),
            ((40 << 20) + (1 << 19), "40.5Mi"),
            ((1 << 30) - 1, "1,023.999Mi"),
            (-(3 << 30), "-3Gi"),
            (5 << 40, "5Ti"),
            (2 << 50, "2Pi"),
        ] {
            assert_eq!(Unit::Binary.amount(bytes * 1000).to_string(), text);
        }
        assert_eq!(Unit::Binary.amount(500).to_string(), "0.5");
    }

    #[test]
    fn the_spelling_of_the_target_decides() {
        let unit = |source: &Source, target, quantity: Option<&str>| {
            Unit::of(source, target, quantity.map(|text| text.parse().expect("a quantity")).as_ref())
        };
        let memory = Source::Resource { name: "memory".to_owned() };
        let cpu = Source::Resource { name: "cpu".to_owned() };
        let average = Some(Target::AverageValue(1));
        assert_eq!(unit(&memory, Some(Target::Utilization(80)), None), Unit::Binary);
        assert_eq!(unit(&cpu, Some(Target::Utilization(80)), None), Unit::Decimal);
        assert_eq!(unit(&memory, average, Some("300Mi")), Unit::Binary);
        assert_eq!(unit(&memory, average, Some("300M")), Unit::Decimal);
        assert_eq!(unit(&Source::Pods, average, Some("1Gi")), Unit::Binary);
        assert_eq!(unit(&Source::Pods, average, Some("5k")), Unit::Decimal);
    }
}
