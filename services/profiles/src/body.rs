//! Parses requests: IDs in paths, and bodies.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::{Map, Value};
use service::problem::{Fault, Problem};
use tokio::sync::{Semaphore, SemaphorePermit};
use uuid::Uuid;

use crate::object::{Content, Table};

/// Maximum length of a body: a profile with the maximum number of users, with room to spare.
pub(crate) const BODY_BYTES_MAX: usize = 1024 * 1024;
/// This much of each body does not count against [`LONG_BYTES_MAX`], so that a few long ones cannot block the short
/// ones.
const SHORT_BYTES: usize = 16 * 1024;
/// Limit on bytes beyond that, over all clients: each may send slowly, or never finish. The rest wait for room.
pub(crate) const LONG_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Maximum length of a user name.
const NAME_BYTES_MAX: usize = 1024;
/// Maximum number of users in a profile.
const USERS_MAX: usize = 10_000;
/// Maximum number of faults listed in one answer.
const FAULTS_MAX: usize = 20;
/// Maximum length of a bad value in a message.
const SHOWN_CHARS_MAX: usize = 80;
/// Length of a UUID with hyphens; paths accept no other format.
const UUID_CHARS: usize = 36;

/// An ID such as `8a377bc6-c2e7-42db-bf80-36301e21f25e`.
pub(crate) fn id(text: &str) -> Result<Uuid, Problem> {
    uuid(text).ok_or_else(|| {
        let detail = format!("{:?} is not an ID: expected {EXPECTED_UUID}", shown(text));
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })
}

const EXPECTED_UUID: &str = "a UUID such as 8a377bc6-c2e7-42db-bf80-36301e21f25e";

fn uuid(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok().filter(|_| text.len() == UUID_CHARS)
}

/// The object to store, from a request's body. `room`: for the bytes of long bodies, each of which waits for it up to
/// `patience` at a time.
pub(crate) async fn content(
    table: Table,
    request: Request<Body>,
    room: &Semaphore,
    patience: Duration,
) -> Result<Content, Problem> {
    if !is_json(request.headers()) {
        let detail = "expected a body in JSON, with Content-Type: application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let encoded = request.headers().get(header::CONTENT_ENCODING);
    if encoded.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        let detail = "expected a body without Content-Encoding: compressed bodies are not supported";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    // A client that waits for `100 Continue` need not send the body. Others are sending it, and could miss an answer that
    // comes before they are done.
    let waits = request.headers().contains_key(header::EXPECT);
    if waits && request.body().size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(too_long());
    }
    let (bytes, _held) = whole(request.into_body(), room, patience).await?;
    let body: Value = serde_json::from_slice(&bytes).map_err(|error| {
        Problem::new(StatusCode::BAD_REQUEST, format!("the body is not valid JSON: {error}"))
    })?;
    let mut faults = Faults::default();
    let content = read(table, &body, &mut faults);
    match content.filter(|_| faults.0.is_empty()) {
        Some(content) => Ok(content),
        None => Err(Problem::invalid(faults.0)),
    }
}

/// The whole body, and its share of `room`.
async fn whole(
    body: Body,
    room: &Semaphore,
    patience: Duration,
) -> Result<(Vec<u8>, Option<SemaphorePermit<'_>>), Problem> {
    let mut body = Limited::new(body, BODY_BYTES_MAX);
    let (mut bytes, mut held) = (Vec::new(), None::<SemaphorePermit<'_>>);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            if error.is::<LengthLimitError>() {
                too_long()
            } else {
                Problem::new(StatusCode::BAD_REQUEST, "the body did not arrive in full, or not in time")
            }
        })?;
        let Ok(piece) = frame.into_data() else { continue };
        let needed = bytes.len() + piece.len();
        if needed > bytes.capacity() {
            // Grows as it would by itself, but not beyond the reserved size.
            let capacity = needed.max((2 * bytes.capacity()).min(BODY_BYTES_MAX));
            let counted = held.as_ref().map_or(0, SemaphorePermit::num_permits);
            let more = capacity.saturating_sub(SHORT_BYTES + counted);
            if more > 0 {
                let room = tokio::time::timeout(patience, room.acquire_many(more as u32)).await;
                // Fails only if the semaphore is closed, which never happens.
                let Some(more) = room.ok().and_then(Result::ok) else {
                    let detail = "too many long bodies at once";
                    return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail));
                };
                match &mut held {
                    Some(held) => held.merge(more),
                    None => held = Some(more),
                }
            }
            bytes.reserve_exact(capacity - bytes.len());
        }
        bytes.extend_from_slice(&piece);
    }
    Ok((bytes, held))
}

