//! Items by key, with expiry and a bound on memory. The caller passes the time.

use std::time::{Duration, Instant};

use quick_cache::{Weighter, unsync::Cache};

/// Overhead of an item in addition to its key and value.
const OVERHEAD: usize = 128;
/// The expected size of an item, used to size the cache.
const ITEM_EXPECTED: u64 = 256;
/// Larger times are absolute, as in memcached.
const RELATIVE_MAX: i64 = 60 * 60 * 24 * 30;

#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) value: Box<[u8]>,
    pub(super) flags: u32,
    /// `None`: never.
    pub(super) expires: Option<Instant>,
    /// Changes with every storing; given by the store.
    pub(super) unique: u64,
}

impl Item {
    pub(super) fn new(value: &[u8], flags: u32, expires: Option<Instant>) -> Self {
        Self { value: value.into(), flags, expires, unique: 0 }
    }
}

#[derive(Debug, Clone)]
struct Bytes;

impl Weighter<Box<[u8]>, Item> for Bytes {
    fn weight(&self, key: &Box<[u8]>, item: &Item) -> u64 {
        (key.len() + item.value.len() + OVERHEAD) as u64
    }
}

/// At its limit, the least used items are evicted. An expired item is no longer found, and stays until it is requested
/// or evicted.
#[derive(Debug)]
pub(super) struct Store {
    items: Cache<Box<[u8]>, Item, Bytes>,
    /// Of the item stored last.
    unique: u64,
}

impl Store {
    pub(super) fn new(bytes_max: u64) -> Self {
        let items = Cache::with_weighter((bytes_max / ITEM_EXPECTED) as usize, bytes_max, Bytes);
        Self { items, unique: 0 }
    }

    /// The item, unless it has expired.
    pub(super) fn get(&mut self, key: &[u8], now: Instant) -> Option<&Item> {
        if self.items.peek(key)?.expires.is_some_and(|at| at <= now) {
            self.items.remove(key);
        }
        self.items.get(key)
    }

    pub(super) fn put(&mut self, key: &[u8], item: Item) {
        self.unique += 1;
        self.items.insert(key.into(), Item { unique: self.unique, ..item });
    }

    pub(super) fn remove(&mut self, key: &[u8], now: Instant) -> bool {
        self.get(key, now).is_some() && self.items.remove(key).is_some()
    }

    pub(super) fn clear(&mut self) {
        self.items.clear();
    }

    /// The number of items, their bytes, and the limit.
    pub(super) fn size(&self) -> (usize, u64, u64) {
        (self.items.len(), self.items.weight(), self.items.capacity())
    }
}

/// When something expires that has `time` in memcached's sense: 0 never, up to 30 days relative to now, above that a
/// Unix time, below 0 at once.
pub(super) fn expiry(time: i64, now: Instant) -> Option<Instant> {
    let seconds = match time {
        0 => return None,
        ..0 => 0,
        1..=RELATIVE_MAX => time.unsigned_abs(),
        _ => {
            let unix = clock::wall().as_second();
            time.saturating_sub(unix).max(0).unsigned_abs()
        }
    };
    // Beyond the range of an Instant: never.
    now.checked_add(Duration::from_secs(seconds))
}

/// Seconds until it expires; -1: never.
pub(super) fn remaining(item: &Item, now: Instant) -> i64 {
    item.expires.map_or(-1, |at| at.saturating_duration_since(now).as_secs_f64().ceil() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(value: &[u8], expires: Option<Instant>) -> Item {
        Item::new(value, 0, expires)
    }

    #[test]
    fn items_expire() {
        let now = clock::now();
        let mut store = Store::new(10_000);
        store.put(b"a", item(b"1", expiry(10, now)));
        store.put(b"b", item(b"2", expiry(0, now)));
        store.put(b"c", item(b"3", expiry(-1, now)));
        assert!(store.get(b"c", now).is_none());
        let later = now + Duration::from_secs(10);
        assert!(store.get(b"a", now + Duration::from_millis(9999)).is_some());
        assert!(store.get(b"a", later).is_none() && store.get(b"b", later).is_some());
        assert!(!store.remove(b"a", later) && store.remove(b"b", later));
        assert_eq!((store.size().0, store.size().1), (0, 0));
        let unix = clock::wall().as_second();
        assert!(expiry(unix - 5, now).unwrap() <= now && expiry(unix + 60, now).unwrap() > now);
        assert!(expiry(i64::MAX, now).is_none_or(|at| at > now) && expiry(i64::MIN, now) == Some(now));
    }

    #[test]
    fn memory_is_bounded_whatever_is_stored() {
        let mut store = Store::new(50_000);
        for number in 0..1000_usize {
            store.put(format!("key-{number}").as_bytes(), item(&vec![0; number * 17 % 3000], None));
            let (items, bytes, bytes_max) = store.size();
            assert!(bytes <= bytes_max && bytes_max == 50_000 && items > 0, "{items} items of {bytes}");
        }
        store.put(b"larger than all", item(&vec![0; 60_000], None));
        assert!(store.get(b"larger than all", clock::now()).is_none());
        store.clear();
        assert_eq!(store.size(), (0, 0, 50_000));
    }
}
