//! Items by key, with expiry and a bound on memory. The clock is the caller's.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Largest value, as in memcached.
pub(super) const VALUE_MAX: usize = 1024 * 1024;
/// Longest key, as in memcached.
pub(super) const KEY_MAX: usize = 250;
/// What an item costs beside its key (twice) and its value.
const OVERHEAD: usize = 160;
/// Times above that are absolute, as in memcached.
const RELATIVE_MAX: i64 = 60 * 60 * 24 * 30;

#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) value: Vec<u8>,
    pub(super) flags: u32,
    pub(super) cas: u64,
    /// `None`: never.
    pub(super) expires: Option<Instant>,
    pub(super) accessed: Instant,
    /// Was read since it was stored.
    pub(super) fetched: bool,
    /// Marked as out of date; the first reader is told to renew it.
    pub(super) stale: bool,
    /// A reader has been told to renew it.
    pub(super) won: bool,
    /// Place in the order of use.
    used: u64,
}

#[derive(Debug)]
pub(super) struct Store {
    items: HashMap<Vec<u8>, Item>,
    /// Keys from the least to the most recently used.
    order: BTreeMap<u64, Vec<u8>>,
    bytes: usize,
    bytes_max: usize,
    uses: u64,
    last_cas: u64,
    pub(super) counts: Counts,
}

/// For `stats`.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    pub(super) connections: u64,
    pub(super) connections_total: u64,
    pub(super) gets: u64,
    pub(super) hits: u64,
    pub(super) sets: u64,
    pub(super) evictions: u64,
}

impl Store {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            items: HashMap::new(),
            order: BTreeMap::new(),
            bytes: 0,
            bytes_max,
            uses: 0,
            last_cas: 0,
            counts: Counts::default(),
        }
    }

    /// The item, unless it has expired.
    pub(super) fn get(&mut self, key: &[u8], now: Instant) -> Option<&mut Item> {
        if self.items.get(key)?.expires.is_some_and(|at| at <= now) {
            self.remove(key);
            return None;
        }
        self.items.get_mut(key)
    }

    /// Notes a use: the item is now the last to be evicted.
    pub(super) fn touch(&mut self, key: &[u8], now: Instant) {
        let Some(item) = self.items.get_mut(key) else {
            return;
        };
        self.uses += 1;
        if let Some(key) = self.order.remove(&item.used) {
            self.order.insert(self.uses, key);
        }
        (item.used, item.accessed, item.fetched) = (self.uses, now, true);
    }

    /// Stores a new item in the place of any old one, evicting others if need be; returns its CAS.
    pub(super) fn put(
        &mut self,
        key: &[u8],
        value: Vec<u8>,
        flags: u32,
        expires: Option<Instant>,
        now: Instant,
    ) -> u64 {
        self.remove(key);
        let cas = self.next_cas();
        self.uses += 1;
        self.bytes += cost(key, &value);
        self.order.insert(self.uses, key.to_owned());
        let item = Item {
            value,
            flags,
            cas,
            expires,
            accessed: now,
            fetched: false,
            stale: false,
            won: false,
            used: self.uses,
        };
        self.items.insert(key.to_owned(), item);
        while self.bytes > self.bytes_max {
            let Some((_, oldest)) = self.order.first_key_value() else {
                break;
            };
            let oldest = oldest.clone();
            self.remove(&oldest);
            self.counts.evictions += 1;
        }
        cas
    }

    /// Replaces the value alone: flags and expiry stay. Returns the new CAS.
    pub(super) fn change(&mut self, key: &[u8], value: Vec<u8>) -> u64 {
        let cas = self.next_cas();
        if let Some(item) = self.items.get_mut(key) {
            self.bytes = self.bytes + value.len() - item.value.len();
            (item.value, item.cas) = (value, cas);
        }
        cas
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> bool {
        let Some(item) = self.items.remove(key) else {
            return false;
        };
        self.order.remove(&item.used);
        self.bytes -= cost(key, &item.value);
        true
    }

    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.order.clear();
        self.bytes = 0;
    }

    /// From now on everything expires at `at` at the latest (`flush_all` with a delay).
    pub(super) fn expire_all(&mut self, at: Instant) {
        for item in self.items.values_mut() {
            item.expires = Some(item.expires.map_or(at, |expires| expires.min(at)));
        }
    }

    pub(super) fn next_cas(&mut self) -> u64 {
        self.last_cas += 1;
        self.last_cas
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn bytes_max(&self) -> usize {
        self.bytes_max
    }
}

fn cost(key: &[u8], value: &[u8]) -> usize {
    2 * key.len() + value.len() + OVERHEAD
}

/// When something expires that is given `time` as memcached understands it: 0 never, up to 30 days from now, above
/// that a Unix time, below 0 at once.
pub(super) fn expiry(time: i64, now: Instant) -> Option<Instant> {
    let seconds = match time {
        0 => return None,
        ..0 => 0,
        1..=RELATIVE_MAX => time.unsigned_abs(),
        _ => {
            let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            time.unsigned_abs().saturating_sub(unix)
        }
    };
    // Beyond what an Instant can hold is never.
    now.checked_add(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn items_expire() {
        let now = Instant::now();
        let mut store = Store::new(BYTES);
        store.put(b"a", b"1".to_vec(), 0, expiry(10, now), now);
        store.put(b"b", b"2".to_vec(), 0, expiry(0, now), now);
        store.put(b"c", b"3".to_vec(), 0, expiry(-1, now), now);
        assert!(store.get(b"c", now).is_none());
        let later = now + Duration::from_secs(10);
        assert!(store.get(b"a", now + Duration::from_millis(9999)).is_some());
        assert!(store.get(b"a", later).is_none() && store.get(b"b", later).is_some());
        store.expire_all(later);
        assert!(store.get(b"b", later).is_none());
        assert_eq!((store.len(), store.bytes()), (0, 0));
    }

    const BYTES: usize = 10_000;

    #[test]
    fn the_least_recently_used_goes_first() {
        let now = Instant::now();
        let mut store = Store::new(3 * cost(b"a", b"1"));
        for key in [b"a", b"b", b"c"] {
            store.put(key, b"1".to_vec(), 0, None, now);
        }
        store.touch(b"a", now);
        store.put(b"d", b"1".to_vec(), 0, None, now);
        assert!(store.get(b"b", now).is_none());
        assert!(
            store.get(b"a", now).is_some()
                && store.get(b"c", now).is_some()
                && store.get(b"d", now).is_some()
        );
        assert_eq!(store.counts.evictions, 1);
    }

    proptest! {
        #[test]
        fn memory_is_accounted_for_and_bounded(
            steps in proptest::collection::vec((0_u8..4, 0_u8..20, 0_usize..2000), 0..300),
        ) {
            let now = Instant::now();
            let mut store = Store::new(BYTES);
            for (what, key, size) in steps {
                let key = [key];
                match what {
                    0 | 1 => { store.put(&key, vec![0; size], 0, None, now); }
                    2 => { store.remove(&key); }
                    _ => store.touch(&key, now),
                }
                prop_assert!(store.bytes <= BYTES);
                let real: usize = store.items.iter().map(|(key, item)| cost(key, &item.value)).sum();
                prop_assert_eq!(store.bytes, real);
                prop_assert_eq!(store.items.len(), store.order.len());
            }
        }
    }
}
