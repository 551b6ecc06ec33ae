//! A worker's side: samples, and passing them on.

use super::{Distributions, Each, Latencies, Sparse};

impl Latencies {
    pub(crate) fn record_ns(&mut self, ns: u64) {
        // Rounded to the nearest microsecond; anything shorter counts as one.
        self.0.saturating_record((ns.saturating_add(500) / 1000).max(1));
    }

    /// The samples recorded since the last call.
    pub(crate) fn take(&mut self) -> Sparse {
        let sparse = self.0.iter_recorded().map(|at| (at.value_iterated_to(), at.count_at_value())).collect();
        self.0.reset();
        Sparse(sparse)
    }
}

impl Distributions {
    pub(crate) fn take(&mut self) -> Each<Sparse> {
        Each {
            connect: self.connect.take(),
            first_byte: self.first_byte.take(),
            message: self.message.take(),
            lateness: self.lateness.take(),
            reconnect: self.reconnect.take(),
            broadcast: self.broadcast.take(),
            gap: self.gap.take(),
            gap_without_delay: self.gap_without_delay.take(),
            event_gap: self.event_gap.take(),
        }
    }
}

#[cfg(test)]
mod tests {
    use platform::event::LatencySummary;

    use super::{super::LONGEST_US, *};

    #[test]
    fn merging_loses_nothing() {
        let (mut direct, mut part, mut merged) = <(Latencies, Latencies, Latencies)>::default();
        for ns in [0, 1_400, 999_999, 7_654_321, 123_456_789_000, u64::MAX] {
            direct.record_ns(ns);
            part.record_ns(ns);
            merged.merge(&part.take());
        }
        assert_eq!(direct.summary(), merged.summary());
        assert_eq!(direct.summary().count, 6);
        assert_eq!(part.summary(), LatencySummary::default());
        assert!(direct.summary().max_us >= LONGEST_US);
    }

    #[test]
    fn buckets_cover_everything() {
        let mut latencies = Latencies::default();
        for us in [1, 2, 3, 5, 6, 900, 1_100, 4_000_000_000] {
            latencies.record_ns(us * 1_000);
        }
        let buckets = latencies.buckets();
        assert_eq!(buckets.iter().map(|bucket| bucket.count).sum::<u64>(), 8);
        let bounds: Vec<u64> = buckets.iter().map(|bucket| bucket.up_to_us).collect();
        assert_eq!(bounds, [1, 2, 5, 10, 1_000, 2_000, 5_000_000_000]);
    }
}
