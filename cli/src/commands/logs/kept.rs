//! Where the supervisor's part of the log begins.
//!
//! The index has the same lines with slightly different times: the index has the time at which a service wrote a line,
//! the supervisor the time at which it arrived. A service's printed line contains its own time, slightly before the
//! index's, so the first kept line of a replica shows which of the index's lines are kept too.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use platform::{TargetError, target::LogLine};
use serde::Deserialize;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// When its first line arrived.
    pub(super) from: Option<Timestamp>,
    /// When the first line of each replica was written, which is some time before it arrived.
    written: HashMap<String, Timestamp>,
    pub(super) lines_at_the_beginning: usize,
}

impl Kept {
    /// Maximum time from a line's writing to its arrival at the supervisor.
    const ON_ITS_WAY: SignedDuration = SignedDuration::from_secs(5);

    pub(super) fn of(lines: impl Iterator<Item = Result<LogLine, TargetError>>) -> Result<Self, TargetError> {
        let mut kept = Self::default();
        for line in lines {
            let line = line?;
            let from = *kept.from.get_or_insert(line.time);
            if line.time.duration_since(from) > Self::ON_ITS_WAY {
                break;
            }
            kept.lines_at_the_beginning += 1;
            if let Some(written) = written(&line.text) {
                kept.written.entry(line.replica).or_insert(written);
            }
        }
        Ok(kept)
    }

    /// Whether the supervisor also has a line of the index that is older than the first arrival.
    pub(super) fn has(&self, line: &LogLine) -> bool {
        // Times in the index are whole milliseconds.
        let written = self.written.get(&line.replica);
        written.is_some_and(|written| line.time.as_millisecond() >= written.as_millisecond())
    }
}

/// When a service wrote a line of its log; `None` for any other output.
fn written(text: &str) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Event {
        timestamp: Timestamp,
    }
    serde_json::from_str::<Event>(text).ok().map(|event| event.timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_the_supervisor_keeps_are_told_from_earlier_ones() {
        let at = |seconds: i64| Timestamp::from_second(1_800_000_000 + seconds).unwrap();
        let line = |time: Timestamp, replica: &str, text: String| LogLine {
            time,
            replica: replica.to_owned(),
            text,
        };
        let event =
            |time: Timestamp| format!(r#"{{"timestamp":"{time}","level":"INFO","message":"started"}}"#);
        let lines = [
            line(at(2), "tcp-0", "not of the log".to_owned()),
            line(at(2), "tcp-0", event(at(1))),
            line(at(3), "tcp-0", event(at(2))),
            line(at(60), "tcp-1", event(at(0))),
        ];
        let kept = Kept::of(lines.into_iter().map(Ok)).unwrap();
        assert_eq!((kept.from, kept.lines_at_the_beginning), (Some(at(2)), 3));
        let has = |replica: &str, time| kept.has(&line(time, replica, String::new()));
        assert!(has("tcp-0", at(1)) && !has("tcp-0", at(0)), "it was written a second before it came");
        assert!(!has("tcp-1", at(1)), "of a platform of that name before this one");
        assert!(Kept::of(std::iter::empty()).unwrap().from.is_none());
    }
}
