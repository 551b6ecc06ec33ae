//! The one event stream: what happened, when, and why.
//!
//! Engines emit these and never print. The time line, JSON lines, the SVG, the live view and the recording are
//! readers of the stream. Local, cluster and simulated runs produce the same events, so that a prediction can be
//! laid over a measurement. The JSON form is specified by `docs/events.schema.json`, which a test keeps true.
//!
//! Per-connection events exist only on request; by default connections are reported as aggregates per tick.

mod kind;
mod load;

pub use kind::{EventKind, ExpectationResult, GatewayInfo, MetricProposal, ServiceInfo};
pub use load::{
    Counters, HistogramBucket, LatencySummary, LoadPlan, LoadStage, LoadSummary, LoadTick, ReplicaShare,
    ScaleDelays, Skew,
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

/// Numbers and dates the events of one run. The caller brings the time: nothing here reads a clock.
#[derive(Debug, Clone)]
pub struct Stamper {
    run: Uuid,
    source: Source,
    began: Timestamp,
    seq: u64,
}

impl Stamper {
    pub fn new(run: Uuid, source: Source, began: Timestamp) -> Self {
        Self { run, source, began, seq: 0 }
    }

    pub fn run(&self) -> Uuid {
        self.run
    }

    pub fn began(&self) -> Timestamp {
        self.began
    }

    /// The next event of this run.
    pub fn stamp(&mut self, wall: Timestamp, kind: EventKind) -> Event {
        let event = Event {
            v: VERSION,
            seq: self.seq,
            run: self.run,
            source: self.source,
            t_ms: self.since_start_ms(wall),
            wall,
            kind,
        };
        self.seq += 1;
        event
    }

    /// Takes an event of another stream into this run: its number and time become this run's, as do the moments it
    /// speaks of; its source stays.
    pub fn adopt(&mut self, event: Event) -> Event {
        let t_ms = self.since_start_ms(event.wall);
        let adopted =
            Event { seq: self.seq, run: self.run, t_ms, kind: event.kind.moved(event.t_ms, t_ms), ..event };
        self.seq += 1;
        adopted
    }

    fn since_start_ms(&self, wall: Timestamp) -> u64 {
        u64::try_from(wall.duration_since(self.began).as_millis()).unwrap_or(0)
    }
}

/// The JSON schema of one event, as written to `docs/events.schema.json`.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Event).to_value()
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;

    use super::*;

    #[test]
    fn an_adopted_event_speaks_of_this_runs_time() {
        let began = Timestamp::UNIX_EPOCH;
        let mut platform = Stamper::new(Uuid::nil(), Source::Local, began);
        let mut run = Stamper::new(Uuid::max(), Source::Load, began + 100.seconds());
        let held = |until_ms| EventKind::ScaleDownHeld {
            service: "tcp".to_owned(),
            recommended: 1,
            held_at: 2,
            until_ms,
        };
        let event = run.adopt(platform.stamp(began + 130.seconds(), held(175_000)));
        assert_eq!((event.t_ms, event.run, event.source), (30_000, Uuid::max(), Source::Local));
        assert_eq!(event.kind, held(75_000));
        let before = run.adopt(platform.stamp(began + 90.seconds(), held(95_000)));
        assert_eq!((before.seq, before.t_ms), (1, 0), "before this run began");
        assert_eq!(before.kind, held(5_000));
    }
}
