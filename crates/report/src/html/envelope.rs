//! Samples over time for a picture some thousand pixels wide: of each stretch of time, the lowest and the highest.

/// Maximum number of stretches. A picture of a run has between half as many and all of them, with two samples in each.
const STRETCHES_MAX: usize = 1_024;

/// One sample.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample<T> {
    pub(super) t_ms: u64,
    /// The value by which samples are compared.
    pub(super) key: f64,
    /// Other data of this moment.
    pub(super) more: T,
}

/// Bounded however many samples are pushed, in any order. The lowest, the highest and the last one are always kept.
#[derive(Debug, Clone)]
pub(super) struct Envelope<T> {
    /// The length of a stretch: a power of two, so that two of them make one.
    width_ms: u64,
    stretches: Vec<Option<Stretch<T>>>,
    last: Option<Sample<T>>,
}

#[derive(Debug, Clone)]
struct Stretch<T> {
    low: Sample<T>,
    high: Sample<T>,
}

impl<T> Default for Envelope<T> {
    fn default() -> Self {
        Self { width_ms: 1, stretches: Vec::new(), last: None }
    }
}

impl<T: Clone + PartialEq> Envelope<T> {
    /// Ignores a sample without a number (NaN).
    pub(super) fn push(&mut self, t_ms: u64, key: f64, more: T) {
        if key.is_nan() {
            return;
        }
        while t_ms / self.width_ms >= STRETCHES_MAX as u64 {
            self.halve();
        }
        // Below STRETCHES_MAX.
        let index = (t_ms / self.width_ms) as usize;
        if self.stretches.len() <= index {
            self.stretches.resize(index + 1, None);
        }
        let sample = Sample { t_ms, key, more };
        if self.last.as_ref().is_none_or(|last| last.t_ms <= t_ms) {
            self.last = Some(sample.clone());
        }
        let new = Stretch { low: sample.clone(), high: sample };
        let stretch = &mut self.stretches[index];
        *stretch = Some(match stretch.take() {
            Some(known) => known.with(new),
            None => new,
        });
    }

    /// The kept samples, in chronological order.
    pub(super) fn samples(&self) -> Vec<Sample<T>> {
        let mut samples = Vec::with_capacity(2 * self.stretches.len() + 1);
        for Stretch { low, high } in self.stretches.iter().flatten() {
            let (first, second) = if low.t_ms <= high.t_ms { (low, high) } else { (high, low) };
            samples.push(first.clone());
            if second != first {
                samples.push(second.clone());
            }
        }
        samples.extend(self.last.clone().filter(|last| samples.last() != Some(last)));
        samples.sort_by_key(|sample| sample.t_ms);
        samples
    }

    pub(super) fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    fn halve(&mut self) {
        self.width_ms *= 2;
        let mut before = std::mem::take(&mut self.stretches).into_iter();
        while let Some(first) = before.next() {
            self.stretches.push(match (first, before.next().flatten()) {
                (Some(first), Some(second)) => Some(first.with(second)),
                (one, other) => one.or(other),
            });
        }
    }
}

impl<T> Stretch<T> {
    /// Of two equal ones, the first stays.
    fn with(self, other: Self) -> Self {
        Self {
            low: if other.low.key < self.low.key { other.low } else { self.low },
            high: if other.high.key > self.high.key { other.high } else { self.high },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_extremes_of_every_stretch_are_kept_and_no_value_is_invented(
            pushed in prop::collection::vec((0..10_000_000_u64, -1000..1000_i32), 1..400),
        ) {
            let mut envelope = Envelope::default();
            for (t_ms, value) in &pushed {
                envelope.push(*t_ms, f64::from(*value), *value);
            }
            let kept = envelope.samples();
            prop_assert!(kept.len() <= 2 * STRETCHES_MAX + 1);
            prop_assert!(kept.is_sorted_by_key(|sample| sample.t_ms));
            for sample in &kept {
                prop_assert!(pushed.contains(&(sample.t_ms, sample.more)), "{sample:?}");
            }
            let width = envelope.width_ms;
            prop_assert!(pushed.iter().all(|(t_ms, _)| t_ms / width < STRETCHES_MAX as u64));
            for stretch in pushed.iter().map(|(t_ms, _)| t_ms / width) {
                let values = pushed.iter().filter(|(t_ms, _)| t_ms / width == stretch).map(|(_, value)| *value);
                let kept = kept.iter().filter(|sample| sample.t_ms / width == stretch).map(|sample| sample.more);
                prop_assert_eq!(values.clone().min(), kept.clone().min());
                prop_assert_eq!(values.max(), kept.max());
            }
            prop_assert_eq!(kept.last().map(|sample| sample.t_ms), pushed.iter().map(|(t_ms, _)| *t_ms).max());
        }
    }

    #[test]
    fn impossible_times_do_not_panic() {
        let mut envelope = Envelope::default();
        for t_ms in [0, u64::MAX, u64::MAX - 1, 5] {
            envelope.push(t_ms, t_ms as f64, ());
        }
        envelope.push(7, f64::NAN, ());
        let times: Vec<_> = envelope.samples().iter().map(|sample| sample.t_ms).collect();
        assert_eq!((times[0], times[times.len() - 1]), (0, u64::MAX));
    }
}
