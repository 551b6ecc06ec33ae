//! Asks a target once, on a connection of its own, whether it says which replica serves a connection.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::worker::{IDENTITY_BYTES, WHERE, parse_identity};

/// A target that does not answer by then does not speak our protocol, or is not to be bothered.
const PATIENCE: Duration = Duration::from_millis(500);

/// Whether `target` answers `WHERE` with a UUID. Whatever goes wrong is a no.
pub(crate) fn says_where(target: SocketAddr) -> bool {
    ask(target).unwrap_or(false)
}

fn ask(target: SocketAddr) -> std::io::Result<bool> {
    let deadline = clock::now() + PATIENCE;
    let mut stream = TcpStream::connect_timeout(&target, PATIENCE)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(WHERE)?;
    let mut answer = [0; IDENTITY_BYTES];
    let mut filled = 0;
    while filled < answer.len() {
        let left = deadline.saturating_duration_since(clock::now());
        if left.is_zero() {
            return Ok(false);
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut answer[filled..])? {
            0 => return Ok(false),
            read => filled += read,
        }
    }
    Ok(parse_identity(&answer).is_some())
}
