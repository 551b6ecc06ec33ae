//! Requests and answers in the gateway's format: 64-bit numbers as strings, bytes in base64, zeros omitted.

use std::fmt;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeOwned, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::Error;

/// Maximum number of events in one line of a watch. etcd splits batches by size, long before this.
const EVENTS_MAX: usize = 64 * 1024;
/// Maximum number of keys in one page of a list, and of answers to one transaction.
const ANSWERS_MAX: usize = 1024;
/// Maximum length of a member's message.
const WORDS_MAX: usize = 200;

/// A lease, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease(pub(super) i64);

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: Box<[u8]>,
    pub value: Box<[u8]>,
    /// The revision at which the key was created.
    pub created: i64,
    /// The revision of its latest change.
    pub modified: i64,
}

/// A change of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Put(Entry),
    /// At the given revision.
    Deleted(Box<[u8]>, i64),
}

/// Changes seen by a watch, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    pub changes: Vec<Change>,
    /// The watch is over, for this reason.
    pub(super) ended: Option<Error>,
    /// The member confirms that the watch is set up.
    pub(super) created: bool,
}

/// Changes that happen atomically, if one key is in the expected state.
#[derive(Debug, Clone)]
pub struct Txn {
    guard: String,
    revision: i64,
    operations: Vec<Value>,
}

/// The outcome of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// It happened, at this revision.
    Done(i64),
    /// The guarding key has another revision, this one (0: no such key), and nothing happened.
    Outdated(i64),
}

impl Txn {
    /// A transaction that happens if `key` was last changed at `revision`; 0: if there is no such key.
    pub fn when(key: &[u8], revision: i64) -> Self {
        Self { guard: encode(key), revision, operations: Vec::new() }
    }

    pub fn put(&mut self, key: &[u8], value: &[u8], lease: Lease) {
        let put = json!({"key": encode(key), "value": encode(value), "lease": lease.0.to_string()});
        self.operations.push(json!({ "request_put": put }));
    }

    pub fn delete(&mut self, key: &[u8]) {
        self.operations.push(json!({"request_delete_range": {"key": encode(key)}}));
    }

    /// The number of changes.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    pub(super) fn request(&self) -> Value {
        json!({
            "compare": [{
                "key": self.guard, "target": "MOD", "result": "EQUAL", "mod_revision": self.revision.to_string()
            }],
            "success": self.operations,
            "failure": [{"request_range": {"key": self.guard, "keys_only": true}}],
        })
    }
}

/// The range of all keys with `prefix`: this and the first key after them.
pub(super) fn range(prefix: &[u8]) -> (String, String) {
    let mut end = prefix.to_vec();
    while let Some(last) = end.last_mut() {
        if *last < u8::MAX {
            *last += 1;
            return (encode(prefix), encode(&end));
        }
        end.pop();
    }
    // Nothing comes after all keys: a single zero means that.
    (encode(prefix), encode(&[0]))
}

pub(super) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// A 64-bit number, which the gateway writes as a string and accepts as either.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Whole(pub(super) i64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl Visitor<'_> for Either {
            type Value = Whole;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a 64-bit number or a string of one")
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Whole, E> {
                Ok(Whole(number))
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Whole, E> {
                number.try_into().map(Whole).map_err(E::custom)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Whole, E> {
                text.parse().map(Whole).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Bytes(Box<[u8]>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text.as_bytes()).map_err(D::Error::custom)?;
        Ok(Self(bytes.into()))
    }
}

/// A list of at most `MAX` items; a longer one is an error.
#[derive(Debug)]
pub(super) struct Bounded<T, const MAX: usize>(pub(super) Vec<T>);

impl<T, const MAX: usize> Default for Bounded<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Bounded<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T, const MAX: usize>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Items<T, MAX> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MAX} items")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<T>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = sequence.next_element()? {
                    if items.len() == MAX {
                        return Err(A::Error::invalid_length(MAX + 1, &self));
                    }
                    items.push(item);
                }
                Ok(items)
            }
        }

        deserializer.deserialize_seq(Items::<T, MAX>(PhantomData)).map(Self)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawEntry {
    key: Bytes,
    value: Bytes,
    create_revision: Whole,
    mod_revision: Whole,
}

