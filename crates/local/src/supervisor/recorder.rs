//! The platform's clock and its recording: every event gets its number and time here and nowhere else.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use platform::{Event, EventKind, Source as Origin, event::Stamper};
use uuid::Uuid;

use crate::journal::{Journal, Source};

/// Bytes of each of the recording's two segments.
pub(crate) const SEGMENT_MAX: u64 = 32 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Recorder {
    stamper: Stamper,
    journal: Journal,
    began: Instant,
    began_wall: Timestamp,
}

impl Recorder {
    pub(crate) fn new(run: Uuid, journal: Journal) -> Self {
        let began_wall = Timestamp::now();
        Self {
            stamper: Stamper::new(run, Origin::Local, began_wall),
            journal,
            began: Instant::now(),
            began_wall,
        }
    }

    pub(crate) fn emit(&mut self, kind: EventKind) {
        let event: Event = self.stamper.stamp(self.run_ms(Instant::now()), kind);
        let line =
            serde_json::to_string(&event).expect("an event is made of maps with string keys and of numbers");
        if let Err(error) = self.journal.append(&line) {
            tracing::error!(%error, "cannot record an event");
        }
    }

    pub(crate) fn source(&self) -> Source {
        self.journal.source()
    }

    pub(crate) fn run(&self) -> Uuid {
        self.stamper.run()
    }

    pub(crate) fn began(&self) -> Timestamp {
        self.began_wall
    }

    /// Wall-clock time that does not jump: the wall clock at the beginning and what has passed since.
    pub(crate) fn wall(&self, at: Instant) -> Timestamp {
        let passed = SignedDuration::try_from(at.saturating_duration_since(self.began))
            .unwrap_or(SignedDuration::ZERO);
        self.began_wall.saturating_add(passed).unwrap_or(self.began_wall)
    }

    /// Milliseconds since the run began.
    pub(crate) fn run_ms(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX)
    }

    /// Milliseconds since 1970, the autoscaler's axis.
    pub(crate) fn unix_ms(&self, at: Instant) -> i64 {
        self.wall(at).as_millisecond()
    }

    /// From the autoscaler's axis to this run's.
    pub(crate) fn since_began(&self, unix_ms: i64) -> u64 {
        u64::try_from(unix_ms.saturating_sub(self.began_wall.as_millisecond())).unwrap_or(0)
    }
}
