//! Moves bulk data through a pipe, so that it never enters this process.
//!
//! Pipes come from a pool: opening one costs more than it saves on a short transfer, and an idle connection must
//! not own two more open files. If the pool is empty, the flow keeps copying.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice};

/// Requested capacity of a pipe; also the maximum that one turn moves.
const PIPE_BYTES: usize = 1024 * 1024;

/// The kernel gives tiny pipes to an unprivileged user with many pipes; copying is faster than those.
const PIPE_BYTES_MIN: usize = 64 * 1024;

/// Maximum number of idle pipes in the pool.
const IDLE_MAX: usize = 8;

/// A pipe and how many bytes are in it.
#[derive(Debug)]
pub(super) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    filled: usize,
}

impl Pipe {
    fn open() -> io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let granted = fcntl_setpipe_size(&write, PIPE_BYTES).or_else(|_| fcntl_getpipe_size(&write))?;
        if granted < PIPE_BYTES_MIN {
            return Err(Errno::NOBUFS.into());
        }
        Ok(Self { read, write, filled: 0 })
    }

    /// Bytes taken from a source but not yet given to a sink.
    pub(super) fn filled(&self) -> usize {
        self.filled
    }

    /// Moves what one call gets from `source`. `None` if there is nothing now, 0 at its end. Call it only while the
    /// pipe is empty: otherwise "nothing now" could mean that the pipe is full.
    pub(super) fn fill(&mut self, source: impl AsFd) -> io::Result<Option<usize>> {
        debug_assert_eq!(self.filled, 0, "a pipe is filled when it is empty");
        let taken = transfer(source, &self.write, PIPE_BYTES)?;
        self.filled += taken.unwrap_or(0);
        Ok(taken)
    }

    /// Moves the contents to `sink`, until that is full or the pipe empty; returns how much.
    pub(super) fn drain(&mut self, sink: impl AsFd) -> io::Result<u64> {
        let before = self.filled;
        while self.filled > 0 {
            match transfer(&self.read, &sink, self.filled)? {
                Some(0) => return Err(io::ErrorKind::WriteZero.into()),
                Some(given) => self.filled -= given,
                None => break,
            }
        }
        Ok((before - self.filled) as u64)
    }
}

fn transfer(from: impl AsFd, to: impl AsFd, bytes: usize) -> io::Result<Option<usize>> {
    loop {
        match splice(&from, None, &to, None, bytes, SpliceFlags::MOVE | SpliceFlags::NONBLOCK) {
            Ok(moved) => return Ok(Some(moved)),
            Err(Errno::AGAIN) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The pipes of one worker.
#[derive(Debug)]
pub(super) struct PipePool {
    idle: Vec<Pipe>,
    /// How many more may be opened, to keep their open files within the limits.
    unopened: usize,
}

impl PipePool {
    /// A pool with at most `max` open pipes, lent and idle ones together.
    pub(super) fn new(max: usize) -> Self {
        Self { idle: Vec::new(), unopened: max }
    }

    /// An empty pipe, unless all are lent or no more can be opened.
    pub(super) fn lend(&mut self) -> Option<Pipe> {
        if let Some(pipe) = self.idle.pop() {
            return Some(pipe);
        }
        if self.unopened == 0 {
            return None;
        }
        let Ok(pipe) = Pipe::open() else {
            // Ask again only when one was returned, not at every turn.
            self.unopened = 0;
            return None;
        };
        self.unopened -= 1;
        Some(pipe)
    }

    /// Number of idle pipes.
    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        self.idle.len()
    }

    /// Takes a pipe back. One that is not empty is closed with its contents.
    pub(super) fn give_back(&mut self, pipe: Pipe) {
        if pipe.filled == 0 && self.idle.len() < IDLE_MAX {
            self.idle.push(pipe);
        } else {
            self.unopened += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_is_bounded_and_reuses() {
        let mut pool = PipePool::new(2);
        let first = pool.lend().unwrap();
        let second = pool.lend().unwrap();
        assert!(pool.lend().is_none());
        pool.give_back(first);
        pool.give_back(second);
        assert!(pool.lend().is_some() && pool.lend().is_some() && pool.lend().is_none());
    }

    #[test]
    fn a_pipe_with_bytes_in_it_is_not_lent_again() {
        let mut pool = PipePool::new(1);
        let mut pipe = pool.lend().unwrap();
        let (source, far) = std::os::unix::net::UnixStream::pair().unwrap();
        source.set_nonblocking(true).unwrap();
        assert_eq!(pipe.fill(&source).unwrap(), None);
        io::Write::write_all(&mut &far, b"left over").unwrap();
        assert_eq!(pipe.fill(&source).unwrap(), Some(9));
        pool.give_back(pipe);
        let mut pipe = pool.lend().unwrap();
        assert_eq!(pipe.filled(), 0);
        assert_eq!(pipe.fill(&source).unwrap(), None);
    }
}
