//! Rate-limits log lines that anybody can cause any number of.

use std::time::{Duration, Instant};

/// How often such a line is written.
const EVERY: Duration = Duration::from_mins(1);

/// Unreported occurrences: how many, and the sums of each of their `N` numbers.
#[derive(Debug)]
pub struct Seldom<const N: usize = 0> {
    count: u64,
    sums: [u64; N],
    said: Option<Instant>,
}

impl<const N: usize> Default for Seldom<N> {
    fn default() -> Self {
        Self { count: 0, sums: [0; N], said: None }
    }
}

impl<const N: usize> Seldom<N> {
    /// Records one. Returns what to report now, if anything: how many, and the sums of their numbers.
    pub fn note(&mut self, now: Instant, numbers: [u64; N]) -> Option<(u64, [u64; N])> {
        self.count += 1;
        for (sum, number) in self.sums.iter_mut().zip(numbers) {
            *sum = sum.saturating_add(number);
        }
        if self.said.is_some_and(|said| now.duration_since(said) < EVERY) {
            return None;
        }
        self.said = Some(now);
        self.take()
    }

    /// Returns the occurrences that have not been reported yet.
    pub fn take(&mut self) -> Option<(u64, [u64; N])> {
        let sums = std::mem::replace(&mut self.sums, [0; N]);
        Some((std::mem::take(&mut self.count), sums)).filter(|(count, _)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_events_are_summarised_in_few_lines() {
        let (mut seldom, start) = (Seldom::default(), clock::now());
        let told = (0..100_000_u32)
            .filter_map(|number| seldom.note(start + Duration::from_millis(number.into()), [2, 3]))
            .collect::<Vec<_>>();
        assert_eq!(told, [(1, [2, 3]), (60_000, [120_000, 180_000])]);
        assert_eq!(seldom.take(), Some((39_999, [79_998, 119_997])));
        assert_eq!(seldom.take(), None);
    }
}
