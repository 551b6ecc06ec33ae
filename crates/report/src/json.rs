//! A run as one JSON object.

use std::collections::BTreeMap;

use platform::{
    Event,
    event::{LoadPlan, LoadSummary, VERSION},
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::recording::{Recording, is_regular};

/// What `--output json` prints.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Document<'a> {
    /// Version of the event format, as in each event.
    pub v: u32,
    pub plan: &'a LoadPlan,
    pub summary: &'a LoadSummary,
    /// What the time line shows: everything except regular events (ticks, scrapes, reconciliations).
    pub timeline: Vec<&'a Event>,
    /// Connections over time, thinned out when the run was long.
    pub connections: Vec<Point<'a>>,
    /// How many events were dropped because there were too many.
    pub dropped: u64,
}

/// Connections at one moment.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Point<'a> {
    /// Milliseconds since the run began.
    pub t_ms: u64,
    pub open: u64,
    pub by_replica: &'a BTreeMap<String, u64>,
}

/// A recorded run with its result.
pub fn json<'a>(recording: &'a Recording, summary: &'a LoadSummary) -> Document<'a> {
    let points = recording.series().connections.list().iter();
    Document {
        v: VERSION,
        plan: &summary.plan,
        summary,
        timeline: recording.events().iter().filter(|event| !is_regular(&event.kind)).collect(),
        connections: points
            .map(|(t_ms, seen)| Point { t_ms: *t_ms, open: seen.open, by_replica: &seen.by_replica })
            .collect(),
        dropped: recording.dropped(),
    }
}
