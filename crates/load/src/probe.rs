//! Asks a target once, on a separate connection, whether it says which replica serves a connection.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::{
    reply::behind_greeting,
    worker::{IDENTITY_BYTES, WHERE, parse_identity},
};

/// A target that does not answer within this does not speak our protocol, or should not be bothered.
const PATIENCE: Duration = Duration::from_millis(500);

/// Whether `target` answers `WHERE` with a UUID. Any failure means no.
pub(crate) fn says_where(target: SocketAddr) -> bool {
    ask(target).unwrap_or(false)
}

fn ask(target: SocketAddr) -> std::io::Result<bool> {
    let deadline = clock::now() + PATIENCE;
    let mut stream = TcpStream::connect_timeout(&target, PATIENCE)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(WHERE)?;
    let (mut answer, mut piece) = (Vec::new(), [0; 4 * IDENTITY_BYTES]);
    loop {
        // At most one greeting comes first, so this stays short.
        if let Some(identity) = behind_greeting(&answer).get(..IDENTITY_BYTES) {
            return Ok(parse_identity(identity).is_some());
        }
        let left = deadline.saturating_duration_since(clock::now());
        if left.is_zero() {
            return Ok(false);
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut piece)? {
            0 => return Ok(false),
            read => answer.extend_from_slice(&piece[..read]),
        }
    }
}
