//! What a load reads of a server, for the fuzz targets.

use crate::websocket::{
    close::Close,
    frames::{CONTROL_MAX, Kind, Reader},
    upgrade,
};

/// What frames carried: the kinds of the parts by their place in [`Kind`], and their bytes, put together. `None`: they broke the
/// protocol.
pub type Read = Option<Vec<(u8, Vec<u8>)>>;

/// Reads frames that come in these pieces.
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
    match upgrade::read(head, [7; 16]) {
        upgrade::Answer::Wrong(text) | upgrade::Answer::Refused { line: text, .. } => {
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
        upgrade::Answer::Accepted { length, .. } => assert!(length <= head.len()),
        upgrade::Answer::Partial => {}
    }
}
