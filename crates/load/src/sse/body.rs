//! The body of an answer: in chunks (RFC 9112 section 7.1), with a known length, or up to the connection's end.

/// Maximum number of digits in a chunk's size.
const DIGITS_MAX: u8 = 15;
/// Maximum length of extensions of a chunk's size, and of trailers.
const ASIDE_MAX: u16 = 4096;

/// Progress of reading a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Body {
    at: At,
    /// Remaining bytes of the chunk, or of the whole body; or the size as far as known.
    left: u64,
    digits: u8,
    aside: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Unbounded,
    Counted,
    /// The size of a chunk, in hexadecimal digits.
    Size,
    /// The optional rest of the line after the size.
    Extension,
    Data,
    /// The line end after the data.
    DataEnd,
    /// The line after the last chunk; `true`: it already has a byte.
    Trailer(bool),
    Over,
}

/// The next part of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    Data(&'a [u8]),
    /// More bytes are needed; all of the input is consumed.
    More,
    /// The body is complete.
    Over,
}

/// The bytes are not valid chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken;

impl Body {
    fn new(at: At, left: u64) -> Self {
        Self { at, left, digits: 0, aside: 0 }
    }

    pub(crate) fn chunked() -> Self {
        Self::new(At::Size, 0)
    }

    pub(crate) fn of_length(length: u64) -> Self {
        Self::new(At::Counted, length)
    }

    pub(crate) fn until_the_end() -> Self {
        Self::new(At::Unbounded, 0)
    }

    /// Its end is known in advance, so it is an answer and not a lasting stream.
    pub(crate) fn has_length(&self) -> bool {
        matches!(self.at, At::Counted | At::Over)
    }

    /// Takes the next part from `input`.
    pub(crate) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Part<'a>, Broken> {
        loop {
            match self.at {
                At::Over => return Ok(Part::Over),
                At::Counted if self.left == 0 => self.at = At::Over,
                _ if input.is_empty() => return Ok(Part::More),
                At::Unbounded => return Ok(Part::Data(std::mem::take(input))),
                At::Counted => return Ok(Part::Data(self.take(input))),
                At::Data => {
                    let data = self.take(input);
                    if self.left == 0 {
                        self.at = At::DataEnd;
                    }
                    return Ok(Part::Data(data));
                }
                _ => {
                    let byte = input[0];
                    *input = &input[1..];
                    self.step(byte)?;
                }
            }
        }
    }

    fn take<'a>(&mut self, input: &mut &'a [u8]) -> &'a [u8] {
        let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
        let (data, rest) = input.split_at(taken);
        *input = rest;
        self.left -= taken as u64;
        data
    }

    /// Processes a byte between the data.
    fn step(&mut self, byte: u8) -> Result<(), Broken> {
        match (self.at, byte) {
            (At::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if self.digits < DIGITS_MAX => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                self.left = self.left << 4 | u64::from(digit);
                self.digits += 1;
            }
            (At::Size | At::Extension, b'\n') if self.digits > 0 => {
                self.digits = 0;
                self.aside = 0;
                self.at = if self.left == 0 { At::Trailer(false) } else { At::Data };
            }
            (At::Size, b';' | b' ' | b'\t' | b'\r') if self.digits > 0 => self.at = At::Extension,
            (At::Extension, _) => self.ignore()?,
            (At::DataEnd | At::Trailer(_), b'\r') => {}
            (At::DataEnd, b'\n') => self.at = At::Size,
            (At::Trailer(false), b'\n') => self.at = At::Over,
            (At::Trailer(true), b'\n') => self.at = At::Trailer(false),
            (At::Trailer(_), _) => {
                self.ignore()?;
                self.at = At::Trailer(true);
            }
            _ => return Err(Broken),
        }
        Ok(())
    }

    fn ignore(&mut self) -> Result<(), Broken> {
        self.aside += 1;
        if self.aside > ASIDE_MAX { Err(Broken) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The data in pieces of these lengths, and whether the body is over.
    fn read(mut body: Body, bytes: &[u8], piece: usize) -> Result<(Vec<u8>, bool), Broken> {
        let mut data = Vec::new();
        for mut input in bytes.chunks(piece) {
            loop {
                match body.next(&mut input)? {
                    Part::Data(part) => data.extend_from_slice(part),
                    Part::More => break,
                    Part::Over => return Ok((data, true)),
                }
            }
        }
        Ok((data, body.next(&mut &b""[..])? == Part::Over))
    }

    #[test]
    fn chunks_are_decoded_however_they_are_cut() {
        let bytes = b"5\r\nhello\r\nA;x=\"y\"\r\n, chunked!\r\n0\r\nTrailer: 1\r\nB: 2\r\n\r\nnext";
        for piece in 1..bytes.len() {
            assert_eq!(
                read(Body::chunked(), bytes, piece),
                Ok((b"hello, chunked!".to_vec(), true)),
                "{piece}"
            );
        }
        assert_eq!(read(Body::chunked(), b"5\r\nhel", 2), Ok((b"hel".to_vec(), false)));
    }

    #[test]
    fn other_bodies_have_a_length_or_none() {
        assert_eq!(read(Body::of_length(3), b"abcd", 2), Ok((b"abc".to_vec(), true)));
        assert_eq!(read(Body::of_length(0), b"", 1), Ok((Vec::new(), true)));
        assert_eq!(read(Body::until_the_end(), b"abcd", 3), Ok((b"abcd".to_vec(), false)));
    }

    #[test]
    fn an_invalid_chunk_is_an_error() {
        let endless = format!("5;{}", "x".repeat(5000));
        for bytes in ["\r\n", "x\r\n", "5\r\nhello!", "fffffffffffffffff\r\n", "-1\r\n", endless.as_str()] {
            assert_eq!(read(Body::chunked(), bytes.as_bytes(), 7), Err(Broken), "{bytes}");
        }
    }

    proptest! {
        #[test]
        fn chunked_bodies_are_decoded(
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..8),
            piece in 1usize..50,
        ) {
            let mut bytes = Vec::new();
            for part in &parts {
                bytes.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
                bytes.extend_from_slice(part);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
            prop_assert_eq!(read(Body::chunked(), &bytes, piece), Ok((parts.concat(), true)));
        }
    }
}
