//! The load's parsers of server output, for the fuzz targets.

use crate::{
    http_head::{HEAD_MAX, Refusal},
    sse::{
        body::{Body, Part},
        events::{Reader as Events, Said},
        head,
    },
    websocket::{
        close::Close,
        frames::{CONTROL_MAX, Kind, Reader},
        upgrade,
    },
};

/// The contents of frames: the kinds of the parts by their index in [`Kind`], and their bytes, reassembled. `None`:
/// they violated the protocol.
pub type Read = Option<Vec<(u8, Vec<u8>)>>;

/// Reads frames that arrive in these pieces.
pub fn read_frames(pieces: &[&[u8]]) -> Read {
    let mut reader = Reader::default();
    let (mut message, mut control, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for piece in pieces {
        let mut rest = *piece;
        while let Some(part) = reader.next(&mut rest).ok()? {
            let open = if part.kind == Kind::Message { &mut message } else { &mut control };
            open.extend_from_slice(part.data);
            assert!(part.kind == Kind::Message || open.len() <= CONTROL_MAX);
            if part.ends {
                let whole = std::mem::take(open);
                if part.kind == Kind::Close
                    && let Ok(close) = Close::read(&whole)
                {
                    assert!(!close.reason.chars().any(char::is_control));
                }
                all.push((part.kind as u8, whole));
            }
        }
        assert!(rest.is_empty(), "all is taken");
    }
    Some(all)
}

/// Reads the answer to an upgrade whose key nobody knows.
pub fn read_upgrade(head: &[u8]) {
    match upgrade::read(head, [7; 16], &[]) {
        upgrade::Answer::Wrong(text) | upgrade::Answer::Refused(Refusal { line: text, .. }) => {
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
        upgrade::Answer::Accepted { length, .. } => assert!(length <= head.len()),
        upgrade::Answer::Partial => {}
    }
}

/// The contents of an answer to the request for a stream, and the ID of its last event: `None` if it is not a stream.
pub type Stream = Option<(Vec<String>, Option<Vec<u8>>)>;

/// Reads an answer that arrives in these pieces, as a connection does: the head, the body's chunks, and its events.
/// Stops where the body is broken.
pub fn read_stream(pieces: &[&[u8]]) -> Stream {
    let (mut begun, mut body, mut events) = (Vec::new(), None::<Body>, Events::default());
    let mut said = Vec::new();
    'pieces: for piece in pieces {
        let mut rest = *piece;
        let body = if let Some(body) = &mut body {
            body
        } else {
            let before = begun.len();
            let taken = rest.len().min(HEAD_MAX + 1 - before);
            begun.extend_from_slice(&rest[..taken]);
            match head::read(&begun) {
                head::Answer::Partial => continue,
                head::Answer::Stream { length, body: found, .. } => {
                    rest = &rest[length - before..];
                    body.insert(found)
                }
                head::Answer::Wrong(text) | head::Answer::Refused(Refusal { line: text, .. }) => {
                    assert!(!text.chars().any(char::is_control), "{text:?}");
                    return None;
                }
            }
        };
        loop {
            match body.next(&mut rest) {
                Ok(Part::Data(mut data)) => {
                    while let Some(next) = events.next(&mut data) {
                        if let Said::Host(host) = &next {
                            assert!(host.bytes().all(|byte| byte.is_ascii_graphic()), "{host:?}");
                        }
                        said.push(format!("{next:?}"));
                    }
                    assert!(data.is_empty(), "all is taken");
                }
                Ok(Part::More) => {
                    assert!(rest.is_empty(), "all is taken");
                    break;
                }
                Ok(Part::Over) | Err(_) => break 'pieces,
            }
        }
    }
    body?;
    // It is sent in a header of the next request.
    let id = events.last_id().map(<[u8]>::to_vec);
    assert!(id.iter().flatten().all(u8::is_ascii_graphic));
    Some((said, id))
}
