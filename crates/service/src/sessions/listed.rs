//! Sessions that all instances list in Redis, and other values under the same names.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde::de::DeserializeOwned;
use tracing::{info, warn};

use crate::redis::{self, MultiplexedConnection, RedisResult};

/// Maximum length of an example in the log.
const EXAMPLE_CHARACTERS_MAX: usize = 200;

/// The contents under a prefix.
#[derive(Debug)]
pub struct Listed<S> {
    /// Sessions by their keys.
    pub sessions: BTreeMap<String, S>,
    pub left_out: LeftOut,
}

/// Values that are not sessions.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    pub count: u64,
    /// One of them: its key and what is wrong with it.
    pub example: Option<String>,
}

impl LeftOut {
    fn add(&mut self, key: &str, why: &str) {
        self.count += 1;
        self.example.get_or_insert_with(|| {
            // Others can write any key and any value.
            let example = format!("{key:?}: {why}");
            example.chars().take(EXAMPLE_CHARACTERS_MAX).collect()
        });
    }
}

/// Reads all sessions whose keys begin with `prefix`.
///
/// # Errors
/// The connection is broken.
pub async fn read<S: DeserializeOwned>(
    connection: &mut MultiplexedConnection,
    prefix: &str,
) -> RedisResult<Listed<S>> {
    let mut listed = Listed { sessions: BTreeMap::new(), left_out: LeftOut::default() };
    for (key, value) in redis::values_under(connection, prefix).await? {
        let read = value.map_err(|why| why.to_string());
        match read.and_then(|value| serde_json::from_slice(&value).map_err(|error| error.to_string())) {
            Ok(session) => _ = listed.sessions.insert(key, session),
            Err(why) => listed.left_out.add(&key, &why),
        }
    }
    Ok(listed)
}

/// Counts and reports left-out values.
#[derive(Debug)]
pub struct Noticed {
    prefix: &'static str,
    gauge: Gauge,
    /// Serializes lines of the log.
    told: Mutex<bool>,
}

impl Noticed {
    /// Registers the gauge `sessions_left_out{key}` for each of `prefixes`.
    pub fn register<const N: usize>(registry: &mut Registry, prefixes: [&'static str; N]) -> [Self; N] {
        let family: Family<[(&'static str, &'static str); 1], Gauge> = Family::default();
        let help = "Values in Redis under the names of sessions that were not sessions at the last look";
        registry.register("sessions_left_out", help, family.clone());
        prefixes.map(|prefix| Self {
            prefix,
            gauge: family.get_or_create_owned(&[("key", prefix)]),
            told: Mutex::new(false),
        })
    }

    /// Records the result of a read. The log has one line when something is left out and one when nothing is any more.
    pub fn note(&self, left_out: &LeftOut) {
        let LeftOut { count, example } = left_out;
        self.gauge.set(i64::try_from(*count).unwrap_or(i64::MAX));
        let mut told = self.told.lock();
        let before = std::mem::replace(&mut *told, *count > 0);
        match example {
            Some(example) if !before => warn!(
                key = self.prefix,
                count,
                example,
                "values in Redis are no sessions ({{\"sessionId\", \"hostId\", \"userId\"}}) and are not counted"
            ),
            None if before => info!(key = self.prefix, "all values under the key are sessions again"),
            _ => {}
        }
    }
}