fn too_long() -> Problem {
    let detail = format!("the body is too long: expected at most {BODY_BYTES_MAX} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

/// JSON is UTF-8; other character sets are not supported.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let mut parts = kind.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
    let is_json = kind == "application/json" || kind.starts_with("application/") && kind.ends_with("+json");
    is_json
        && parts.filter_map(|part| part.split_once('=')).all(|(name, value)| {
            !name.trim().eq_ignore_ascii_case("charset")
                || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        })
}

/// Bounded: one bad body may have thousands of faults.
#[derive(Debug, Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        if self.0.len() < FAULTS_MAX {
            self.0.push(Fault { pointer: pointer.into(), detail: detail.into() });
        }
    }

    fn unexpected(&mut self, pointer: impl Into<String>, expected: &str, found: &Value) {
        self.add(pointer, format!("expected {expected}, got {}", shown(&found.to_string())));
    }
}

/// Ignores unknown keys, since newer clients may send them, and the body's ID, since the server or the path determines
/// it.
fn read(table: Table, body: &Value, faults: &mut Faults) -> Option<Content> {
    let Value::Object(body) = body else {
        faults.unexpected("", "an object", body);
        return None;
    };
    match present(body, "id") {
        None => {}
        Some(Value::String(id)) if uuid(id).is_some() => {}
        Some(other) => faults.unexpected("/id", EXPECTED_UUID, other),
    }
    match table {
        Table::Users => name(body, faults),
        Table::Profiles => users(body, faults).map(Content::users),
    }
}

/// A key with a value; null counts as absent.
fn present<'a>(body: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    body.get(key).filter(|value| !value.is_null())
}

fn name(body: &Map<String, Value>, faults: &mut Faults) -> Option<Content> {
    match present(body, "name") {
        None => Some(Content::Name(None)),
        Some(Value::String(name)) if name.len() > NAME_BYTES_MAX => {
            faults.add("/name", format!("expected at most {NAME_BYTES_MAX} bytes, got {}", name.len()));
            None
        }
        Some(Value::String(name)) if name.chars().any(char::is_control) => {
            faults.add("/name", "expected text without control characters");
            None
        }
        Some(Value::String(name)) => Some(Content::Name(Some(name.as_str().into()))),
        Some(other) => {
            faults.unexpected("/name", "text", other);
            None
        }
    }
}

fn users(body: &Map<String, Value>, faults: &mut Faults) -> Option<Vec<Uuid>> {
    let users = match present(body, "users") {
        None => return Some(Vec::new()),
        Some(Value::Array(users)) if users.len() > USERS_MAX => {
            faults.add("/users", format!("expected at most {USERS_MAX} users, got {}", users.len()));
            return None;
        }
        Some(Value::Array(users)) => users,
        Some(other) => {
            faults.unexpected("/users", "an array of IDs", other);
            return None;
        }
    };
    let mut ids = Vec::with_capacity(users.len());
    for (index, user) in users.iter().enumerate() {
        match user.as_str().and_then(uuid) {
            Some(id) => ids.push(id),
            None => faults.unexpected(format!("/users/{index}"), EXPECTED_UUID, user),
        }
    }
    Some(ids)
}

fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "8a377bc6-c2e7-42db-bf80-36301e21f25e";

    fn faults(table: Table, body: &Value) -> Vec<(String, String)> {
        let mut faults = Faults::default();
        read(table, body, &mut faults);
        faults.0.into_iter().map(|fault| (fault.pointer, fault.detail)).collect()
    }

    fn good(table: Table, body: &Value) -> Content {
        let mut faults = Faults::default();
        let content = read(table, body, &mut faults);
        assert!(faults.0.is_empty(), "{:?}", faults.0);
        content.unwrap()
    }

    #[tokio::test]
    async fn long_bodies_share_their_room_and_leave_some_for_short_ones() {
        const AT_ONCE: Duration = Duration::ZERO;
        const PATIENCE: Duration = Duration::from_mins(10);
        let room = Semaphore::new(100);
        let body = |bytes: usize| Body::from(vec![b'x'; bytes]);
        let (first, held) = whole(body(SHORT_BYTES + 60), &room, AT_ONCE).await.unwrap();
        assert_eq!((first.len(), room.available_permits()), (SHORT_BYTES + 60, 40));
        let refused = whole(body(SHORT_BYTES + 41), &room, AT_ONCE).await.unwrap_err();
        assert_eq!((refused.status(), room.available_permits()), (StatusCode::SERVICE_UNAVAILABLE, 40));
        assert_eq!(whole(body(SHORT_BYTES), &room, AT_ONCE).await.unwrap().0.len(), SHORT_BYTES);
        // The second waits until the first is done.
        let (second, ()) =
            tokio::join!(biased; whole(body(SHORT_BYTES + 41), &room, PATIENCE), async { drop(held) });
        assert_eq!(second.unwrap().0.len(), SHORT_BYTES + 41);
        assert_eq!(room.available_permits(), 100);
        let too_long = whole(body(BODY_BYTES_MAX + 1), &room, AT_ONCE).await.unwrap_err();
        assert_eq!(too_long.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }

    #[tokio::test]
    async fn a_chunked_body_counts_by_the_memory_that_it_takes() {
        let room = Semaphore::new(LONG_BYTES_MAX);
        let pieces = vec![b'x'; BODY_BYTES_MAX - 1000];
        let pieces: Vec<_> =
            pieces.chunks(1500).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
        let body = Body::from_stream(futures_util::stream::iter(pieces));
        let (bytes, held) = whole(body, &room, Duration::ZERO).await.unwrap();
        assert_eq!((bytes.len(), bytes.capacity()), (BODY_BYTES_MAX - 1000, BODY_BYTES_MAX));
        assert_eq!(held.unwrap().num_permits(), bytes.capacity() - SHORT_BYTES);
    }

    #[test]
    fn bodies_that_clients_send_are_understood() {
        for body in [json!({}), json!({"name": null}), json!({"id": null, "name": null, "more": [1]})] {
            assert_eq!(good(Table::Users, &body), Content::Name(None), "{body}");
        }
        let named = Content::Name(Some("Ann".into()));
        assert_eq!(good(Table::Users, &json!({"id": ID, "name": "Ann"})), named);
        for body in [json!({}), json!({"users": null}), json!({"users": []})] {
            assert_eq!(good(Table::Profiles, &body), Content::users(Vec::new()), "{body}");
        }
        let one = Content::users(vec![Uuid::try_parse(ID).unwrap()]);
        let upper = ID.to_uppercase();
        assert_eq!(good(Table::Profiles, &json!({"users": [ID, upper, ID]})), one);
    }

    #[test]
    fn every_fault_is_named_with_its_position() {
        let pointers = |table, body| -> Vec<String> {
            faults(table, &body).into_iter().map(|(pointer, _)| pointer).collect()
        };
        for body in [json!(null), json!([]), json!("x"), json!(1)] {
            assert_eq!(pointers(Table::Users, body.clone()), [""], "{body}");
        }
        assert_eq!(pointers(Table::Users, json!({"id": 1, "name": ["x"]})), ["/id", "/name"]);
        assert_eq!(pointers(Table::Users, json!({"name": "x".repeat(1025)})), ["/name"]);
        assert_eq!(pointers(Table::Users, json!({"name": "a\nb"})), ["/name"]);
        assert!(pointers(Table::Users, json!({"name": "x".repeat(1024)})).is_empty());
        assert_eq!(pointers(Table::Profiles, json!({"users": ID})), ["/users"]);
        assert_eq!(pointers(Table::Profiles, json!({"users": [ID, "x", null]})), ["/users/1", "/users/2"]);
        assert_eq!(pointers(Table::Profiles, json!({"users": vec![ID; 10_001]})), ["/users"]);
        assert_eq!(pointers(Table::Profiles, json!({"users": vec![1; 100]})).len(), FAULTS_MAX);
        let told = faults(Table::Profiles, &json!({"users": ["x".repeat(500)]}));
        assert!(told[0].1.len() < 300 && told[0].1.starts_with("expected a UUID"), "{told:?}");
    }

    #[test]
    fn only_hyphenated_uuids_are_ids() {
        assert!(id(ID).is_ok() && id(&ID.to_uppercase()).is_ok());
        for bad in
            ["", "drop", &ID[1..], &ID.replace('-', ""), &format!("{{{ID}}}"), &format!("urn:uuid:{ID}")]
        {
            assert_eq!(id(bad).unwrap_err().status(), StatusCode::BAD_REQUEST, "{bad}");
        }
    }

    #[test]
    fn json_is_known_by_its_content_type() {
        let is = |kind: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
            is_json(&headers)
        };
        for good in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
            "application/hal+json",
        ] {
            assert!(is(good), "{good}");
        }
        for bad in
            ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1", "json"]
        {
            assert!(!is(bad), "{bad}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
