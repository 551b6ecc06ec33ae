//! Keys and their values, with expiry and a bound on memory. The caller passes the time.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::ops::Bound;
use std::time::{Duration, Instant};

use super::transaction::Watches;

/// Overhead of a key in addition to its bytes and its value's.
const OVERHEAD: usize = 160;

/// A key's position: keys are ordered by their hash, so that a scan's cursor stays valid whatever is added or removed
/// meanwhile.
type Place = (u64, Box<[u8]>);

#[derive(Debug)]
struct Item {
    value: Box<[u8]>,
    /// `None`: never.
    expires: Option<Instant>,
}

/// Remaining time to live of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// There is no such key.
    None,
    Forever,
    Lasts(Duration),
}

/// There is no room for the value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

#[derive(Debug)]
pub(super) struct Store {
    bytes_max: usize,
    bytes: usize,
    hasher: RandomState,
    items: BTreeMap<Place, Item>,
    /// Keys that expire, the soonest first.
    expiring: BTreeSet<(Instant, Place)>,
    pub(super) watches: Watches,
}

impl Store {
    pub(super) fn new(bytes_max: usize) -> Self {
        let hasher = RandomState::new();
        Self {
            bytes_max,
            bytes: 0,
            hasher,
            items: BTreeMap::new(),
            expiring: BTreeSet::new(),
            watches: Watches::default(),
        }
    }

    /// Never 0: that is where a scan begins and ends.
    fn place(&self, key: &[u8]) -> Place {
        (self.hasher.hash_one(key).max(1), key.into())
    }

    /// Removes expired keys. Every other call only sees the rest.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((at, _)) = self.expiring.first()
            && *at <= now
        {
            if let Some((_, place)) = self.expiring.pop_first()
                && let Some(item) = self.items.remove(&place)
            {
                self.bytes -= cost(&place.1, &item.value);
                self.watches.touch(&place.1);
            }
        }
    }

    #[cfg(feature = "fuzzing")]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.items.get(&self.place(key)).map(|item| &*item.value)
    }

    pub(super) fn put(&mut self, key: &[u8], value: &[u8], expires: Option<Instant>) -> Result<(), Full> {
        let before = self.get(key).map_or(0, |value| cost(key, value));
        let bytes = self.bytes - before + cost(key, value);
        if bytes > self.bytes_max {
            return Err(Full);
        }
        self.remove(key);
        self.watches.touch(key);
        self.bytes = bytes;
        let place = self.place(key);
        if let Some(at) = expires {
            self.expiring.insert((at, place.clone()));
        }
        self.items.insert(place, Item { value: value.into(), expires });
        Ok(())
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> bool {
        let place = self.place(key);
        let Some(item) = self.items.remove(&place) else { return false };
        self.bytes -= cost(key, &item.value);
        if let Some(at) = item.expires {
            self.expiring.remove(&(at, place));
        }
        self.watches.touch(key);
        true
    }

    /// Sets when a key expires; returns whether it exists.
    pub(super) fn expire_at(&mut self, key: &[u8], at: Instant) -> bool {
        let place = self.place(key);
        let Some(item) = self.items.get_mut(&place) else { return false };
        if let Some(before) = item.expires.replace(at) {
            self.expiring.remove(&(before, place.clone()));
        }
        self.expiring.insert((at, place));
        self.watches.touch(key);
        true
    }

    pub(super) fn life(&self, key: &[u8], now: Instant) -> Life {
        match self.items.get(&self.place(key)).map(|item| item.expires) {
            None => Life::None,
            Some(None) => Life::Forever,
            Some(Some(at)) => Life::Lasts(at.saturating_duration_since(now)),
        }
    }

    /// About `count` keys from a cursor on, and the next cursor; 0 at the end.
    pub(super) fn scan(&self, cursor: u64, count: usize) -> (u64, Vec<&[u8]>) {
        let from = (cursor, Box::default());
        let mut keys = Vec::new();
        let mut last = 0;
        for ((hash, key), _) in self.items.range((Bound::Included(from), Bound::Unbounded)) {
            // Keys with the same hash stay together: a cursor cannot point between them.
            if keys.len() >= count && *hash != last {
                return (*hash, keys);
            }
            last = *hash;
            keys.push(&**key);
        }
        (0, keys)
    }

    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.expiring.clear();
        self.watches.touch_all();
        self.bytes = 0;
    }
}

fn cost(key: &[u8], value: &[u8]) -> usize {
    // An expiring key is stored twice.
    2 * key.len() + value.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_new_value_replaces_an_expired_one_and_its_expiry() {
        let (mut store, start) = (Store::new(1 << 20), clock::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        store.put(b"a", b"1", Some(at(1))).unwrap();
        store.put(b"b", b"2", Some(at(1))).unwrap();
        store.put(b"a", b"3", None).unwrap();
        store.put(b"c", b"4", Some(at(5))).unwrap();
        assert!(store.expire_at(b"c", at(2)) && !store.expire_at(b"d", at(2)));
        assert_eq!(store.life(b"c", at(1)), Life::Lasts(Duration::from_secs(1)));
        store.expire(at(1));
        assert_eq!((store.get(b"a"), store.get(b"b"), store.len()), (Some(&b"3"[..]), None, 2));
        assert_eq!((store.life(b"a", at(1)), store.life(b"b", at(1))), (Life::Forever, Life::None));
        store.expire(at(9));
        assert_eq!(store.len(), 1);
        assert!(store.remove(b"a") && !store.remove(b"a"));
        assert_eq!((store.bytes, store.expiring.len()), (0, 0));
    }

    #[test]
    fn a_full_store_loses_nothing() {
        let mut store = Store::new(3 * OVERHEAD);
        store.put(b"a", b"1", None).unwrap();
        store.put(b"b", b"2", None).unwrap();
        assert_eq!(store.put(b"a", &[0; 200], None), Err(Full));
        assert_eq!(store.get(b"a"), Some(&b"1"[..]));
        store.put(b"a", &[0; 100], None).unwrap();
    }

    proptest! {
        #[test]
        fn a_scan_returns_every_key_that_was_there_throughout(
            keys in proptest::collection::btree_set("[a-z]{1,4}", 0..60),
            gone in proptest::collection::vec(any::<bool>(), 60),
            count in 1usize..20,
        ) {
            let mut store = Store::new(1 << 20);
            for key in &keys {
                store.put(key.as_bytes(), b"", None).unwrap();
            }
            let leaving: Vec<&String> = keys.iter().zip(gone).filter(|(_, gone)| *gone).map(|(key, _)| key).collect();
            let mut leaving_next = leaving.iter();
            let (mut cursor, mut seen) = (0, BTreeSet::new());
            loop {
                let (next, found) = store.scan(cursor, count);
                for key in found {
                    prop_assert!(seen.insert(key.to_vec()), "a key came twice");
                }
                if next == 0 {
                    break;
                }
                cursor = next;
                if let Some(key) = leaving_next.next() {
                    store.remove(key.as_bytes());
                }
            }
            for key in keys.iter().filter(|key| !leaving.contains(key)) {
                prop_assert!(seen.contains(key.as_bytes()), "{key} is missing");
            }
            let bytes: usize = store.items.iter().map(|((_, key), item)| cost(key, &item.value)).sum();
            prop_assert_eq!(store.bytes, bytes);
        }
    }
}
