//! One bulk request while it is filled: the body for Elasticsearch, and everything else that belongs to the bulk.

use std::ops::Range;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use crate::progress::BulkNumber;
use crate::record::{self, Day, Stamp, Verdict};

/// Where a record came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

/// A record that cannot be a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeadLetter {
    pub(crate) origin: Origin,
    pub(crate) value: Bytes,
    pub(crate) cause: Cause,
    pub(crate) reason: String,
}

/// Who found the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// This service.
    Malformed,
    /// Elasticsearch.
    Refused,
}

/// A document in a body.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub(crate) origin: Origin,
    /// Its action and source, each with a line end.
    pub(crate) lines: Range<usize>,
    /// The start of its source in the body.
    pub(crate) source_at: usize,
    /// Its timestamp in the body, and the record's own if the text differs.
    pub(crate) stamped: Option<(Range<usize>, Box<[u8]>)>,
}

/// A bulk ready for delivery.
#[derive(Debug)]
pub(crate) struct Bulk {
    pub(crate) number: BulkNumber,
    pub(crate) body: Bytes,
    pub(crate) documents: Vec<Document>,
    pub(crate) dead_letters: Vec<DeadLetter>,
}

/// The constant parts of indices and IDs.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub(crate) topic: String,
    pub(crate) index_prefix: String,
}

/// A bulk that is being filled. Its buffer is allocated with the first record.
#[derive(Debug)]
pub(crate) struct Filling {
    names: Names,
    bytes_max: usize,
    number: BulkNumber,
    body: BytesMut,
    documents: Vec<Document>,
    dead_letters: Vec<DeadLetter>,
    dead_letter_bytes: usize,
    /// When its first record arrived.
    since: Option<Instant>,
    /// The name of the last document's index; most documents of a bulk are from the same day.
    index: Option<(Day, String)>,
    id: String,
}

impl Filling {
    pub(crate) fn new(names: Names, bytes_max: usize) -> Self {
        Self {
            names,
            bytes_max,
            number: 0,
            body: BytesMut::new(),
            documents: Vec::new(),
            dead_letters: Vec::new(),
            dead_letter_bytes: 0,
            since: None,
            index: None,
            id: String::new(),
        }
    }

    pub(crate) fn number(&self) -> BulkNumber {
        self.number
    }

    /// When its first record arrived; `None` if it is empty.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Whether it has reached its size limit.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes() >= self.bytes_max
    }

    /// Whether even the excess allowed while consuming is being paused is used up.
    pub(crate) fn is_overfull(&self) -> bool {
        self.bytes() >= self.bytes_max.saturating_mul(2)
    }

    fn bytes(&self) -> usize {
        self.body.len() + self.dead_letter_bytes
    }

    /// Adds a record with its verdict.
    pub(crate) fn add(&mut self, origin: Origin, value: Option<&[u8]>, verdict: Verdict, now: Instant) {
        self.since.get_or_insert(now);
        match verdict {
            Verdict::Document(stamp) => self.add_document(origin, value.unwrap_or_default(), &stamp),
            Verdict::TooOld => {}
            Verdict::Malformed(reason) => {
                let value = Bytes::copy_from_slice(value.unwrap_or_default());
                self.dead_letter_bytes += value.len() + reason.len();
                self.dead_letters.push(DeadLetter { origin, value, cause: Cause::Malformed, reason });
            }
        }
    }

    fn add_document(&mut self, origin: Origin, value: &[u8], stamp: &Stamp) {
        let day = stamp.day();
        if self.body.capacity() == 0 {
            // The last document may go beyond the limit by its own size.
            self.body.reserve(self.bytes_max + self.bytes_max / 8);
        }
        let index = match self.index.take() {
            Some((same, name)) if same == day => name,
            _ => format!("{}-{}", self.names.index_prefix, day.name()),
        };
        self.id.clear();
        record::write_id(&mut self.id, &self.names.topic, origin.partition, origin.offset, value);
        let begin = self.body.len();
        // Names of topics and indices contain no characters that JSON would escape.
        for part in [r#"{"create":{"_index":""#, &index, r#"","_id":""#, &self.id, "\"}}\n"] {
            self.body.extend_from_slice(part.as_bytes());
        }
        let source_at = self.body.len();
        let place = &stamp.place;
        let time = format!("\"{}\"", stamp.time);
        self.body.extend_from_slice(&value[..place.start]);
        self.body.extend_from_slice(time.as_bytes());
        self.body.extend_from_slice(&value[place.end..]);
        let time_at = source_at + place.start;
        let stamped = (value[place.clone()] != *time.as_bytes())
            .then(|| (time_at..time_at + time.len(), value[place.clone()].into()));
        // A line end can only be white space between tokens here, because JSON strings contain none; in a bulk it would
        // end the document.
        for byte in &mut self.body[source_at..] {
            if *byte == b'\n' {
                *byte = b' ';
            }
        }
        self.body.extend_from_slice(b"\n");
        self.documents.push(Document { origin, lines: begin..self.body.len(), source_at, stamped });
        self.index = Some((day, index));
    }

    /// Takes the filled bulk and starts the next one.
    pub(crate) fn take(&mut self) -> Bulk {
        let bulk = Bulk {
            number: self.number,
            body: std::mem::take(&mut self.body).freeze(),
            documents: std::mem::take(&mut self.documents),
            dead_letters: std::mem::take(&mut self.dead_letters),
        };
        self.number += 1;
        self.dead_letter_bytes = 0;
        self.since = None;
        bulk
    }
}

