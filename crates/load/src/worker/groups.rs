//! Users who join and leave in groups.

use super::{
    Join, Leave, Report, Spec, Stream, Worker,
    connection::{Connection, State},
};

/// This worker's groups, in order.
#[derive(Debug, Default)]
pub(super) struct Joining {
    groups: Vec<Group>,
}

/// This worker's connections of a group, by index.
#[derive(Debug)]
struct Group {
    join: Join,
    /// Time since the run started.
    begins_ns: u64,
    first: usize,
    next: usize,
    end: usize,
    /// Connections whose first attempt is undecided, or not yet made.
    undecided: usize,
}

impl Group {
    fn due_ns(&self, spec: &Spec) -> Option<u64> {
        if self.next >= self.end {
            return None;
        }
        let turn = spec.number(self.next).saturating_sub(self.join.first);
        let after = self.join.rate.map(|rate| rate.due(turn).as_nanos());
        Some(self.begins_ns.saturating_add(after.map_or(0, |ns| u64::try_from(ns).unwrap_or(u64::MAX))))
    }
}

impl Joining {
    /// Returns whether any of them is this worker's.
    fn begin(&mut self, spec: &Spec, now_ns: u64, join: Join) -> bool {
        let share = spec.share();
        let first = spec.first_index_from(join.first).min(share);
        let end = spec.first_index_from(join.first.saturating_add(join.users)).min(share);
        if first >= end {
            return false;
        }
        self.groups.push(Group { join, begins_ns: now_ns, first, next: first, end, undecided: end - first });
        true
    }

    /// A connection that is due to start.
    pub(super) fn take_due(&mut self, spec: &Spec, now_ns: u64) -> Option<u32> {
        let is_due = |group: &&mut Group| group.due_ns(spec).is_some_and(|due_ns| due_ns <= now_ns);
        let group = self.groups.iter_mut().find(is_due)?;
        group.next += 1;
        Some((group.next - 1) as u32)
    }

    pub(super) fn next_due_ns(&self, spec: &Spec) -> Option<u64> {
        self.groups.iter().filter_map(|group| group.due_ns(spec)).min()
    }

    /// Connections from this one on were never started.
    pub(super) fn reached(&self) -> usize {
        self.groups.iter().map(|group| group.next).max().unwrap_or(0)
    }

    /// The first attempt of a connection has ended. Returns the group if that was its last one.
    fn decided(&mut self, index: usize) -> Option<u32> {
        let group = self.groups.iter_mut().find(|group| (group.first..group.end).contains(&index))?;
        group.undecided -= 1;
        (group.undecided == 0).then_some(group.join.id)
    }
}

impl Worker<Stream> {
    /// Reports the current state, on which a later command relies.
    pub(super) fn muster(&mut self, id: u32) {
        self.reports.progress(&mut self.tally, false);
        self.reports.send(Report::Mustered { id });
    }

    pub(super) fn join(&mut self, join: Join) {
        let (id, now_ns) = (join.id, self.clock.now_ns());
        if !self.joining.begin(&self.spec, now_ns, join) {
            self.reports.send(Report::Joined { id });
        }
    }

    /// The first attempt of a connection has ended, with any outcome.
    pub(super) fn decided(&mut self, index: u32) {
        let connection = &mut self.transport.connections[index as usize];
        if std::mem::replace(&mut connection.resolved, true) {
            return;
        }
        if (index as usize) < self.count {
            self.transport.undecided -= 1;
        } else if let Some(id) = self.joining.decided(index as usize) {
            self.transport.joined.push(id);
        }
    }

    /// Reports groups that have all arrived. Separate from [`Self::decided`], so that their connections are counted by
    /// then.
    pub(super) fn tell_joined(&mut self) {
        for id in std::mem::take(&mut self.transport.joined) {
            self.reports.progress(&mut self.tally, false);
            self.reports.send(Report::Joined { id });
        }
    }

