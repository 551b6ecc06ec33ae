//! The content of events, generated once for all streams.

use std::collections::VecDeque;
use std::sync::Arc;

use hyper::body::Bytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use parking_lot::Mutex;

/// The start of a message.
const BEGINNING: &str = "Huge message of 1048576+ chars ... ";
/// How often the following letter is repeated.
const LETTERS: usize = 1_048_576;
/// Number of recent events to keep: streams have their turns at different moments of a second, some of them late.
const KEPT: usize = 4;
/// The time format of the original.
const FORMAT: &str = "%Y/%m/%d %H:%M:%S";

/// One event in the three pieces in which it is sent. Clones share the bytes.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) head: Bytes,
    pub(crate) message: Bytes,
    pub(crate) tail: Bytes,
}

impl Event {
    pub(crate) fn len(&self) -> usize {
        self.head.len() + self.message.len() + self.tail.len()
    }
}

/// The events of this replica.
#[derive(Debug)]
pub(crate) struct Feed {
    /// In quotes.
    host: String,
    zone: TimeZone,
    messages: [Bytes; 6],
    /// By their second, the latest last.
    recent: Mutex<VecDeque<(i64, Event)>>,
}

impl Feed {
    pub(crate) fn new(host: &str, zone: TimeZone) -> Self {
        // A string always has a JSON form.
        let host = serde_json::to_string(host).unwrap_or_default();
        let messages = [b'a', b'b', b'c', b'd', b'e', b'f'].map(|letter| Bytes::from(vec![letter; LETTERS]));
        Self { host, zone, messages, recent: Mutex::default() }
    }

    /// The event of a wall-clock second, which is its ID.
    pub(crate) fn of(&self, second: i64) -> Event {
        let mut recent = self.recent.lock();
        if let Some((_, event)) = recent.iter().find(|(present, _)| *present == second) {
            return event.clone();
        }
        let event = Event {
            head: format!("id:{second}\ndata:{{\"host\":{},\"message\":\"{BEGINNING}", self.host).into(),
            message: self.messages[rand::random_range(0..self.messages.len())].clone(),
            tail: format!("\",\"timestamp\":\"{}\"}}\n\n", self.time(second)).into(),
        };
        if recent.len() == KEPT {
            recent.pop_front();
        }
        recent.push_back((second, event.clone()));
        event
    }

    /// The whole answer to a client that gets no stream. The reason is for people; `EventSource` does not show it. It
    /// has no ID: what the client sends when it comes back (`Last-Event-ID`) remains the last event that it got.
    pub(crate) fn refusal(&self, reason: &str, second: i64) -> Bytes {
        let reason = reason.replace(['\r', '\n'], " ");
        format!(
            ": {reason}\ndata:{{\"host\":{},\"message\":\"Unable to acquire lock\",\"timestamp\":\"{}\"}}\n\n",
            self.host,
            self.time(second)
        )
        .into()
    }

    fn time(&self, second: i64) -> String {
        let time = Timestamp::from_second(second).unwrap_or_default();
        time.to_zoned(self.zone.clone()).strftime(FORMAT).to_string()
    }
}

/// Shared by all streams.
pub(crate) type Shared = Arc<Feed>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_matches_the_contract() {
        let feed = Feed::new("stream-\"0\"", TimeZone::UTC);
        let event = feed.of(1_700_000_000);
        let text = [&event.head[..], &event.message[..], &event.tail[..]].concat();
        assert_eq!(text.len(), event.len());
        let text = std::str::from_utf8(&text).unwrap();
        let data = text.strip_prefix("id:1700000000\ndata:").unwrap().strip_suffix("\n\n").unwrap();
        assert!(!data.contains(['\n', '\r']));
        let data: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["host"], "stream-\"0\"");
        assert_eq!(data["timestamp"], "2023/11/14 22:13:20");
        let message = data["message"].as_str().unwrap().strip_prefix(BEGINNING).unwrap();
        let letter = message.chars().next().unwrap();
        assert!(('a'..='f').contains(&letter) && message.chars().all(|other| other == letter));
        assert_eq!(message.len(), LETTERS);
    }

    #[test]
    fn all_streams_share_the_bytes_of_an_event_and_old_events_share_messages() {
        let feed = Feed::new("h", TimeZone::UTC);
        let (one, two) = (feed.of(5), feed.of(5));
        assert_eq!((one.head.as_ptr(), one.message.as_ptr()), (two.head.as_ptr(), two.message.as_ptr()));
        let messages: std::collections::BTreeSet<*const u8> =
            (0..1000).map(|second| feed.of(second).message.as_ptr()).collect();
        assert_eq!(messages.len(), 6);
        assert_eq!(feed.recent.lock().len(), KEPT);
    }

    #[test]
    fn a_refusal_is_one_event_even_with_line_ends_in_its_reason() {
        let feed = Feed::new("h", TimeZone::UTC);
        let text = feed.refusal("no\ndata:x\r\n\r\n", 0);
        assert_eq!(
            text,
            ": no data:x    \ndata:{\"host\":\"h\",\"message\":\"Unable to acquire lock\",\
             \"timestamp\":\"1970/01/01 00:00:00\"}\n\n"
        );
    }
}
