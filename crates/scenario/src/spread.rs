//! How many connections each replica has, in words: `6/6/6/4`, most first.

use std::collections::BTreeMap;

use crate::parse_count;

/// The load's name for a replica that does not identify itself.
pub(crate) const UNKNOWN: &str = "unknown";

/// The counts of known replicas.
pub(crate) fn of(by_replica: &BTreeMap<String, u64>) -> Vec<u64> {
    sorted(by_replica.iter().filter(|(replica, _)| *replica != UNKNOWN).map(|(_, count)| *count))
}

pub(crate) fn sorted(counts: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut counts: Vec<u64> = counts.collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    counts
}

pub(crate) fn parse(text: &str) -> Result<Vec<u64>, String> {
    let counts = text.split('/').map(parse_count).collect::<Result<Vec<_>, _>>()?;
    if counts.is_sorted_by(|before, after| before >= after) {
        return Ok(counts);
    }
    Err(format!(
        "`{text}`: list the replicas with the most first, as in {}",
        words(&sorted(counts.into_iter()))
    ))
}

pub(crate) fn words(counts: &[u64]) -> String {
    counts.iter().map(u64::to_string).collect::<Vec<_>>().join("/")
}
