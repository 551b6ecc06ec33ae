//! Streams of server-sent events: requested, and read as fast as they arrive.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use rustix::{
    event::epoll::{self, CreateFlags, EventData, EventFlags},
    io::Errno,
    net::{RecvFlags, recv},
};

use super::{LOOK_UP, Meter, dial, unexpected_end};
use crate::poll;

const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Maximum length of a head.
const HEAD_MAX: usize = 4096;
/// Maximum size of one read. The kernel drops the bytes (`MSG_TRUNC`, tcp(7)) instead of copying them.
const PIECE: usize = 1024 * 1024;

/// Opens a stream at each of these paths, then non-blocking. Reads only the answers' heads.
pub(crate) fn open(target: SocketAddr, paths: &[String]) -> io::Result<Vec<TcpStream>> {
    let streams = dial::many(target, paths.len())?;
    for (mut stream, path) in streams.iter().zip(paths) {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n")?;
        read_head(stream)?;
        stream.set_nonblocking(true)?;
    }
    Ok(streams)
}

/// Byte by byte, so that nothing after it is consumed.
fn read_head(mut stream: &TcpStream) -> io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 || head.len() > HEAD_MAX {
            return Err(unexpected_end());
        }
        head.push(byte[0]);
    }
    // An answer that is not a stream says how long it is.
    if head.starts_with(b"HTTP/1.1 200 ")
        && !head.to_ascii_lowercase().windows(15).any(|part| part == b"content-length:")
    {
        return Ok(());
    }
    Err(io::Error::other(format!("no stream: {}", String::from_utf8_lossy(&head))))
}

/// Reads all of them and counts bytes.
pub(crate) fn read(streams: &[TcpStream], meter: &Meter) -> io::Result<()> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    for (index, stream) in streams.iter().enumerate() {
        epoll::add(&epoll, stream, EventData::new_u64(index as u64), EventFlags::IN)?;
    }
    meter.ready();
    let (mut events, mut piece) = (poll::events(), vec![0; PIECE]);
    while !meter.stopped() {
        poll::wait(&epoll, &mut events, Some(&LOOK_UP))?;
        for event in &events {
            match recv(&streams[event.data.u64() as usize], &mut piece[..], RecvFlags::TRUNC) {
                Ok((_, 0)) => return Err(unexpected_end()),
                Ok((_, taken)) => meter.add(taken as u64),
                Err(Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}
