//! A worker's share of a plan, in the form in which it travels to a worker process.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{profile::Profile, protocol::Protocol, reply::Expect};

/// What one worker does. All workers of a run get the same, but for `worker`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// When the run's first connection is due, on the machine's monotonic clock.
    pub(crate) origin_ns: u64,
    pub(crate) protocol: Protocol,
    pub(crate) worker: u32,
    pub(crate) workers: u32,
    /// Of the whole run. Connection `i` belongs to worker `i mod workers`.
    pub(crate) connections: u64,
    /// Between the starts of two connections of the run.
    pub(crate) interval_ns: u64,
    pub(crate) targets: Vec<SocketAddr>,
    /// Source addresses, taken in turn; empty: the kernel's choice.
    pub(crate) sources: Vec<IpAddr>,
    /// Between two messages of one connection; `None`: a profile says, or the connections stay silent.
    pub(crate) every_ns: Option<u64>,
    /// UDP: what all peers of the run send together.
    pub(crate) profile: Option<Profile>,
    /// UDP: the most messages of one peer that are outstanding at once.
    pub(crate) window: Option<u32>,
    pub(crate) payload: String,
    #[serde(with = "expect_name")]
    pub(crate) expect: Expect,
    pub(crate) message_timeout_ms: u32,
    pub(crate) connect_timeout_ms: u32,
    /// Delay and jitter before an ended connection comes back; `None`: it does not.
    pub(crate) come_back_ms: Option<(u32, u32)>,
    /// Ask each connection which replica serves it.
    pub(crate) identify: bool,
    /// Report events of single connections.
    pub(crate) trace: bool,
    pub(crate) tick_ms: u32,
    pub(crate) seed: u64,
}

impl Spec {
    /// How many of the run's connections are this worker's.
    pub(super) fn share(&self) -> usize {
        let (workers, worker) = (u64::from(self.workers), u64::from(self.worker));
        (self.connections.saturating_sub(worker)).div_ceil(workers) as usize
    }

    /// The number, within the run, of this worker's connection `index`.
    pub(super) fn number(&self, index: usize) -> u64 {
        index as u64 * u64::from(self.workers) + u64::from(self.worker)
    }

    pub(super) fn start_due_ns(&self, index: usize) -> u64 {
        self.number(index).saturating_mul(self.interval_ns)
    }

    pub(super) fn target(&self, index: usize) -> SocketAddr {
        self.targets[(self.number(index) % self.targets.len() as u64) as usize]
    }

    /// Sources turn once per turn of the targets, so that each target sees all of them.
    pub(super) fn source(&self, index: usize) -> Option<IpAddr> {
        let turn = self.number(index) / self.targets.len() as u64;
        let index = turn.checked_rem(self.sources.len() as u64)?;
        self.sources.get(index as usize).copied()
    }

    /// Between two sweeps: a fraction of the shorter time-out, so that a time-out is at most that much late.
    pub(super) fn sweep_ms(&self) -> u32 {
        (self.message_timeout_ms.min(self.connect_timeout_ms) / 16).clamp(5, 250)
    }

    /// When message `sequence` of a connection whose first was due at `base_ms` is due. The product is taken anew
    /// each time: intervals that are no whole milliseconds do not add up their rounding.
    pub(super) fn message_due_ms(&self, base_ms: u32, sequence: u32) -> Option<u32> {
        let offset = u64::from(sequence).saturating_mul(self.every_ns?);
        Some(base_ms.saturating_add(crate::clock::ceil_ms(offset)))
    }
}

/// Whole milliseconds, at least one.
pub(crate) fn at_least_one_ms(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX).max(1)
}

mod expect_name {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::reply::Expect;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
    pub(super) fn serialize<S: Serializer>(expect: &Expect, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(expect)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Expect, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn spec(connections: u64, worker: u32, workers: u32) -> Spec {
        Spec {
            origin_ns: 0,
            protocol: Protocol::Tcp,
            worker,
            workers,
            connections,
            interval_ns: 5_000_000,
            targets: vec!["127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()],
            sources: vec!["127.1.0.1".parse().unwrap(), "127.1.0.2".parse().unwrap()],
            every_ns: Some(1_500_000),
            profile: None,
            window: None,
            payload: "x".to_owned(),
            expect: Expect::Echo,
            message_timeout_ms: 5_000,
            connect_timeout_ms: 5_000,
            come_back_ms: None,
            identify: false,
            trace: false,
            tick_ms: 1_000,
            seed: 1,
        }
    }

    #[test]
    fn shares_add_up_and_numbers_are_all_different() {
        for (connections, workers) in [(10, 3), (1, 4), (0, 2), (20_000, 1)] {
            let mut numbers: Vec<u64> = (0..workers)
                .flat_map(|worker| {
                    let spec = spec(connections, worker, workers);
                    (0..spec.share()).map(move |index| spec.number(index)).collect::<Vec<_>>()
                })
                .collect();
            numbers.sort_unstable();
            assert_eq!(numbers, (0..connections).collect::<Vec<_>>());
        }
    }

    #[test]
    fn every_target_is_reached_from_every_source() {
        let spec = spec(8, 0, 1);
        let mut pairs: Vec<_> = (0..4).map(|index| (spec.target(index), spec.source(index))).collect();
        pairs.sort_unstable();
        pairs.dedup();
        assert_eq!(pairs.len(), 4);
        let unbound = Spec { sources: Vec::new(), ..spec };
        assert_eq!(unbound.source(3), None);
    }

    #[test]
    fn fractions_of_a_millisecond_do_not_add_up() {
        let spec = spec(1, 0, 1);
        assert_eq!(spec.message_due_ms(10, 0), Some(10));
        assert_eq!(spec.message_due_ms(10, 1), Some(12));
        assert_eq!(spec.message_due_ms(10, 2), Some(13));
        assert_eq!(spec.message_due_ms(10, 2_000_000), Some(3_000_010));
    }

    #[test]
    fn it_travels_unchanged() {
        let spec = spec(10, 1, 2);
        let text = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<Spec>(&text).unwrap(), spec);
    }
}