impl From<RawEntry> for Entry {
    fn from(raw: RawEntry) -> Self {
        Self {
            key: raw.key.0,
            value: raw.value.0,
            created: raw.create_revision.0,
            modified: raw.mod_revision.0,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Header {
    revision: Whole,
}

#[derive(Debug, Deserialize)]
pub(super) struct Granted {
    #[serde(rename = "ID")]
    pub(super) id: Whole,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct KeptAlive {
    /// Remaining seconds; 0 if there is no such lease.
    #[serde(rename = "TTL")]
    pub(super) ttl: Whole,
}

#[derive(Debug, Deserialize)]
pub(super) struct Revoked {}

#[derive(Debug, Deserialize)]
pub(super) struct Page {
    header: Header,
    #[serde(default)]
    kvs: Bounded<RawEntry, ANSWERS_MAX>,
    #[serde(default)]
    pub(super) more: bool,
}

impl Page {
    pub(super) fn revision(&self) -> i64 {
        self.header.revision.0
    }

    pub(super) fn entries(self) -> impl Iterator<Item = Entry> {
        self.kvs.0.into_iter().map(Entry::from)
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct TxnAnswer {
    header: Header,
    #[serde(default)]
    succeeded: bool,
    #[serde(default)]
    responses: Bounded<TxnPart, ANSWERS_MAX>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TxnPart {
    response_range: Option<TxnRead>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TxnRead {
    kvs: Bounded<RawEntry, ANSWERS_MAX>,
}

impl From<TxnAnswer> for Committed {
    fn from(answer: TxnAnswer) -> Self {
        if answer.succeeded {
            return Self::Done(answer.header.revision.0);
        }
        let mut entries =
            answer.responses.0.into_iter().filter_map(|part| part.response_range).flat_map(|read| read.kvs.0);
        Self::Outdated(entries.next().map_or(0, |entry| entry.mod_revision.0))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Watched {
    created: bool,
    canceled: bool,
    cancel_reason: String,
    compact_revision: Whole,
    events: Bounded<RawEvent, EVENTS_MAX>,
}

#[derive(Debug, Deserialize)]
struct RawEvent {
    #[serde(rename = "type", default)]
    kind: Kind,
    kv: RawEntry,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
enum Kind {
    #[default]
    #[serde(rename = "PUT")]
    Put,
    #[serde(rename = "DELETE")]
    Delete,
}

/// An answer of a streaming call: one JSON object with either of these.
#[derive(Debug, Deserialize)]
struct Streamed<T> {
    result: Option<T>,
    error: Option<Value>,
}

/// Why an answer is invalid.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Another member may do better.
    Member(String),
    /// Every member would answer the same.
    Final(Error),
}

/// The answer to a non-streaming call.
pub(super) fn read_answer<T: DeserializeOwned>(status: u16, body: &[u8]) -> Result<T, Trouble> {
    if (200..300).contains(&status) {
        serde_json::from_slice(body).map_err(|error| no_etcd(&error))
    } else {
        let value: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        Err(trouble(&value, Some(status)))
    }
}

/// The first answer to a streaming call.
pub(super) fn read_streamed<T: DeserializeOwned>(status: u16, body: &[u8]) -> Result<T, Trouble> {
    if !(200..300).contains(&status) {
        return read_answer(status, body);
    }
    let first = serde_json::Deserializer::from_slice(body).into_iter::<Streamed<T>>().next();
    match first {
        Some(Ok(Streamed { error: Some(error), .. })) => Err(trouble(&error, None)),
        Some(Ok(Streamed { result: Some(result), .. })) => Ok(result),
        Some(Err(error)) => Err(no_etcd(&error)),
        Some(Ok(_)) | None => Err(Trouble::Member("an empty answer".into())),
    }
}

/// One line of a watch.
///
/// # Errors
/// The line is invalid, or says why the watch is over.
pub fn read_watched(line: &[u8]) -> Result<Batch, Error> {
    let watched: Watched = read_streamed(200, line).map_err(|trouble| match trouble {
        Trouble::Member(reason) => Error::Away(reason),
        Trouble::Final(error) => error,
    })?;
    let ended = if watched.compact_revision.0 > 0 {
        Some(Error::Compacted)
    } else {
        watched.canceled.then(|| Error::Away(brief(&watched.cancel_reason, "the watch was cancelled")))
    };
    let changes = watched.events.0.into_iter().map(|RawEvent { kind, kv }| {
        if kind == Kind::Put { Change::Put(kv.into()) } else { Change::Deleted(kv.key.0, kv.mod_revision.0) }
    });
    Ok(Batch { changes: changes.collect(), ended, created: watched.created })
}

fn no_etcd(error: &serde_json::Error) -> Trouble {
    Trouble::Member(format!("no answer of etcd's: {}", brief(&error.to_string(), "unreadable")))
}

/// The meaning of an error object. It has a gRPC code and a message, in fields whose names depend on etcd's version and
/// on the kind of call.
fn trouble(value: &Value, status: Option<u16>) -> Trouble {
    /// The code of a lease that is not found.
    const NOT_FOUND: u64 = 5;
    /// Invalid argument, not found, already there, denied, exhausted (also "database space exceeded"), precondition, out of
    /// range, not implemented, not logged in.
    const FINAL: [u64; 9] = [3, NOT_FOUND, 6, 7, 8, 9, 11, 12, 16];
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let words = text("message").or_else(|| text("error"));
    let code = ["code", "grpc_code"].iter().find_map(|name| value.get(name)?.as_u64());
    let fallback = status.map_or_else(|| "an error".into(), |status| format!("HTTP status {status}"));
    let words = brief(words.unwrap_or_default(), &fallback);
    match code {
        Some(NOT_FOUND) if words.contains("lease not found") => Trouble::Final(Error::LeaseGone),
        Some(11) if words.contains("compacted") => Trouble::Final(Error::Compacted),
        Some(code) if FINAL.contains(&code) => Trouble::Final(Error::Refused(words)),
        _ => Trouble::Member(words),
    }
}

/// The start of a member's message, or `fallback` if it has none.
pub(super) fn brief(words: &str, fallback: &str) -> String {
    if words.is_empty() {
        return fallback.to_owned();
    }
    words.chars().filter(|letter| !letter.is_control()).take(WORDS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_members_write_them() {
        // Recorded from etcd 3.4.23.
        let granted = br#"{"header":{"cluster_id":"5","member_id":"7","revision":"3","raft_term":"2"},"ID":"7587890","TTL":"10"}"#;
        assert_eq!(read_answer::<Granted>(200, granted).unwrap().id, Whole(7_587_890));
        let alive = b"{\"result\":{\"header\":{\"revision\":\"3\"},\"ID\":\"7587890\",\"TTL\":\"10\"}}\n";
        assert_eq!(read_streamed::<KeptAlive>(200, alive).unwrap().ttl, Whole(10));
        let gone = br#"{"result":{"header":{"revision":"3"},"ID":"7587890"}}"#;
        assert_eq!(read_streamed::<KeptAlive>(200, gone).unwrap().ttl, Whole(0));
        let done = br#"{"header":{"revision":"9"},"succeeded":true,"responses":[{"response_put":{"header":{"revision":"9"}}}]}"#;
        assert_eq!(Committed::from(read_answer::<TxnAnswer>(200, done).unwrap()), Committed::Done(9));
        let outdated = br#"{"header":{"revision":"9"},"responses":[{"response_range":{"header":{"revision":"9"},"kvs":[{"key":"YQ==","create_revision":"4","mod_revision":"8","version":"2"}],"count":"1"}}]}"#;
        assert_eq!(Committed::from(read_answer::<TxnAnswer>(200, outdated).unwrap()), Committed::Outdated(8));
        let absent =
            br#"{"header":{"revision":"9"},"responses":[{"response_range":{"header":{"revision":"9"}}}]}"#;
        assert_eq!(Committed::from(read_answer::<TxnAnswer>(200, absent).unwrap()), Committed::Outdated(0));
    }

    #[test]
    fn a_watch_is_read_line_by_line() {
        let created = br#"{"result":{"header":{"revision":"9"},"created":true}}"#;
        assert_eq!(read_watched(created), Ok(Batch { created: true, ..Batch::default() }));
        let events = br#"{"result":{"header":{"revision":"11"},"events":[{"kv":{"key":"YQ==","create_revision":"10","mod_revision":"10","version":"1","value":"Yg=="}},{"type":"DELETE","kv":{"key":"YQ==","mod_revision":"11"}}]}}"#;
        let entry = Entry { key: (*b"a").into(), value: (*b"b").into(), created: 10, modified: 10 };
        let changes = vec![Change::Put(entry), Change::Deleted((*b"a").into(), 11)];
        assert_eq!(read_watched(events), Ok(Batch { changes, ..Batch::default() }));
        let compacted = br#"{"result":{"header":{"revision":"9"},"canceled":true,"compact_revision":"7"}}"#;
        assert_eq!(read_watched(compacted).unwrap().ended, Some(Error::Compacted));
        let cancelled =
            br#"{"result":{"header":{},"canceled":true,"cancel_reason":"etcdserver: no leader"}}"#;
        assert_eq!(
            read_watched(cancelled).unwrap().ended,
            Some(Error::Away("etcdserver: no leader".to_owned()))
        );
        let error = br#"{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: no leader"}}"#;
        assert_eq!(read_watched(error), Err(Error::Away("etcdserver: no leader".to_owned())));
    }

    #[test]
    fn errors_are_told_apart_in_every_version() {
        let read = |status, body: &str| read_answer::<Granted>(status, body.as_bytes()).unwrap_err();
        for gone in [
            r#"{"error":"etcdserver: requested lease not found","message":"etcdserver: requested lease not found","code":5}"#,
            r#"{"code":5,"message":"etcdserver: requested lease not found","details":[]}"#,
        ] {
            assert_eq!(read(404, gone), Trouble::Final(Error::LeaseGone));
        }
        let full = r#"{"error":"etcdserver: mvcc: database space exceeded","code":8}"#;
        let words = "etcdserver: mvcc: database space exceeded".to_owned();
        assert_eq!(read(429, full), Trouble::Final(Error::Refused(words)));
        let elected = r#"{"error":"etcdserver: leader changed","code":14}"#;
        assert_eq!(read(503, elected), Trouble::Member("etcdserver: leader changed".into()));
        assert_eq!(read(502, "<html>"), Trouble::Member("HTTP status 502".into()));
    }

    #[test]
    fn garbage_is_an_error_and_long_lists_are_refused() {
        let many =
            |count| format!(r#"{{"result":{{"events":[{}]}}}}"#, vec![r#"{"kv":{}}"#; count].join(","));
        assert_eq!(read_watched(many(EVENTS_MAX).as_bytes()).unwrap().changes.len(), EVENTS_MAX);
        for line in [
            &b"\xff\xfe"[..],
            b"",
            b"{}",
            b"[]",
            b"{\"result\":7}",
            br#"{"result":{"events":[{"kv":{"key":"?"}}]}}"#,
            br#"{"result":{"events":[{"kv":{"mod_revision":"many"}}]}}"#,
            br#"{"result":{"events":[{}]}}"#,
            many(EVENTS_MAX + 1).as_bytes(),
            "[".repeat(100_000).as_bytes(),
        ] {
            assert!(matches!(read_watched(line), Err(Error::Away(_))), "{:?}", &line[..line.len().min(50)]);
        }
        assert!(brief(&"x".repeat(10_000), "").len() == WORDS_MAX);
    }

    #[test]
    fn a_prefix_range_ends_after_its_last_key() {
        let plain = |bytes: &[u8]| (encode(b"/a/"), encode(bytes));
        assert_eq!(range(b"/a/"), plain(b"/a0"));
        assert_eq!(range(b"a\xff").1, encode(b"b"));
        assert_eq!(range(b"\xff\xff").1, encode(b"\0"));
    }
}
