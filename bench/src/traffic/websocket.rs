//! Sessions over web sockets, as far as a load needs them: the handshake, and one frame.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use super::dial;

/// A text frame of the nine bytes `msg:12345`, masked by zero as a client may.
pub(crate) const FRAME: &[u8] = b"\x81\x89\0\0\0\0msg:12345";
/// Its echo: no mask.
pub(crate) const ECHO: &[u8] = b"\x81\x09msg:12345";
/// The service's path for sessions; the bare loop accepts any.
const REQUEST: &[u8] = b"GET /api/v1/websocket/bench HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Maximum length of an answer.
const ANSWER_MAX: usize = 4096;

/// Maximum number of pending handshakes: a server gives up on connections that stay silent for long.
const OPENING: usize = 100;

/// `count` connections to `target` on which a session is open, non-blocking from then on.
pub(crate) fn sessions(target: SocketAddr, count: usize) -> io::Result<Vec<TcpStream>> {
    let mut streams = Vec::with_capacity(count);
    while streams.len() < count {
        let opened = dial::many(target, OPENING.min(count - streams.len()))?;
        for stream in &opened {
            stream.set_nonblocking(false)?;
            stream.set_read_timeout(Some(ANSWER_WITHIN))?;
            open(stream)?;
            stream.set_nonblocking(true)?;
        }
        streams.extend(opened);
    }
    Ok(streams)
}

fn open(mut stream: &TcpStream) -> io::Result<()> {
    stream.write_all(REQUEST)?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 512]);
    // The server sends nothing after its answer before it has received a frame.
    while !answer.ends_with(b"\r\n\r\n") {
        let length = stream.read(&mut buffer)?;
        if length == 0 || answer.len() > ANSWER_MAX {
            return Err(super::unexpected_end());
        }
        answer.extend_from_slice(&buffer[..length]);
    }
    if answer.starts_with(b"HTTP/1.1 101 ") {
        Ok(())
    } else {
        let line = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
        Err(io::Error::other(format!("no session: {line}")))
    }
}
