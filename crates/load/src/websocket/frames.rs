//! Frames: parsed as they arrive, in pieces, and written.

use std::fmt;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;
/// Length codes that announce two, or eight, bytes of length.
const SHORT: u8 = 0x7e;
const LONG: u8 = 0x7f;
const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xa;
/// Maximum length of the payload of a close, a ping or a pong.
pub(crate) const CONTROL_MAX: usize = 125;
/// Maximum length of the head of an unmasked frame.
const HEAD_MAX: usize = 10;

/// Progress of reading a connection's frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reader {
    /// Remaining bytes of the payload.
    left: u64,
    head: [u8; HEAD_MAX],
    /// Bytes of the head received so far.
    head_bytes: u8,
    in_payload: bool,
    /// The last data frame was not the last of its message.
    in_message: bool,
}

/// The contents of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Of a message, text or binary.
    Message,
    Close,
    Ping,
    Pong,
}

/// A piece of a message or of a control frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part<'a> {
    pub(crate) kind: Kind,
    pub(crate) data: &'a [u8],
    /// The last piece.
    pub(crate) ends: bool,
}

/// A violation of the protocol by a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Violation {
    Reserved,
    Opcode(u8),
    Masked,
    /// A fragmented or oversized control frame.
    Control,
    /// A continuation without a start.
    Continuation,
    /// A new message within another.
    Interrupted,
    Length,
    Close,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reserved => formatter.write_str("a frame has reserved bits"),
            Self::Opcode(opcode) => write!(formatter, "a frame has the unknown opcode {opcode:#x}"),
            Self::Masked => formatter.write_str("a frame of the server is masked"),
            Self::Control => formatter.write_str("a control frame is fragmented or longer than 125 bytes"),
            Self::Continuation => formatter.write_str("a frame continues a message that never began"),
            Self::Interrupted => formatter.write_str("a message begins before the last one has ended"),
            Self::Length => formatter.write_str("the length of a frame is not a length"),
            Self::Close => formatter.write_str("a close has half a code, or one that must not be sent"),
        }
    }
}

impl Reader {
    /// Takes the next part from `input`; `None`: more bytes are needed, and all of `input` is consumed.
    pub(crate) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Part<'a>>, Violation> {
        while !self.in_payload {
            let wanted = self.head_length() - usize::from(self.head_bytes);
            let (came, rest) = input.split_at(wanted.min(input.len()));
            self.head[usize::from(self.head_bytes)..][..came.len()].copy_from_slice(came);
            self.head_bytes += came.len() as u8;
            *input = rest;
            if came.len() < wanted {
                return Ok(None);
            }
            if usize::from(self.head_bytes) == self.head_length() {
                self.begin()?;
            }
        }
        if self.left > 0 && input.is_empty() {
            return Ok(None);
        }
        let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len());
        let (data, rest) = input.split_at(taken);
        *input = rest;
        self.left -= taken as u64;
        let kind = match self.head[0] & OPCODE {
            CLOSE => Kind::Close,
            PING => Kind::Ping,
            PONG => Kind::Pong,
            _ => Kind::Message,
        };
        let is_over = self.left == 0;
        let ends = is_over && self.head[0] & FIN != 0;
        if is_over {
            (self.in_payload, self.head_bytes) = (false, 0);
        }
        Ok(Some(Part { kind, data, ends }))
    }

    fn head_length(&self) -> usize {
        match self.head[1] & LENGTH {
            _ if self.head_bytes < 2 => 2,
            SHORT => 4,
            LONG => HEAD_MAX,
            _ => 2,
        }
    }

    /// The head is complete: starts the payload, if the protocol allows it.
    fn begin(&mut self) -> Result<(), Violation> {
        let [first, second, extended @ ..] = self.head;
        let (opcode, is_final) = (first & OPCODE, first & FIN != 0);
        let left = match second & LENGTH {
            SHORT => u64::from(u16::from_be_bytes([extended[0], extended[1]])),
            LONG => u64::from_be_bytes(extended),
            short => u64::from(short),
        };
        if first & RESERVED != 0 {
            return Err(Violation::Reserved);
        }
        if second & MASKED != 0 {
            return Err(Violation::Masked);
        }
        if left > i64::MAX as u64 {
            return Err(Violation::Length);
        }
        match opcode {
            CONTINUATION if !self.in_message => return Err(Violation::Continuation),
            TEXT | BINARY if self.in_message => return Err(Violation::Interrupted),
            CONTINUATION | TEXT | BINARY => self.in_message = !is_final,
            CLOSE | PING | PONG if !is_final || left > CONTROL_MAX as u64 => return Err(Violation::Control),
            CLOSE | PING | PONG => {}
            other => return Err(Violation::Opcode(other)),
        }
        (self.in_payload, self.left) = (true, left);
        Ok(())
    }
}

