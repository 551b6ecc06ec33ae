//! The platform's recording: every event gets its number and time here and nowhere else.

use controller::Time;
use platform::{Event, EventKind, Source as Origin, event::Stamper};
use uuid::Uuid;

use super::clock::Clock;
use crate::journal::{Journal, Source};

/// Bytes of each of the recording's two segments.
pub(crate) const SEGMENT_MAX: u64 = 32 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Recorder {
    stamper: Stamper,
    journal: Journal,
    clock: Clock,
}

impl Recorder {
    pub(crate) fn new(run: Uuid, clock: Clock, journal: Journal) -> Self {
        Self { stamper: Stamper::new(run, Origin::Local, clock.began()), journal, clock }
    }

    pub(crate) fn emit(&mut self, now: Time, kind: EventKind) {
        let event: Event = self.stamper.stamp(self.clock.wall(now), kind);
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
}
