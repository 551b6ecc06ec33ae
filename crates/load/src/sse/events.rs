//! Events in a stream, as the HTML standard defines them: lines of fields, and an empty line after each event.
//!
//! Only the start of a line is kept, so an event of a megabyte costs no memory, and a connection at most 180 bytes.

use std::time::Duration;

use crate::websocket::close::HINT_MAX;

/// Bytes of a line to keep: enough for a host, and the start of a message after it.
const KEPT: usize = 128;
/// A longer ID is not remembered.
const ID_MAX: usize = 20;
/// The message of the only event for a client without a lock.
const REFUSAL: &[u8] = b"\"message\":\"Unable to acquire lock\"";
const HOST: &[u8] = b"\"host\":\"";
/// A longer server name is ignored.
pub(crate) const HOST_MAX: usize = 80;

/// Progress of reading a stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader {
    line: [u8; KEPT],
    /// Bytes of the line that are kept.
    kept: u8,
    /// The line was longer.
    is_cut: bool,
    /// The last byte was a carriage return, which a line feed may follow.
    after_return: bool,
    /// The contents of the event so far.
    event: Seen,
    id: [u8; ID_MAX],
    id_bytes: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    NoData,
    Data,
    Refusal,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            line: [0; KEPT],
            kept: 0,
            is_cut: false,
            after_return: false,
            event: Seen::NoData,
            id: [0; ID_MAX],
            id_bytes: 0,
        }
    }
}

/// The contents of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// An event with data is complete.
    Event,
    /// The same, but announcing that no more will follow.
    Refusal,
    /// When to come back.
    Retry(Duration),
    /// The sender. Reported with each event that names it.
    Host(String),
}

impl Reader {
    /// The ID of the last event.
    pub(crate) fn last_id(&self) -> Option<&[u8]> {
        Some(&self.id[..usize::from(self.id_bytes)]).filter(|id| !id.is_empty())
    }

    /// The same, if it is a number.
    pub(crate) fn last_number(&self) -> Option<u64> {
        std::str::from_utf8(self.last_id()?).ok()?.parse().ok()
    }

    /// Starts another connection, which continues after the last event.
    pub(crate) fn begin(&mut self) {
        *self = Self { id: self.id, id_bytes: self.id_bytes, ..Self::default() };
    }

    /// Consumes input up to the next item; `None`: the rest, which is consumed, contains none.
    pub(crate) fn next(&mut self, input: &mut &[u8]) -> Option<Said> {
        while let Some(first) = input.first() {
            if std::mem::take(&mut self.after_return) && *first == b'\n' {
                *input = &input[1..];
            }
            let Some(end) = input.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                self.keep(input);
                *input = &[];
                return None;
            };
            self.keep(&input[..end]);
            self.after_return = input[end] == b'\r';
            *input = &input[end + 1..];
            let said = self.line();
            (self.kept, self.is_cut) = (0, false);
            if said.is_some() {
                return said;
            }
        }
        None
    }

    fn keep(&mut self, part: &[u8]) {
        let kept = usize::from(self.kept);
        let taken = part.len().min(KEPT - kept);
        self.line[kept..kept + taken].copy_from_slice(&part[..taken]);
        self.kept += taken as u8;
        self.is_cut |= taken < part.len();
    }

    /// A line is complete.
    fn line(&mut self) -> Option<Said> {
        let line = &self.line[..usize::from(self.kept)];
        if line.is_empty() {
            return match std::mem::replace(&mut self.event, Seen::NoData) {
                Seen::NoData => None,
                Seen::Data => Some(Said::Event),
                Seen::Refusal => Some(Said::Refusal),
            };
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = (&line[..colon], line.get(colon + 1..).unwrap_or_default());
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => {
                if value.windows(REFUSAL.len()).any(|window| window == REFUSAL) {
                    self.event = Seen::Refusal;
                } else if self.event == Seen::NoData {
                    self.event = Seen::Data;
                }
                return host(value).map(Said::Host);
            }
            b"id" if !self.is_cut && !value.contains(&0) => {
                let fits = value.len() <= ID_MAX && value.iter().all(u8::is_ascii_graphic);
                self.id_bytes = if fits { value.len() as u8 } else { 0 };
                self.id[..usize::from(self.id_bytes)].copy_from_slice(&value[..usize::from(self.id_bytes)]);
            }
            b"retry" if !self.is_cut => {
                let retry = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
                return retry.map(Duration::from_millis).filter(|retry| *retry <= HINT_MAX).map(Said::Retry);
            }
            _ => {}
        }
        None
    }
}

