//! The number of a new replica: the lowest that is neither in use nor at rest.

use std::{collections::BTreeMap, time::Duration};

use crate::Time;

/// How long the ordinal of a removed replica is not reused, since its address comes with it: connections in TIME-WAIT,
/// clients and graphs would confuse the two.
const REST: Duration = Duration::from_mins(5);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ordinals {
    /// How many there are.
    count: u16,
    /// `None`: in use; otherwise when it was returned.
    taken: BTreeMap<u16, Option<Time>>,
}

impl Ordinals {
    pub(crate) fn new(count: u16) -> Self {
        Self { count, taken: BTreeMap::new() }
    }

    /// `None`: every ordinal is in use. If all free ones are at rest, takes the one that has rested longest.
    pub(crate) fn take(&mut self, now: Time) -> Option<u16> {
        self.taken.retain(|_, released| released.is_none_or(|at| now.since(at) < REST));
        let free = (0..self.count).find(|ordinal| !self.taken.contains_key(ordinal));
        let ordinal = free.or_else(|| {
            let resting = self.taken.iter().filter_map(|(ordinal, at)| at.map(|at| (at, *ordinal)));
            resting.min().map(|(_, ordinal)| ordinal)
        })?;
        self.taken.insert(ordinal, None);
        Some(ordinal)
    }

    pub(crate) fn give_back(&mut self, ordinal: u16, now: Time) {
        self.taken.insert(ordinal, Some(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn an_ordinal_rests_five_minutes() {
        let mut ordinals = Ordinals::new(254);
        assert_eq!(ordinals.take(seconds(0)), Some(0));
        assert_eq!(ordinals.take(seconds(0)), Some(1));
        ordinals.give_back(1, seconds(10));
        assert_eq!(ordinals.take(seconds(11)), Some(2));
        assert_eq!(ordinals.take(seconds(309)), Some(3));
        assert_eq!(ordinals.take(seconds(310)), Some(1));
    }

    #[test]
    fn the_longest_rested_ordinal_is_used_when_all_rest() {
        let mut ordinals = Ordinals::new(12);
        for expected in 0..12 {
            assert_eq!(ordinals.take(seconds(0)), Some(expected));
        }
        assert_eq!(ordinals.take(seconds(0)), None);
        ordinals.give_back(9, seconds(2));
        ordinals.give_back(7, seconds(1));
        assert_eq!(ordinals.take(seconds(3)), Some(7));
    }
}
