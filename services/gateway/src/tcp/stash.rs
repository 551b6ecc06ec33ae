//! Bytes that were read but could not be written yet.
//!
//! A moving flow has none; one with a slow reader has one of bounded size, and its source is not read meanwhile. That
//! is all there is to backpressure.

use std::io::{self, ErrorKind, Write};

use mio::net::TcpStream;

use super::splice::Pipe;

/// Data that a flow holds back until its sink is writable again.
#[derive(Debug)]
pub(super) enum Stash {
    /// The rest of one read.
    Bytes { bytes: Box<[u8]>, written: usize },
    /// The rest in the pipe of a spliced flow.
    Pipe(Pipe),
}

/// How much of a stash was written.
#[derive(Debug)]
pub(super) enum Flushed {
    /// All of it: this many bytes now. A pipe is returned for reuse.
    All { bytes: u64, pipe: Option<Pipe> },
    /// This many bytes, then the sink was full.
    Some(u64),
}

impl Stash {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self::Bytes { bytes: bytes.into(), written: 0 }
    }

    /// Writes as much as `sink` accepts. Puts the rest back into `slot`, after an error too, so that it can go to
    /// another backend.
    pub(super) fn flush(slot: &mut Option<Box<Self>>, sink: &TcpStream) -> io::Result<Flushed> {
        match slot.as_deref_mut() {
            None => Ok(Flushed::All { bytes: 0, pipe: None }),
            Some(Self::Bytes { bytes, written }) => {
                let now = write_once(sink, &bytes[*written..])?;
                *written += now;
                if *written < bytes.len() {
                    return Ok(Flushed::Some(now as u64));
                }
                *slot = None;
                Ok(Flushed::All { bytes: now as u64, pipe: None })
            }
            Some(Self::Pipe(pipe)) => {
                let now = pipe.drain(sink)?;
                if pipe.filled() > 0 {
                    return Ok(Flushed::Some(now));
                }
                let Some(Self::Pipe(pipe)) = slot.take().map(|stash| *stash) else {
                    unreachable!("the slot held a pipe a line above")
                };
                Ok(Flushed::All { bytes: now, pipe: Some(pipe) })
            }
        }
    }
}

/// Writes what `sink` accepts at once; 0 if it is full.
pub(super) fn write_once(mut sink: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match sink.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => return Ok(written),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
