//! The platform's recording: only here do events get their number and time.

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
    /// How many lost events were reported.
    lost_said: u64,
}

impl Recorder {
    pub(crate) fn new(run: Uuid, clock: Clock, journal: Journal) -> Self {
        let stamper = Stamper::new(run, Origin::Local, clock.began());
        Self { stamper, journal, lost_said: 0 }
    }

    pub(crate) fn emit(&mut self, now: Time, kind: EventKind) {
        let event: Event = self.stamper.stamp(now.as_millis(), kind);
        let line =
            serde_json::to_string(&event).expect("an event is made of maps with string keys and of numbers");
        let before = self.journal.lost();
        let was_losing = before.1.is_some();
        self.journal.append_or_drop(&line);
        let (lost, losing) = self.journal.lost();
        if was_losing && losing.is_none() {
            let events = lost - std::mem::replace(&mut self.lost_said, lost);
            let message = format!("{events} events could not be recorded; recording works again");
            self.emit(now, EventKind::Warning { message });
        }
    }

    /// See [`Journal::lost`].
    pub(crate) fn lost(&self) -> (u64, Option<&str>) {
        self.journal.lost()
    }

    pub(crate) fn source(&self) -> Source {
        self.journal.source()
    }

    pub(crate) fn run(&self) -> Uuid {
        self.stamper.run()
    }
}
