//! One direction of a session: bytes from a source to a sink.
//!
//! Most reads are written at once from the worker's shared buffer, so a flow owns memory only while its sink is
//! full. A flow that carries bulk data goes through a pipe instead.
//!
//! Events are edge-triggered. After a short read, the next edge says when there is more, which saves the read that
//! would only say "nothing now"; after a pause an edge may have passed unseen, so it then reads until nothing is left.

use std::io::{self, ErrorKind, Read};
use std::time::Duration;

use mio::net::TcpStream;

use super::room::Room;
use super::splice::PipePool;
use super::stash::{Flushed, Stash, write_once};

/// The shared buffer of a worker: large enough for what a socket usually holds.
pub(super) const BUFFER_BYTES: usize = 128 * 1024;

/// Reads and pipe fills in one go before others get their turn.
const TURNS: u32 = 8;

/// A read of this size counts as bulk.
const BULK_READ: usize = 32 * 1024;

/// After this many consecutive bulk reads, a flow is spliced once its room is large: the source can then refill what a
/// pipe takes.
const BULK_STREAK: u8 = 4;

/// State shared by all flows of a worker.
#[derive(Debug)]
pub(super) struct Shared {
    buffer: Box<[u8]>,
    pipes: PipePool,
    /// How long a sink may leave pending data unread.
    stall_timeout: Option<Duration>,
}

impl Shared {
    pub(super) fn new(pipes_max: usize, stall_timeout: Option<Duration>) -> Self {
        let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        Self { buffer, pipes: PipePool::new(pipes_max), stall_timeout }
    }

    /// Reads what `source` has now into the buffer and returns the number of bytes; they stay valid until the next flow
    /// moves. 0 if the source has nothing or has ended.
    pub(super) fn read(&mut self, source: &TcpStream) -> io::Result<usize> {
        let most = self.buffer.len().min(Room::default().read_max());
        read_once(source, &mut self.buffer[..most]).map(Option::unwrap_or_default)
    }
}

/// One direction of a session.
#[derive(Debug, Default)]
pub(super) struct Flow {
    stash: Option<Box<Stash>>,
    room: Room,
    /// Consecutive bulk reads.
    streak: u8,
    /// An edge of the source may have passed while the flow was not reading.
    unseen: bool,
    /// The source has ended.
    source_ended: bool,
    /// The end was passed on to the sink: nothing is left to do.
    pub(super) done: bool,
}

/// Why a flow stopped moving.
#[derive(Debug)]
pub(super) enum Pause {
    /// The source has nothing now.
    SourceEmpty,
    /// The sink accepts nothing now.
    SinkFull,
    /// Others must get their turn; there may be more.
    Turn,
    /// The source ended, and everything from it was written.
    End,
    SourceFailed(io::Error),
    /// Data that was read but not written is kept.
    SinkFailed(io::Error),
}

/// The result of one pass.
#[derive(Debug)]
pub(super) struct Moved {
    /// Bytes written to the sink.
    pub(super) bytes: u64,
    /// Writes they took.
    pub(super) writes: u32,
    /// The source gave something, even if only its end.
    pub(super) heard: bool,
    pub(super) pause: Pause,
}

impl Moved {
    const NOTHING: Self = Self { bytes: 0, writes: 0, heard: false, pause: Pause::Turn };

    fn wrote(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.writes += u32::from(bytes > 0);
    }
}

impl Flow {
    /// True if bytes, or the end of the source, wait for the sink.
    pub(super) fn waits_for_sink(&self) -> bool {
        self.stash.is_some() || (self.source_ended && !self.done)
    }

    /// Notes that the source had an event while the flow waits for its sink.
    pub(super) fn note_unseen(&mut self) {
        self.unseen = true;
    }

    /// Moves what can be moved now. `to_the_end`: the source is known to have ended, so a short read is not its last
    /// word; `splice`: bulk data may go through a pipe.
    pub(super) fn run(
        &mut self,
        source: &TcpStream,
        sink: &TcpStream,
        shared: &mut Shared,
        to_the_end: bool,
        splice: bool,
    ) -> Moved {
        let mut moved = Moved::NOTHING;
        self.unseen |= to_the_end;
        for _ in 0..TURNS {
            let pause = self.flush(sink, shared, &mut moved).or_else(|| {
                if self.source_ended {
                    return Some(Pause::End);
                }
                let bulk = self.room.is_large() && self.streak >= BULK_STREAK;
                let pipe = if splice && bulk { shared.pipes.lend() } else { None };
                match pipe {
                    Some(pipe) => self.splice_once(pipe, source, sink, shared, &mut moved),
                    None => self.copy_once(source, sink, shared, &mut moved),
                }
            });
            if let Some(pause) = pause {
                moved.pause = pause;
                break;
            }
        }
        self.unseen = match moved.pause {
            Pause::SourceEmpty => false,
            Pause::SinkFull | Pause::Turn => true,
            _ => self.unseen,
        };
        moved
    }

