//! A hashed timing wheel of 1 ms: which connections have something due, and when the next one has.
//!
//! Every connection is in the wheel at most once (its next message, or its return), so the wheel takes eight bytes
//! per connection and no kernel timer. Entries are never removed: an entry that fires is ignored if
//! its tick is no longer the one that its connection waits for.

/// Number of slots, and so milliseconds per turn. Entries more than a turn ahead are checked once per turn.
const SLOTS: u32 = 4096;
const WORDS: usize = SLOTS as usize / 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) connection: u32,
    /// In milliseconds since the run began.
    pub(crate) tick: u32,
}

#[derive(Debug)]
pub(crate) struct Wheel {
    slots: Vec<Vec<Entry>>,
    /// One bit per occupied slot.
    occupied: [u64; WORDS],
    /// The next tick to fire; all earlier ones have fired.
    next: u32,
}

impl Wheel {
    pub(crate) fn new() -> Self {
        Self { slots: vec![Vec::new(); SLOTS as usize], occupied: [0; WORDS], next: 0 }
    }

    /// Schedules `connection` for `tick`, or for the next advance if that has passed. Returns the tick that the entry
    /// will carry.
    pub(crate) fn insert(&mut self, connection: u32, tick: u32) -> u32 {
        let tick = tick.max(self.next);
        let slot = (tick % SLOTS) as usize;
        self.slots[slot].push(Entry { connection, tick });
        self.occupied[slot / 64] |= 1 << (slot % 64);
        tick
    }

    /// Moves everything due up to and including `tick` to `fired`, in the order of ticks.
    pub(crate) fn advance(&mut self, tick: u32, fired: &mut Vec<Entry>) {
        if tick < self.next {
            return;
        }
        let turns = (tick - self.next).min(SLOTS - 1);
        for offset in 0..=turns {
            let slot = (self.next.wrapping_add(offset) % SLOTS) as usize;
            if self.occupied[slot / 64] & (1 << (slot % 64)) == 0 {
                continue;
            }
            let entries = &mut self.slots[slot];
            entries.retain(|entry| {
                let due = entry.tick <= tick;
                if due {
                    fired.push(*entry);
                }
                !due
            });
            if entries.is_empty() {
                self.occupied[slot / 64] &= !(1 << (slot % 64));
            }
        }
        self.next = tick.saturating_add(1);
    }

    /// A tick at which to check again: the next occupied slot's. Never later than the next entry's tick.
    pub(crate) fn next_due(&self) -> Option<u32> {
        let start = (self.next % SLOTS) as usize;
        let (first_word, first_bit) = (start / 64, start % 64);
        for step in 0..=WORDS {
            let word = (first_word + step) % WORDS;
            let mut bits = self.occupied[word];
            if step == 0 {
                bits &= !0 << first_bit;
            } else if step == WORDS {
                bits &= !(!0 << first_bit);
            }
            if bits != 0 {
                let slot = word as u32 * 64 + bits.trailing_zeros();
                let ahead = (slot + SLOTS - start as u32) % SLOTS;
                return Some(self.next.saturating_add(ahead));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fire(wheel: &mut Wheel, tick: u32) -> Vec<(u32, u32)> {
        let mut fired = Vec::new();
        wheel.advance(tick, &mut fired);
        fired.iter().map(|entry| (entry.connection, entry.tick)).collect()
    }

    #[test]
    fn fires_at_the_tick_and_not_before() {
        let mut wheel = Wheel::new();
        wheel.insert(7, 10);
        assert_eq!(wheel.next_due(), Some(10));
        assert_eq!(fire(&mut wheel, 9), []);
        assert_eq!(fire(&mut wheel, 10), [(7, 10)]);
        assert_eq!(wheel.next_due(), None);
    }

    #[test]
    fn past_timers_fire_with_the_next_advance() {
        let mut wheel = Wheel::new();
        assert_eq!(fire(&mut wheel, 100), []);
        assert_eq!(wheel.insert(1, 50), 101);
        assert_eq!(fire(&mut wheel, 100), []);
        assert_eq!(fire(&mut wheel, 101), [(1, 101)]);
    }

    #[test]
    fn an_entry_several_rotations_ahead_waits() {
        let mut wheel = Wheel::new();
        wheel.insert(1, 3 * SLOTS + 5);
        wheel.insert(2, 5);
        assert_eq!(fire(&mut wheel, 6), [(2, 5)]);
        assert_eq!(wheel.next_due(), Some(SLOTS + 5));
        assert_eq!(fire(&mut wheel, 3 * SLOTS + 4), []);
        assert_eq!(fire(&mut wheel, 3 * SLOTS + 5), [(1, 3 * SLOTS + 5)]);
    }

    proptest! {
        /// Whatever the steps, everything fires exactly once, in the first advance that reaches its tick, and
        /// `next_due` never oversleeps.
        #[test]
        fn agrees_with_a_sorted_list(
            ticks in prop::collection::vec(0u32..20_000, 1..200),
            steps in prop::collection::vec(1u32..6_000, 1..40),
        ) {
            let mut wheel = Wheel::new();
            let mut waiting: Vec<(u32, u32)> = Vec::new();
            for (connection, tick) in ticks.iter().enumerate() {
                waiting.push((wheel.insert(connection as u32, *tick), connection as u32));
            }
            let mut now = 0;
            for step in steps {
                if let Some(first) = waiting.iter().map(|(tick, _)| *tick).min() {
                    let next = wheel.next_due();
                    prop_assert!(next.is_some_and(|next| next <= first), "{next:?} after {first}");
                }
                now += step;
                let mut fired: Vec<_> = fire(&mut wheel, now).iter().map(|(c, t)| (*t, *c)).collect();
                let mut expected: Vec<_> = waiting.iter().copied().filter(|(tick, _)| *tick <= now).collect();
                waiting.retain(|(tick, _)| *tick > now);
                fired.sort_unstable();
                expected.sort_unstable();
                prop_assert_eq!(fired, expected);
            }
        }
    }
}