impl Bulk {
    /// A body with only these documents. If they are all documents, nothing is copied.
    pub(crate) fn body_of(&self, documents: &[Document]) -> Bytes {
        if documents.len() == self.documents.len() {
            return self.body.clone();
        }
        let mut body = BytesMut::with_capacity(documents.iter().map(|document| document.lines.len()).sum());
        for document in documents {
            body.extend_from_slice(&self.body[document.lines.clone()]);
        }
        body.freeze()
    }

    /// Turns a document that Elasticsearch refused into a dead letter.
    pub(crate) fn refused(&self, document: &Document, reason: String) -> DeadLetter {
        // Without the line end.
        let end = document.lines.end - 1;
        let value = match &document.stamped {
            None => self.body.slice(document.source_at..end),
            Some((place, original)) => {
                let (before, after) =
                    (&self.body[document.source_at..place.start], &self.body[place.end..end]);
                [before, original, after].concat().into()
            }
        };
        DeadLetter { origin: document.origin, value, cause: Cause::Refused, reason }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;

    fn filling() -> Filling {
        Filling::new(Names { topic: "general-logs".into(), index_prefix: "logs".into() }, 1000)
    }

    fn add(filling: &mut Filling, offset: i64, value: &str) {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let verdict = record::judge(Some(value.as_bytes()), now, Duration::from_hours(24));
        filling.add(Origin { partition: 3, offset }, Some(value.as_bytes()), verdict, clock::now());
    }

    const ONE: &str = "{\"pod\":\"a\",\n\"text\":\"x\",\"timestamp\":\"2026-11-21T11:00:00Z\"}";
    const TWO: &str = r#"{"pod":"a","text":"y","timestamp":"2026-11-20T23:00:00Z"}"#;

    #[test]
    fn bodies_are_pairs_of_lines_of_json() {
        let mut filling = filling();
        add(&mut filling, 7, ONE);
        add(&mut filling, 8, "rubbish");
        add(&mut filling, 9, TWO);
        let bulk = filling.take();
        let text = std::str::from_utf8(&bulk.body).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert_eq!(lines[0]["create"]["_index"], "logs-2026.11.21");
        let id = lines[0]["create"]["_id"].as_str().unwrap();
        assert!(id.starts_with("general-logs-3-7-") && id.len() == "general-logs-3-7-".len() + 8, "{id}");
        assert_eq!(lines[1], serde_json::from_str::<serde_json::Value>(ONE).unwrap());
        assert_eq!(lines[2]["create"]["_index"], "logs-2026.11.20");

        assert_eq!(bulk.dead_letters.len(), 1);
        assert_eq!(bulk.dead_letters[0].origin, Origin { partition: 3, offset: 8 });
        assert_eq!(bulk.dead_letters[0].value, "rubbish");
        let second = bulk.documents[1].clone();
        assert_eq!(bulk.refused(&second, "no".into()).value, TWO);
        assert!(bulk.body_of(&[second]).ends_with(format!("{TWO}\n").as_bytes()));
    }

    #[test]
    fn documents_use_rfc_3339_times_and_dead_letters_keep_the_original_time() {
        let mut filling = filling();
        let record = r#"{"timestamp": 1795258800.5, "pod":"a","text":"\"timestamp\": 1"}"#;
        add(&mut filling, 7, record);
        let bulk = filling.take();
        let document = &bulk.documents[0];
        let source = std::str::from_utf8(&bulk.body[document.source_at..document.lines.end]).unwrap();
        assert_eq!(source, record.replace("1795258800.5", r#""2026-11-21T11:00:00.5Z""#) + "\n");
        assert_eq!(bulk.refused(document, "no".into()).value, record);
    }

    #[test]
    fn dead_letters_fill_a_bulk_too_and_the_next_bulk_begins_empty() {
        let mut filling = filling();
        assert!(filling.since().is_none());
        add(&mut filling, 0, &"x".repeat(1000));
        assert!(filling.is_full() && !filling.is_overfull());
        let first = filling.take();
        assert!(!filling.is_full() && filling.since().is_none());
        add(&mut filling, 1, ONE);
        assert_eq!(filling.take().number, first.number + 1);
    }
}
