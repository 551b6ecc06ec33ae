//! The event stream: what happened, when, and why.
//!
//! Engines emit these and never print. The time line, JSON lines, the SVG, the live view and the recording are
//! readers of the stream. Local, cluster and simulated runs produce the same events, so that a prediction can be
//! laid over a measurement. The JSON form is specified by `docs/events.schema.json`, which a test keeps up to date.
//!
//! Per-connection events exist only on request; by default connections are reported as aggregates per tick.

mod kind;
mod load;

pub use kind::{EventKind, ExpectationResult, GatewayInfo, MetricProposal, NodeState, ServiceInfo};
pub use load::{
    Counters, Ending, HistogramBucket, LatencySummary, LoadPlan, LoadStage, LoadSummary, LoadTick,
    ReplicaShare, ScaleDelays, Skew,
};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Version of the event format.
pub const VERSION: u32 = 1;

/// One event, with its envelope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Version of the format: [`VERSION`].
    pub v: u32,
    /// Grows by one with every event of a stream.
    pub seq: u64,
    /// The run that this event belongs to.
    pub run: Uuid,
    pub source: Source,
    /// Milliseconds since the run began.
    pub t_ms: u64,
    /// Wall-clock time, RFC 3339.
    pub wall: Timestamp,
    #[serde(flatten)]
    pub kind: EventKind,
}

impl Event {
    /// The wall-clock time at which the event's run began. All events of a run agree.
    pub fn run_began(&self) -> Timestamp {
        let passed = jiff::SignedDuration::from_millis(i64::try_from(self.t_ms).unwrap_or(i64::MAX));
        self.wall.checked_sub(passed).unwrap_or(self.wall)
    }
}

/// Who saw the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The supervisor of a platform on this machine.
    Local,
    /// The watcher of a Kubernetes cluster.
    Cluster,
    /// The simulator.
    Simulated,
    /// The load generator.
    Load,
}

/// Numbers and dates the events of one run. The caller brings the time, from a clock that never steps; nothing here
/// reads a clock. An event's wall-clock time is the wall-clock time at the run's beginning plus the time passed since.
#[derive(Debug, Clone)]
pub struct Stamper {
    run: Uuid,
    source: Source,
    began: Timestamp,
    seq: u64,
    /// Added to another stream's times to make them this run's, in ms.
    offset_ms: Option<i64>,
}

impl Stamper {
    pub fn new(run: Uuid, source: Source, began: Timestamp) -> Self {
        Self { run, source, began, seq: 0, offset_ms: None }
    }

    pub fn run(&self) -> Uuid {
        self.run
    }

    pub fn began(&self) -> Timestamp {
        self.began
    }

    /// The next event of this run, `t_ms` after its beginning.
    pub fn stamp(&mut self, t_ms: u64, kind: EventKind) -> Event {
        let event = Event {
            v: VERSION,
            seq: self.seq,
            run: self.run,
            source: self.source,
            t_ms,
            wall: self.wall(t_ms),
            kind,
        };
        self.seq += 1;
        event
    }

    /// Adopts an event of another stream: its number, its time and the moments it mentions become this run's; its
    /// source stays. `received_ms` is when it arrived here.
    ///
    /// The two streams' clocks run at the same speed but began at different moments. The event that took the shortest
    /// time to arrive shows how far apart: no wall clock is involved, so stepping it changes nothing. Events from
    /// before this run are dated at its beginning.
    pub fn adopt(&mut self, received_ms: u64, event: Event) -> Event {
        let apart_ms = received_ms.cast_signed().saturating_sub(event.t_ms.cast_signed());
        let offset_ms = self.offset_ms.map_or(apart_ms, |known_ms| known_ms.min(apart_ms));
        self.offset_ms = Some(offset_ms);
        let t_ms = u64::try_from(event.t_ms.cast_signed().saturating_add(offset_ms)).unwrap_or(0);
        let kind = event.kind.moved(event.t_ms, t_ms);
        let adopted = Event { seq: self.seq, run: self.run, t_ms, wall: self.wall(t_ms), kind, ..event };
        self.seq += 1;
        adopted
    }

    fn wall(&self, t_ms: u64) -> Timestamp {
        let passed = jiff::SignedDuration::from_millis(t_ms.cast_signed());
        self.began.saturating_add(passed).unwrap_or(self.began)
    }
}

/// The JSON schema of one event, as written to `docs/events.schema.json`.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Event).to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(until_ms: u64) -> EventKind {
        EventKind::ScaleDownHeld { service: "tcp".to_owned(), recommended: 1, held_at: 2, until_ms }
    }

    #[test]
    fn every_event_gives_the_start_of_its_run() {
        let began: Timestamp = "2026-11-21T06:43:21.999999Z".parse().expect("a time");
        let mut stamper = Stamper::new(Uuid::nil(), Source::Load, began);
        for t_ms in [0, 1, 700, 86_400_000] {
            assert_eq!(stamper.stamp(t_ms, held(0)).run_began(), began);
        }
    }

    /// The streams' wall clocks are an hour apart: the clock was set between their beginnings.
    #[test]
    fn an_adopted_event_uses_this_runs_time_even_if_the_wall_clock_was_set() {
        let began = Timestamp::UNIX_EPOCH;
        let hour = jiff::SignedDuration::from_hours(1);
        for other in [began, began + hour] {
            let mut platform = Stamper::new(Uuid::nil(), Source::Local, other);
            let mut run = Stamper::new(Uuid::max(), Source::Load, began + hour);
            // Repeated at the beginning of the stream: it happened long ago.
            let before = run.adopt(3, platform.stamp(90_000, held(95_000)));
            assert_eq!((before.seq, before.t_ms), (0, 3), "before this run began, as far as it can tell");
            let event = run.adopt(30_001, platform.stamp(130_000, held(175_000)));
            assert_eq!((event.t_ms, event.run, event.source), (30_001, Uuid::max(), Source::Local));
            assert_eq!(event.kind, held(75_001));
            assert_eq!(event.wall, began + hour + jiff::SignedDuration::from_millis(30_001));
            // A delayed event is dated when it happened.
            let late = run.adopt(45_000, platform.stamp(140_000, held(175_000)));
            assert_eq!((late.t_ms, late.seq), (40_001, 2));
        }
    }

    #[test]
    fn an_earliest_moment_moves_with_its_event() {
        let crossed = |not_before_ms, next_sync_ms| EventKind::MetricCrossed {
            service: "tcp".to_owned(),
            metric: "connections".to_owned(),
            average_milli: 6_000_000,
            target_milli: 5_000_000,
            above: true,
            next_sync_ms,
            not_before_ms,
        };
        assert_eq!(crossed(Some(88_000), 105_000).moved(90_000, 10_000), crossed(Some(8_000), 25_000));
        assert_eq!(crossed(Some(70_000), 90_000).moved(90_000, 10_000), crossed(Some(0), 10_000));
        assert_eq!(crossed(None, 90_000).moved(90_000, 10_000), crossed(None, 10_000));
    }
}