    pub(super) fn leave(&mut self, leave: &Leave) {
        let of: Option<Vec<u16>> =
            leave.of.as_ref().map(|of| of.iter().filter_map(|own| self.tally.index_of(own)).collect());
        let is_meant = |connection: &Connection| match &of {
            Some(of) => connection.is_open() && of.contains(&connection.replica),
            None => connection.state != State::Absent,
        };
        let share = leave.shares.get(self.spec.worker as usize).copied().unwrap_or(0);
        let connections = self.transport.connections.iter().enumerate();
        let meant = connections.filter(|(_, connection)| !connection.leaving && is_meant(connection));
        let leaving: Vec<u32> =
            meant.map(|(index, _)| index as u32).take(usize::try_from(share).unwrap_or(usize::MAX)).collect();
        for index in &leaving {
            self.send_away(*index);
        }
        self.reports.send(Report::Left { id: leave.id, left: leaving.len() as u64 });
    }

    /// Ends a connection for good, once its outstanding message is answered.
    fn send_away(&mut self, index: u32) {
        self.transport.connections[index as usize].leaving = true;
        self.close(index, false);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use scenario::{Every, Scenario};

    use super::*;

    fn spec(worker: u32) -> Spec {
        let actions = "[{ at: 1s, do: join, users: 5 }, { at: 2s, do: join, users: 2 }]";
        let text = format!("name: x\nphases: {{ ramp: {{ connections: 4 }} }}\nactions: {actions}");
        let mut scenario = Scenario::parse(&text, "x").unwrap();
        scenario.messages.every = Some(Every::Interval(Duration::from_secs(1)));
        Spec {
            origin_ns: 0,
            worker,
            workers: 2,
            scenario,
            targets: vec!["127.0.0.1:1".parse().unwrap()],
            sources: Vec::new(),
            identify: false,
            trace: false,
            tick_ms: 1_000,
            seed: 1,
        }
    }

    fn taken(joining: &mut Joining, spec: &Spec, now_ns: u64) -> Vec<u64> {
        std::iter::from_fn(|| joining.take_due(spec, now_ns))
            .map(|index| spec.number(index as usize))
            .collect()
    }

    #[test]
    fn each_worker_starts_its_share_of_a_group_at_the_groups_rate() {
        let rate = Some("1ms".parse().unwrap());
        let mut all = Vec::new();
        for worker in 0..2 {
            let (spec, mut joining) = (spec(worker), Joining::default());
            assert_eq!((spec.share() as u64, spec.ramp_share()), (6 - u64::from(worker), 2));
            assert!(joining.begin(&spec, 1_000, Join { id: 0, first: 4, users: 5, rate }));
            assert!(joining.begin(&spec, 1_000, Join { id: 1, first: 9, users: 2, rate: None }));
            assert_eq!(joining.next_due_ns(&spec), Some(1_000));
            // From the first group the users who are due, and the whole second one.
            let now = taken(&mut joining, &spec, 2_001_000);
            assert_eq!(now, if worker == 0 { vec![4, 6, 10] } else { vec![5, 9] });
            all.extend(now);
            assert_eq!(joining.next_due_ns(&spec), Some(if worker == 0 { 4_001_000 } else { 3_001_000 }));
            all.extend(taken(&mut joining, &spec, u64::MAX));
            assert_eq!((joining.next_due_ns(&spec), joining.reached()), (None, spec.share()));
            let ends = (2..spec.share()).filter_map(|index| joining.decided(index)).collect::<Vec<_>>();
            assert_eq!(ends, [0, 1], "once all are decided");
        }
        all.sort_unstable();
        assert_eq!(all, (4..11).collect::<Vec<_>>());
        let (spec, mut joining) = (spec(1), Joining::default());
        assert!(
            !joining.begin(&spec, 0, Join { id: 0, first: 4, users: 1, rate: None }),
            "it is the other's"
        );
    }
}
