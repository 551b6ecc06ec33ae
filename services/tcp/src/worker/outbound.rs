//! Output waiting for one client.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;

/// Copied bytes are kept in pieces of about this size, so that memory is freed piece by piece as they are written.
const PIECE_BYTES: usize = 16 * 1024;

enum Piece {
    Copied(Vec<u8>),
    /// A rendered client list, shared by all clients that asked; up to the given end.
    Shared(Arc<[u8]>, usize),
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Copied(bytes) => bytes,
            Self::Shared(bytes, end) => &bytes[..*end],
        }
    }
}

/// A queue of bytes. Exists only while something is pending.
#[derive(Default)]
pub(super) struct Outbound {
    pieces: VecDeque<Piece>,
    /// How much of the first piece is already written.
    written: usize,
    /// Pending copied bytes.
    copied_bytes: usize,
    /// When bytes were last taken from it, or it was created: milliseconds of the worker's clock.
    pub(super) moved_ms: u32,
}

impl Outbound {
    pub(super) fn new(now_ms: u32) -> Self {
        Self { moved_ms: now_ms, ..Self::default() }
    }

    /// Pending copied bytes; shared lists do not count.
    pub(super) fn copied_bytes(&self) -> usize {
        self.copied_bytes
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.copied_bytes += bytes.len();
        match self.pieces.back_mut() {
            Some(Piece::Copied(last)) if last.len() < PIECE_BYTES => last.extend_from_slice(bytes),
            _ => self.pieces.push_back(Piece::Copied(bytes.to_vec())),
        }
    }

    /// Queues `bytes[start..end]` without copying. If `start` is not 0, the queue must be empty.
    pub(super) fn push_shared(&mut self, bytes: Arc<[u8]>, start: usize, end: usize) {
        debug_assert!(start == 0 || self.pieces.is_empty(), "only the first piece can be written in part");
        if self.pieces.is_empty() {
            self.written = start;
        }
        self.pieces.push_back(Piece::Shared(bytes, end));
    }

    /// Writes as much as possible and adds the number of bytes to `sent`. `Ok(true)` if nothing is left.
    pub(super) fn write_to(
        &mut self,
        stream: &mut impl Write,
        now_ms: u32,
        sent: &mut u64,
    ) -> io::Result<bool> {
        while let Some(piece) = self.pieces.front() {
            let rest = &piece.bytes()[self.written..];
            if !rest.is_empty() {
                let count = match stream.write(rest) {
                    Ok(count) => count,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(error),
                };
                *sent += count as u64;
                self.moved_ms = now_ms;
                self.written += count;
                if matches!(piece, Piece::Copied(_)) {
                    self.copied_bytes -= count;
                }
                if count < rest.len() {
                    continue;
                }
            }
            self.pieces.pop_front();
            self.written = 0;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a given number of bytes per call for a number of calls, then blocks.
    struct Narrow {
        taken: Vec<u8>,
        per_call: usize,
        calls: usize,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.calls == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.calls -= 1;
            let count = bytes.len().min(self.per_call);
            self.taken.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn pieces_are_written_in_order_however_much_the_client_takes() {
        let list: Arc<[u8]> = b"list\n".to_vec().into();
        let mut outbound = Outbound::new(0);
        outbound.push_shared(Arc::clone(&list), 2, 4);
        outbound.push(b"reply");
        outbound.push_shared(list, 0, 5);
        let long = vec![b'x'; 40_000];
        outbound.push(&long);
        outbound.push(b"end");
        assert_eq!(outbound.copied_bytes(), 40_008);

        let mut stream = Narrow { taken: Vec::new(), per_call: 3, calls: 0 };
        let mut sent = 0;
        let mut rounds = 0;
        loop {
            stream.calls = 7;
            rounds += 1;
            if outbound.write_to(&mut stream, rounds, &mut sent).unwrap() {
                break;
            }
        }
        let expected = [&b"streplylist\n"[..], &long, b"end"].concat();
        assert!(stream.taken == expected);
        assert_eq!(sent as usize, expected.len());
        assert_eq!(outbound.copied_bytes(), 0);
        assert_eq!(outbound.moved_ms, rounds);
    }

    #[test]
    fn a_client_that_takes_nothing_does_not_count_as_moving() {
        let mut outbound = Outbound::new(5);
        outbound.push(b"reply");
        let mut stream = Narrow { taken: Vec::new(), per_call: 1, calls: 0 };
        assert!(!outbound.write_to(&mut stream, 9, &mut 0).unwrap());
        assert_eq!(outbound.moved_ms, 5);
    }
}