/// Appends a frame, masked as required of a client.
pub(crate) fn write(output: &mut Vec<u8>, opcode: u8, payload: &[u8], mask: [u8; 4]) {
    output.push(FIN | opcode);
    match payload.len() {
        length @ 0..=125 => output.push(MASKED | length as u8),
        length @ 126..=0xffff => {
            output.push(MASKED | SHORT);
            output.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            output.push(MASKED | LONG);
            output.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    output.extend_from_slice(&mask);
    output.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A reassembled message or control frame.
    type Whole = (Kind, Vec<u8>);

    /// Reads all pieces and reassembles cut ones by kind, since control frames occur within messages.
    fn read_all(pieces: &[&[u8]]) -> Result<Vec<Whole>, Violation> {
        let mut reader = Reader::default();
        let (mut message, mut control, mut all) = (Vec::new(), Vec::new(), Vec::new());
        for piece in pieces {
            let mut rest = *piece;
            while let Some(part) = reader.next(&mut rest)? {
                let open = if part.kind == Kind::Message { &mut message } else { &mut control };
                open.extend_from_slice(part.data);
                if part.ends {
                    all.push((part.kind, std::mem::take(open)));
                }
            }
            assert!(rest.is_empty(), "all is taken");
        }
        Ok(all)
    }

    /// A server's frame.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut bytes, 0, payload, [0; 4]);
        bytes[0] = first;
        bytes[1] &= !MASKED;
        let head = bytes.len() - payload.len();
        bytes.drain(head - 4..head);
        bytes
    }

    fn cut<'a>(stream: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        at.extend([0, stream.len()]);
        at.sort_unstable();
        at.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect()
    }

    #[test]
    fn protocol_violations_are_named() {
        for (bytes, violation) in [
            (frame(FIN | 0x40 | TEXT, b""), Violation::Reserved),
            (frame(FIN | 0x3, b""), Violation::Opcode(3)),
            (vec![FIN | TEXT, MASKED, 0, 0, 0, 0], Violation::Masked),
            (frame(PING, b""), Violation::Control),
            (frame(FIN | CLOSE, &[0; 126]), Violation::Control),
            (frame(FIN, b""), Violation::Continuation),
            ([frame(TEXT, b"a"), frame(FIN | TEXT, b"b")].concat(), Violation::Interrupted),
            (vec![FIN | BINARY, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], Violation::Length),
        ] {
            assert_eq!(read_all(&[&bytes]), Err(violation), "{violation}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Fragmented messages, with control frames in between, arrive complete and in order however they are cut.
        #[test]
        fn cuts_and_fragments_change_nothing(
            messages in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..4), 1..4),
            control in prop::collection::vec(any::<u8>(), 0..=CONTROL_MAX),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let (mut stream, mut expected) = (Vec::new(), Vec::new());
            for fragments in &messages {
                for (at, fragment) in fragments.iter().enumerate() {
                    let opcode = if at == 0 { BINARY } else { CONTINUATION };
                    let is_final = if at + 1 == fragments.len() { FIN } else { 0 };
                    stream.extend(frame(is_final | opcode, fragment));
                    if at + 1 < fragments.len() {
                        stream.extend(frame(FIN | PING, &control));
                        expected.push((Kind::Ping, control.clone()));
                    }
                }
                expected.push((Kind::Message, fragments.concat()));
            }
            prop_assert_eq!(read_all(&cut(&stream, &cuts)), Ok(expected));
        }

        /// Any bytes, cut anywhere, are read as in one piece.
        #[test]
        fn garbage_is_read_the_same_however_it_is_cut(
            stream in prop::collection::vec(
                prop_oneof![any::<u8>(), prop::sample::select(vec![0x81, 0x01, 0x80, 0x88, 0x89, 0, 1, 126])], 0..200),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            prop_assert_eq!(read_all(&cut(&stream, &cuts)), read_all(&[&stream]));
        }

        /// A server unmasks what is written.
        #[test]
        fn frames_are_masked(length in prop_oneof![0_usize..300, 65_500_usize..65_600], byte: u8, mask: [u8; 4]) {
            let payload: Vec<u8> = (0..length).map(|at| byte.wrapping_add(at as u8)).collect();
            let mut bytes = Vec::new();
            write(&mut bytes, TEXT, &payload, mask);
            let head = bytes.len() - payload.len();
            prop_assert_eq!(&bytes[head - 4..head], &mask);
            let plain: Vec<u8> =
                bytes[head..].iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]).collect();
            prop_assert_eq!(&plain, &payload);
            prop_assert_eq!(frame(FIN | TEXT, &payload)[0], bytes[0]);
            prop_assert_eq!(read_all(&[&frame(bytes[0], &plain)]), Ok(vec![(Kind::Message, payload)]));
        }
    }
}
