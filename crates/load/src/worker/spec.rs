//! A worker's share of a load.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use platform::duration::whole_ms;
use scenario::{Plan, Protocol};

use crate::messages::{Spec, at_least_one_ms};

/// When a server asked a client to reconnect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hint {
    pub(super) after: Duration,
    /// Others were told the same, so each adds its own jitter.
    pub(super) is_for_all: bool,
}

impl Spec {
    /// This worker's number of connections. Connection `i` of the run belongs to worker `i mod workers`.
    pub(crate) fn share(&self) -> usize {
        self.first_index_from(self.connections())
    }

    /// Of these, the connections of the ramp, which come first.
    pub(super) fn ramp_share(&self) -> usize {
        self.first_index_from(self.scenario.phases.ramp.connections)
    }

    /// The first of this worker's connections whose number in the run is at least `number`.
    pub(super) fn first_index_from(&self, number: u64) -> usize {
        number.saturating_sub(u64::from(self.worker)).div_ceil(u64::from(self.workers)) as usize
    }

    /// For the whole run.
    pub(super) fn connections(&self) -> u64 {
        self.scenario.users()
    }

    /// The number, within the run, of this worker's connection `index`.
    pub(super) fn number(&self, index: usize) -> u64 {
        index as u64 * u64::from(self.workers) + u64::from(self.worker)
    }

    /// The index of the run's connection `number`, if it is this worker's.
    pub(super) fn index_of(&self, number: u64) -> Option<u32> {
        let is_ours =
            number < self.connections() && number % u64::from(self.workers) == u64::from(self.worker);
        is_ours.then(|| (number / u64::from(self.workers)) as u32)
    }

    pub(super) fn start_due_ns(&self, index: usize) -> u64 {
        // A profile's full rate is sent from the start.
        if self.scenario.profile().is_some() {
            return 0;
        }
        let due = self.scenario.phases.ramp.rate.due(self.number(index));
        u64::try_from(due.as_nanos()).unwrap_or(u64::MAX)
    }

    pub(super) fn target(&self, index: usize) -> SocketAddr {
        self.targets[(self.number(index) % self.targets.len() as u64) as usize]
    }

    /// Sources advance once per turn of the targets, so that each target sees all of them.
    pub(super) fn source(&self, index: usize) -> Option<IpAddr> {
        let turn = self.number(index) / self.targets.len() as u64;
        let index = turn.checked_rem(self.sources.len() as u64)?;
        self.sources.get(index as usize).copied()
    }

    pub(super) fn payload(&self) -> &[u8] {
        self.scenario.messages.payload.bytes()
    }

    /// What an answer begins with, if that is not an echo.
    pub(super) fn answer(&self) -> Option<&[u8]> {
        self.scenario.messages.answer.as_ref().map(scenario::Payload::bytes)
    }

    pub(super) fn message_timeout_ms(&self) -> u32 {
        at_least_one_ms(self.scenario.message_timeout())
    }

    pub(super) fn connect_timeout_ms(&self) -> u32 {
        at_least_one_ms(self.scenario.connect_timeout)
    }

    /// Delay and jitter before an ended connection reconnects; `None`: it does not. `before`: consecutive failed
    /// attempts. `hint`: the server's request.
    pub(super) fn come_back_ms(&self, index: usize, before: u8, hint: Option<Hint>) -> Option<(u32, u32)> {
        let (delay, jitter) = self.come_back()?.after(u32::from(before));
        if before == 0 && self.scenario.reconnect.is_at_once(self.number(index)) {
            return Some((0, 0));
        }
        Some(match hint {
            None => (in_ms(delay), in_ms(jitter)),
            Some(Hint { after, is_for_all: true }) => (in_ms(after), in_ms(jitter)),
            Some(Hint { after, is_for_all: false }) => (in_ms(after), 0),
        })
    }

    /// The shortest time after which a connection reconnects.
    pub(super) fn come_back_after_ms(&self) -> u32 {
        self.come_back().map_or(0, |plan| in_ms(plan.delay))
    }

    fn come_back(&self) -> Option<Plan> {
        self.scenario.reconnect.plan(self.scenario.protocol)
    }

    /// How long after the close to wait for outstanding answers: longer than an answer takes, but short enough for a
    /// load to end on time.
    pub(super) fn settle_ms(&self) -> u32 {
        let longest = match self.scenario.protocol {
            Protocol::Tcp | Protocol::Ws | Protocol::Sse => 500,
            // Messages unanswered by then are lost; the usual time-out reports them.
            Protocol::Udp => 1_000,
        };
        // Time-outs are detected slightly late.
        (self.message_timeout_ms() + 2 * self.sweep_ms()).min(longest)
    }

    /// Interval between sweeps: a fraction of the shorter time-out, so that a time-out is at most that much late.
    pub(super) fn sweep_ms(&self) -> u32 {
        (self.message_timeout_ms().min(self.connect_timeout_ms()) / 16).clamp(5, 250)
    }

    fn every_ns(&self) -> Option<u64> {
        self.scenario.every().map(|every| every.as_nanos() as u64)
    }

    /// When message `sequence` of a connection whose first was due at `base_ms` is due. Multiplies each time, so that
    /// rounding errors of fractional intervals do not add up.
    pub(super) fn message_due_ms(&self, base_ms: u32, sequence: u32) -> Option<u32> {
        let offset = u64::from(sequence).saturating_mul(self.every_ns()?);
        Some(base_ms.saturating_add(crate::clock::ceil_ms(offset)))
    }

    /// How many messages of such a connection are due before `ms`.
    pub(super) fn messages_due(&self, base_ms: u32, ms: u32) -> u64 {
        match self.every_ns() {
            Some(every_ns) if every_ns > 0 && ms > base_ms => {
                u64::from(ms - base_ms - 1) * crate::clock::MS / every_ns + 1
            }
            _ => 0,
        }
    }
}

fn in_ms(duration: Duration) -> u32 {
    u32::try_from(whole_ms(duration)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use scenario::{Every, Scenario};

    use super::*;

    fn spec(connections: u64, worker: u32, workers: u32) -> Spec {
        let mut scenario = Scenario::default();
        scenario.phases.ramp.connections = connections;
        scenario.messages.every = Some(Every::Interval(Duration::from_micros(1_500)));
        Spec {
            origin_ns: 0,
            worker,
            workers,
            scenario,
            targets: vec!["127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()],
            sources: vec!["127.1.0.1".parse().unwrap(), "127.1.0.2".parse().unwrap()],
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
                    (0..spec.share())
                        .map(move |index| {
                            assert_eq!(spec.index_of(spec.number(index)), Some(index as u32));
                            spec.number(index)
                        })
                        .collect::<Vec<_>>()
                })
                .collect();
            numbers.sort_unstable();
            assert_eq!(numbers, (0..connections).collect::<Vec<_>>());
        }
        assert_eq!((spec(10, 0, 3).index_of(1), spec(10, 0, 3).index_of(12)), (None, None));
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
    fn messages_due_before_a_moment_are_counted() {
        let spec = spec(1, 0, 1);
        for ms in 0..100 {
            let listed = (0..100).filter(|sequence| spec.message_due_ms(10, *sequence).unwrap() < ms).count();
            assert_eq!(spec.messages_due(10, ms), listed as u64, "before {ms}");
        }
    }

    #[test]
    fn a_specification_survives_serialization() {
        let spec = spec(10, 1, 2);
        let text = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<Spec>(&text).unwrap(), spec);
    }
}