    /// Writes what is left from before; `None` once nothing is.
    fn flush(&mut self, sink: &TcpStream, shared: &mut Shared, moved: &mut Moved) -> Option<Pause> {
        match Stash::flush(&mut self.stash, sink) {
            Ok(Flushed::All { bytes, pipe }) => {
                moved.wrote(bytes);
                if let Some(pipe) = pipe {
                    shared.pipes.give_back(pipe);
                }
                None
            }
            Ok(Flushed::Some(bytes)) => {
                moved.wrote(bytes);
                Some(Pause::SinkFull)
            }
            Err(error) => Some(Pause::SinkFailed(error)),
        }
    }

    /// One read and one write; `None` if there may be more.
    fn copy_once(
        &mut self,
        source: &TcpStream,
        sink: &TcpStream,
        shared: &mut Shared,
        moved: &mut Moved,
    ) -> Option<Pause> {
        let most = shared.buffer.len().min(self.room.read_max());
        let taken = match read_once(source, &mut shared.buffer[..most]) {
            Ok(Some(taken)) => taken,
            Ok(None) => return Some(Pause::SourceEmpty),
            Err(error) => return Some(Pause::SourceFailed(error)),
        };
        moved.heard = true;
        if taken == 0 {
            self.source_ended = true;
            return Some(Pause::End);
        }
        self.note_read(taken, source, sink, shared);
        self.write(&shared.buffer[..taken], sink, moved)
            .or_else(|| (taken < most && !self.unseen).then_some(Pause::SourceEmpty))
    }

    /// Starts with the first `taken` bytes of the shared buffer, read before the source was registered.
    pub(super) fn begin(
        &mut self,
        taken: usize,
        source: &TcpStream,
        sink: &TcpStream,
        shared: &Shared,
    ) -> Moved {
        self.room.read(taken, source, sink, shared.stall_timeout);
        let mut moved = Moved::NOTHING;
        let pause = self.write(&shared.buffer[..taken], sink, &mut moved);
        self.unseen = pause.is_some();
        // If there is more, registering the source produces an event.
        moved.pause = pause.unwrap_or(Pause::SourceEmpty);
        moved
    }

    /// One write; keeps the rest of `bytes`. `None` if nothing is left.
    fn write(&mut self, bytes: &[u8], sink: &TcpStream, moved: &mut Moved) -> Option<Pause> {
        let written = match write_once(sink, bytes) {
            Ok(written) => written,
            Err(error) => {
                self.stash = Some(Box::new(Stash::of(bytes)));
                return Some(Pause::SinkFailed(error));
            }
        };
        moved.wrote(written as u64);
        if written < bytes.len() {
            self.stash = Some(Box::new(Stash::of(&bytes[written..])));
            return Some(Pause::SinkFull);
        }
        None
    }

    /// One pipe full; `None` if there may be more.
    fn splice_once(
        &mut self,
        mut pipe: super::splice::Pipe,
        source: &TcpStream,
        sink: &TcpStream,
        shared: &mut Shared,
        moved: &mut Moved,
    ) -> Option<Pause> {
        let pause = match pipe.fill(source) {
            Ok(Some(taken)) => {
                moved.heard = true;
                if taken > 0 {
                    self.note_read(taken, source, sink, shared);
                    self.stash = Some(Box::new(Stash::Pipe(pipe)));
                    return None;
                }
                self.source_ended = true;
                Pause::End
            }
            Ok(None) => Pause::SourceEmpty,
            Err(error) => Pause::SourceFailed(error),
        };
        shared.pipes.give_back(pipe);
        Some(pause)
    }

    fn note_read(&mut self, taken: usize, source: &TcpStream, sink: &TcpStream, shared: &Shared) {
        self.room.read(taken, source, sink, shared.stall_timeout);
        self.streak = if taken >= BULK_READ { self.streak.saturating_add(1) } else { 0 };
    }

    /// Discards what is held back.
    pub(super) fn discard(&mut self, shared: &mut Shared) {
        if let Some(Stash::Pipe(pipe)) = self.stash.take().map(|stash| *stash) {
            shared.pipes.give_back(pipe);
        }
    }
}

/// Reads once. `None` if there is nothing now, 0 at the end.
fn read_once(mut source: &TcpStream, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        match source.read(buffer) {
            Ok(taken) => return Ok(Some(taken)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
