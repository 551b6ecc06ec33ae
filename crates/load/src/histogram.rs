//! Latencies in HDR histograms: three significant digits from 1 µs to an hour, in a fixed amount of memory.

#[cfg(feature = "engine")]
mod recording;

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use platform::event::{HistogramBucket, LatencySummary};
use serde::{Deserialize, Serialize};

/// Longer latencies count as an hour.
const LONGEST_US: u64 = 3_600_000_000;

/// A histogram of microseconds.
#[derive(Debug, Clone)]
pub(crate) struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(
            Histogram::new_with_bounds(1, LONGEST_US, 3).expect("the bounds are constants that fit together"),
        )
    }
}

impl Latencies {
    pub(crate) fn merge(&mut self, sparse: &Sparse) {
        for (value_us, count) in &sparse.0 {
            self.0.saturating_record_n(*value_us, *count);
        }
    }

    pub(crate) fn summary(&self) -> LatencySummary {
        let Self(histogram) = self;
        if histogram.is_empty() {
            return LatencySummary::default();
        }
        LatencySummary {
            count: histogram.len(),
            min_us: histogram.min(),
            mean_us: histogram.mean().round() as u64,
            p50_us: histogram.value_at_quantile(0.5),
            p90_us: histogram.value_at_quantile(0.9),
            p99_us: histogram.value_at_quantile(0.99),
            p999_us: histogram.value_at_quantile(0.999),
            max_us: histogram.max(),
        }
    }

    /// The distribution over bounds of 1, 2, 5, 10, 20, 50… µs, without the empty ones.
    pub(crate) fn buckets(&self) -> Vec<HistogramBucket> {
        let mut buckets: Vec<HistogramBucket> = Vec::new();
        let mut bounds = (0..10).flat_map(|power| [1, 2, 5].map(|step| step * 10_u64.pow(power)));
        let mut bound = bounds.next().unwrap_or(LONGEST_US);
        for at in self.0.iter_recorded() {
            let value = at.value_iterated_to();
            while value > bound {
                let Some(next) = bounds.next() else { break };
                bound = next;
            }
            match buckets.last_mut() {
                Some(bucket) if bucket.up_to_us == bound => bucket.count += at.count_at_value(),
                _ => buckets.push(HistogramBucket { up_to_us: bound, count: at.count_at_value() }),
            }
        }
        buckets
    }
}

/// A histogram on its way between workers: the values in µs, and how often each occurred. Lossless, since all
/// histograms have the same bounds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sparse(Vec<(u64, u64)>);

/// The sum of sparse histograms: how often each value occurred.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sum(BTreeMap<u64, u64>);

impl Sum {
    fn add(&mut self, sparse: &Sparse) {
        for (value, count) in &sparse.0 {
            *self.0.entry(*value).or_default() += count;
        }
    }

    /// The difference to a part of it.
    fn without(&self, part: &Self) -> Sparse {
        let rest = |(value, count): (&u64, &u64)| {
            (*value, count.saturating_sub(part.0.get(value).copied().unwrap_or_default()))
        };
        Sparse(self.0.iter().map(rest).filter(|(_, count)| *count > 0).collect())
    }
}

/// One per measured quantity.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Each<T> {
    pub(crate) connect: T,
    pub(crate) first_byte: T,
    pub(crate) message: T,
    pub(crate) lateness: T,
    pub(crate) reconnect: T,
    pub(crate) broadcast: T,
    pub(crate) gap: T,
    pub(crate) gap_without_delay: T,
    pub(crate) event_gap: T,
}

impl Each<Sum> {
    pub(crate) fn add(&mut self, other: &Each<Sparse>) {
        self.connect.add(&other.connect);
        self.first_byte.add(&other.first_byte);
        self.message.add(&other.message);
        self.lateness.add(&other.lateness);
        self.reconnect.add(&other.reconnect);
        self.broadcast.add(&other.broadcast);
        self.gap.add(&other.gap);
        self.gap_without_delay.add(&other.gap_without_delay);
        self.event_gap.add(&other.event_gap);
    }

    pub(crate) fn without(&self, part: &Self) -> Each<Sparse> {
        Each {
            connect: self.connect.without(&part.connect),
            first_byte: self.first_byte.without(&part.first_byte),
            message: self.message.without(&part.message),
            lateness: self.lateness.without(&part.lateness),
            reconnect: self.reconnect.without(&part.reconnect),
            broadcast: self.broadcast.without(&part.broadcast),
            gap: self.gap.without(&part.gap),
            gap_without_delay: self.gap_without_delay.without(&part.gap_without_delay),
            event_gap: self.event_gap.without(&part.event_gap),
        }
    }
}

/// The distributions of a run, or of a part of it.
pub(crate) type Distributions = Each<Latencies>;

impl Distributions {
    pub(crate) fn merge(&mut self, other: &Each<Sparse>) {
        self.connect.merge(&other.connect);
        self.first_byte.merge(&other.first_byte);
        self.message.merge(&other.message);
        self.lateness.merge(&other.lateness);
        self.reconnect.merge(&other.reconnect);
        self.broadcast.merge(&other.broadcast);
        self.gap.merge(&other.gap);
        self.gap_without_delay.merge(&other.gap_without_delay);
        self.event_gap.merge(&other.event_gap);
    }
}
