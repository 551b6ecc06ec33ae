//! The progress of each partition.
//!
//! Bulks are acknowledged in any order, but an offset may be committed only when no earlier record is outstanding.
//! Records of a partition come in order and go into bulks in order, so a bulk holds one run of records per partition.
//! It is enough to remember where each run ends, for every unacknowledged bulk.
//!
//! A revoked partition is forgotten at once. Its next owner starts from the committed offset and consumes again what
//! was in flight.

use std::collections::{BTreeMap, VecDeque};

/// Numbers bulks in the order of filling.
pub(crate) type BulkNumber = u64;

/// The end of one bulk's run of records.
#[derive(Debug)]
struct Run {
    bulk: BulkNumber,
    /// The offset after its last record.
    next: i64,
    done: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    partitions: BTreeMap<i32, VecDeque<Run>>,
}

impl Progress {
    /// Notes that a partition was assigned to us.
    pub(crate) fn assigned(&mut self, partition: i32) {
        self.partitions.insert(partition, VecDeque::new());
    }

    /// Notes that a partition was revoked.
    pub(crate) fn revoked(&mut self, partition: i32) {
        self.partitions.remove(&partition);
    }

    /// Notes that a record was put into a bulk. Bulks are filled one after another, with ascending numbers.
    pub(crate) fn taken(&mut self, bulk: BulkNumber, partition: i32, offset: i64) {
        let Some(runs) = self.partitions.get_mut(&partition) else {
            return;
        };
        match runs.back_mut() {
            Some(last) if last.bulk == bulk => last.next = offset + 1,
            _ => runs.push_back(Run { bulk, next: offset + 1, done: false }),
        }
    }

    /// Notes that a bulk was acknowledged. Returns the partitions that can commit more, each with the offset to commit:
    /// the first record that is not done.
    pub(crate) fn acknowledged(&mut self, bulk: BulkNumber) -> Vec<(i32, i64)> {
        let mut advanced = Vec::new();
        for (partition, runs) in &mut self.partitions {
            let Ok(place) = runs.binary_search_by_key(&bulk, |run| run.bulk) else {
                continue;
            };
            runs[place].done = true;
            let mut next = None;
            while runs.front().is_some_and(|run| run.done) {
                next = runs.pop_front().map(|run| run.next);
            }
            advanced.extend(next.map(|next| (*partition, next)));
        }
        advanced
    }

    /// Our partitions.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = i32> {
        self.partitions.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_acknowledgement_out_of_order_waits_for_earlier_ones() {
        let mut progress = Progress::default();
        progress.assigned(0);
        progress.assigned(1);
        progress.taken(1, 0, 10);
        progress.taken(1, 0, 12);
        progress.taken(2, 0, 13);
        progress.taken(2, 1, 7);
        assert_eq!(progress.acknowledged(2), [(1, 8)]);
        assert_eq!(progress.acknowledged(1), [(0, 14)]);
        assert_eq!(progress.acknowledged(1), []);
    }

    #[test]
    fn a_returning_partition_forgets_outstanding_records() {
        let mut progress = Progress::default();
        progress.assigned(0);
        progress.taken(1, 0, 10);
        progress.taken(2, 0, 11);
        progress.revoked(0);
        progress.taken(2, 0, 12);
        progress.assigned(0);
        assert_eq!(progress.acknowledged(1), []);
        // The committed offset was 10: consumed again, into the bulk that is still open.
        progress.taken(2, 0, 10);
        assert_eq!(progress.acknowledged(2), [(0, 11)]);
    }

    proptest! {
        /// In any order of acknowledgements, commits never pass an outstanding record and reach the end.
        #[test]
        fn commits_never_pass_an_outstanding_record(
            records in prop::collection::vec((0i32..3, 0u64..3), 1..200),
            order in any::<prop::sample::Index>(),
            seed in any::<u64>(),
        ) {
            let mut progress = Progress::default();
            (0..3).for_each(|partition| progress.assigned(partition));
            let (mut bulk, mut offsets) = (0, [0i64; 3]);
            let mut outstanding = BTreeMap::<i32, BTreeMap<i64, u64>>::new();
            for (partition, step) in records {
                bulk += u64::from(step == 0);
                let offset = &mut offsets[partition as usize];
                progress.taken(bulk, partition, *offset);
                outstanding.entry(partition).or_default().insert(*offset, bulk);
                *offset += 1 + step as i64;
            }
            let mut bulks: Vec<u64> = (0..=bulk).collect();
            let start = order.index(bulks.len());
            bulks.rotate_left(start);
            if seed % 2 == 0 {
                bulks.reverse();
            }
            let mut committed = BTreeMap::new();
            let mut done = BTreeSet::new();
            for bulk in bulks {
                done.insert(bulk);
                for (partition, next) in progress.acknowledged(bulk) {
                    prop_assert!(committed.insert(partition, next).is_none_or(|before| before < next));
                    let before = outstanding[&partition].range(..next);
                    prop_assert!(before.into_iter().all(|(_, bulk)| done.contains(bulk)));
                }
            }
            for (partition, records) in &outstanding {
                let last = records.keys().next_back().copied();
                prop_assert_eq!(committed.get(partition).copied(), last.map(|last| last + 1));
            }
        }
    }
}