/// From our own service's data.
fn host(data: &[u8]) -> Option<String> {
    let begin = data.windows(HOST.len()).position(|window| window == HOST)? + HOST.len();
    let host =
        data[begin..].split(|byte| *byte == b'"').next().filter(|host| begin + host.len() < data.len())?;
    let is_name = (1..=HOST_MAX).contains(&host.len()) && host.iter().all(u8::is_ascii_graphic);
    is_name.then(|| String::from_utf8_lossy(host).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(text: &[u8], piece: usize) -> (Vec<Said>, Reader) {
        let (mut reader, mut said) = (Reader::default(), Vec::new());
        for mut input in text.chunks(piece) {
            while let Some(next) = reader.next(&mut input) {
                said.push(next);
            }
        }
        (said, reader)
    }

    #[test]
    fn events_are_found_however_they_are_cut() {
        let long = "a".repeat(500);
        let text = format!(
            ": a comment\n\nid:41\ndata:{{\"host\":\"stream-0\",\"message\":\"Huge {long}\"}}\n\n\
             id: 42\r\nevent: other\r\ndata: one\r\ndata: two\r\n\r\nretry:5000\rdata\r\rdata: never"
        );
        let expected = vec![
            Said::Host("stream-0".into()),
            Said::Event,
            Said::Event,
            Said::Retry(Duration::from_secs(5)),
            Said::Event,
        ];
        for piece in 1..text.len() {
            let (said, reader) = all(text.as_bytes(), piece);
            assert_eq!(said, expected, "{piece}");
            assert_eq!((reader.last_id(), reader.last_number()), (Some(&b"42"[..]), Some(42)));
        }
    }

    #[test]
    fn a_refusal_is_told_from_a_message_that_quotes_one() {
        let refusal = br#": no
data:{"host":"a-host-name-of-sixty-three-characters-which-is-the-longest-dns-has","message":"Unable to acquire lock","timestamp":"2026/11/28 19:00:00"}

"#;
        let (said, reader) = all(refusal, 9);
        assert!(matches!(said[..], [Said::Host(_), Said::Refusal]), "{said:?}");
        assert_eq!(reader.last_id(), None);
        let (said, _) = all(b"data:{\"message\":\"He said Unable to acquire lock\"}\n\ndata:x\n\n", 100);
        assert_eq!(said, [Said::Event, Said::Event]);
    }

    #[test]
    fn ids_that_cannot_be_sent_back_are_forgotten_and_a_new_connection_keeps_the_others() {
        for (text, id) in [
            ("id:7\nid\n", None),
            ("id:7\nid:a\0b\n", Some(&b"7"[..])),
            ("id:7\nid:x\u{e9}\n", None),
            ("id:7\nid:123456789012345678901\n", None),
            ("id:7\ndata:half", Some(b"7")),
        ] {
            let (_, mut reader) = all(text.as_bytes(), 3);
            assert_eq!(reader.last_id(), id, "{text}");
            reader.begin();
            assert_eq!(reader.last_id(), id);
            // The unfinished part does not belong to what follows.
            assert_eq!(reader.next(&mut &b"\n"[..]), None);
        }
    }

    #[test]
    fn a_reader_takes_at_most_160_bytes() {
        assert!(size_of::<Reader>() <= 160, "{}", size_of::<Reader>());
    }

    proptest! {
        #[test]
        fn the_result_does_not_depend_on_how_input_is_split(text in "((id|data|retry|x)?:? ?[0-9a-z]{0,3}(\r|\n|\r\n)){0,12}", piece in 1usize..9) {
            let (whole, reader) = all(text.as_bytes(), text.len().max(1));
            let (cut, other) = all(text.as_bytes(), piece);
            prop_assert_eq!((whole, reader.last_id()), (cut, other.last_id()));
        }
    }
}
