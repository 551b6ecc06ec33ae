//! A run, kept for readers that need it whole.

use platform::{Event, EventKind};

use crate::series::Series;

/// Maximum number of events kept, not counting ticks, scrapes and reconciliations.
const EVENTS_MAX: usize = 20_000;
/// Maximum number of regular events kept.
const REGULAR_MAX: usize = 10_000;

/// A run's events and series. Bounded: beyond their limit, every second regular event (tick, scrape, reconciliation) is
/// dropped; other events beyond theirs are only counted. The charts do not suffer, because their series are thinned out
/// separately.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    events: Vec<Event>,
    regular: usize,
    /// Number of events that are not in `events`.
    dropped: u64,
    series: Series,
}

impl Recording {
    /// Processes the next event.
    pub fn push(&mut self, event: &Event) {
        self.series.observe(event);
        let regular = is_regular(&event.kind);
        if !regular && self.events.len() - self.regular >= EVENTS_MAX {
            self.dropped += 1;
            return;
        }
        self.events.push(event.clone());
        self.regular += usize::from(regular);
        if self.regular >= REGULAR_MAX {
            self.thin_out();
        }
    }

    /// The kept events, in order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// How many events were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    pub(crate) fn series(&self) -> &Series {
        &self.series
    }

    fn thin_out(&mut self) {
        let before = self.events.len();
        let mut index = 0;
        self.events.retain(|event| {
            index += usize::from(is_regular(&event.kind));
            !is_regular(&event.kind) || index % 2 == 1
        });
        let given_up = before - self.events.len();
        self.regular -= given_up;
        self.dropped += given_up as u64;
    }
}

impl<'a> FromIterator<&'a Event> for Recording {
    fn from_iter<T: IntoIterator<Item = &'a Event>>(events: T) -> Self {
        let mut recording = Self::default();
        for event in events {
            recording.push(event);
        }
        recording
    }
}

/// Whether it recurs even if nothing happens.
pub(crate) fn is_regular(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::LoadTick(_)
            | EventKind::MetricScraped { .. }
            | EventKind::HpaSynced { .. }
            | EventKind::ConnectionOpened { .. }
            | EventKind::ConnectionClosed { .. }
    )
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use platform::event::{Source, Stamper};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_recording_stays_bounded_and_reports_what_it_dropped() {
        let mut stamper = Stamper::new(Uuid::nil(), Source::Load, Timestamp::UNIX_EPOCH);
        let mut recording = Recording::default();
        let rare = EventKind::Warning { message: "rare".to_owned() };
        let regular = EventKind::ConnectionClosed { id: 1, reason: "closed".to_owned() };
        for index in 0..100_000_u64 {
            let kind = if index % 1_000 == 0 { rare.clone() } else { regular.clone() };
            recording.push(&stamper.stamp(0, kind));
        }
        let kept = recording.events().len();
        assert!(kept < REGULAR_MAX + 200, "{kept}");
        assert_eq!(recording.events().iter().filter(|event| event.kind == rare).count(), 100);
        assert_eq!(kept as u64 + recording.dropped(), 100_000);
        assert!(recording.events().is_sorted_by_key(|event| event.seq));
        for _ in 0..2 * EVENTS_MAX {
            recording.push(&stamper.stamp(0, rare.clone()));
        }
        assert!(recording.events().len() <= EVENTS_MAX + REGULAR_MAX);
    }
}
