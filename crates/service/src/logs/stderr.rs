//! Writes to stderr without ever blocking or failing: lines that a full disk, a closed pipe or a stopped reader does
//! not accept are dropped and counted.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing_subscriber::fmt::MakeWriter;

/// A pipe with any room accepts this much without blocking (`PIPE_BUF`).
const CHUNK_BYTES: usize = 4096;
/// How long the rest of a started line may wait for room.
const REST_WAITS: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Lines of this process that could not be written to stderr.
static UNWRITTEN: AtomicU64 = AtomicU64::new(0);
/// The last line was cut off.
static TORN: AtomicBool = AtomicBool::new(false);

pub(super) fn unwritten() -> u64 {
    UNWRITTEN.load(Ordering::Relaxed)
}

/// Stderr for the subscriber.
pub struct Stderr;

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl Write for Stderr {
    /// Accepts a whole line, which is how the subscriber writes, and never fails.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if !write_line(&mut io::stderr().lock(), line, &TORN) {
            UNWRITTEN.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether the line was written in full. `torn` is kept from one line to the next.
fn write_line(stream: &mut (impl Write + AsFd), line: &[u8], torn: &AtomicBool) -> bool {
    if torn.load(Ordering::Relaxed) {
        if !has_room(stream, AT_ONCE) || stream.write_all(b"\n").is_err() {
            return false;
        }
        torn.store(false, Ordering::Relaxed);
    }
    let mut waits = AT_ONCE;
    for chunk in line.chunks(CHUNK_BYTES) {
        if !has_room(stream, waits) || stream.write_all(chunk).is_err() {
            // A failed write may have written a part.
            torn.store(true, Ordering::Relaxed);
            return false;
        }
        waits = REST_WAITS;
    }
    true
}

/// Whether a write would not block; it may still fail.
fn has_room(stream: &impl AsFd, waits: Timespec) -> bool {
    let mut polled = [PollFd::new(stream, PollFlags::OUT)];
    // A file that cannot be polled does not block.
    poll(&mut polled, Some(&waits)).map_or(true, |ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::io::Read;

    use super::*;

    #[test]
    fn failed_writes_keep_nothing_in_memory_and_do_not_end_the_process() {
        let torn = AtomicBool::new(false);
        let mut full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert!(!write_line(&mut full, b"line\n", &torn));
        let (reader, mut closed) = io::pipe().unwrap();
        drop(reader);
        assert!(!write_line(&mut closed, b"line\n", &torn));
        let mut read_only = File::open("/dev/null").unwrap();
        assert!(!write_line(&mut read_only, b"line\n", &torn));
    }

    #[test]
    fn a_stalled_reader_blocks_nothing_and_later_gets_whole_lines() {
        let torn = AtomicBool::new(false);
        let (mut reader, mut pipe) = io::pipe().unwrap();
        let line = [vec![b'x'; 6000], vec![b'\n']].concat();
        let mut written = 0;
        while write_line(&mut pipe, &line, &torn) {
            written += 1;
        }
        assert!(!write_line(&mut pipe, b"lost\n", &torn));
        let mut waiting = vec![0; 128 * 1024];
        let mut count = reader.read(&mut waiting).unwrap();
        assert!(write_line(&mut pipe, b"next\n", &torn));
        drop(pipe);
        count += reader.read(&mut waiting[count..]).unwrap();
        let lines: Vec<_> = waiting[..count].split(|byte| *byte == b'\n').collect();
        let whole = lines.iter().filter(|found| **found == &line[..6000]).count();
        assert_eq!(whole, written);
        assert_eq!(lines[lines.len() - 2..], [&b"next"[..], b""]);
    }
}
