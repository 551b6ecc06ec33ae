//! Lines of a stream that arrives in pieces of any size.

/// A longer line is an error. etcd splits a watched batch at about 2 MiB, which JSON makes longer.
const LINE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How much of the buffer is kept after a long line.
const KEPT_BYTES: usize = 64 * 1024;

/// Collects pieces and returns lines.
#[derive(Debug, Default)]
pub struct Lines {
    buffer: Vec<u8>,
    /// The start of the next line.
    start: usize,
    /// There is no line end before this.
    searched: usize,
}

impl Lines {
    /// Adds a piece. Returns `false` if the line is too long.
    #[must_use]
    pub fn push(&mut self, piece: &[u8]) -> bool {
        self.buffer.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        if self.buffer.is_empty() {
            self.buffer.shrink_to(KEPT_BYTES);
        }
        if self.buffer.len() + piece.len() > LINE_BYTES_MAX {
            return false;
        }
        self.buffer.extend_from_slice(piece);
        true
    }

    /// The next complete, non-empty line, without its end.
    pub fn next_line(&mut self) -> Option<&[u8]> {
        loop {
            let Some(length) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') else {
                self.searched = self.buffer.len();
                return None;
            };
            let (start, end) = (self.start, self.searched + length);
            self.start = end + 1;
            self.searched = self.start;
            if end > start {
                return Some(&self.buffer[start..end]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_however_the_input_is_cut() {
        let text = b"one\n\ntwo\nthree\n".repeat(3);
        for size in 1..=text.len() {
            let mut lines = Lines::default();
            let mut seen = Vec::new();
            for piece in text.chunks(size) {
                assert!(lines.push(piece));
                while let Some(line) = lines.next_line() {
                    seen.push(line.to_vec());
                }
            }
            let expected: Vec<&[u8]> = [b"one" as &[u8], b"two", b"three"].repeat(3);
            assert_eq!(seen, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn an_endless_line_is_refused_and_memory_of_a_long_one_is_returned() {
        let mut lines = Lines::default();
        let piece = vec![b'x'; 1024 * 1024];
        let taken = std::iter::repeat_with(|| lines.push(&piece)).take_while(|taken| *taken).count();
        assert_eq!(taken, LINE_BYTES_MAX / piece.len());
        assert!(lines.next_line().is_none());

        let mut lines = Lines::default();
        assert!(lines.push(&piece) && lines.push(b"\n"));
        assert_eq!(lines.next_line().map(<[u8]>::len), Some(piece.len()));
        assert!(lines.push(b"short"));
        assert!(lines.buffer.capacity() <= 2 * KEPT_BYTES, "{}", lines.buffer.capacity());
    }
}
