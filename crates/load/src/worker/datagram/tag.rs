//! The content of a message, and which message a datagram answers.
//!
//! A payload of our protocol gets a tag after its `msg:`: its sender and its sequence number, in hexadecimal
//! digits of a fixed number. The answer begins with it (or with the whole payload, from a server that echoes
//! everything). Any other payload is sent unchanged.

use scenario::Expect;

use crate::reply::replies_to;

const COMMAND: &[u8] = b"msg:";
/// Digits of each of the two numbers.
const DIGITS: usize = 8;
const TAG: usize = 2 * DIGITS;

/// The form of a load's messages.
#[derive(Debug, Clone)]
pub(super) struct Form {
    expect: Expect,
    payload: Vec<u8>,
    /// Messages carry their numbers.
    numbered: bool,
    /// The correct answers; the part after the tag if messages are numbered.
    replies: Vec<Vec<u8>>,
    /// A reply is the beginning of a datagram.
    begins: bool,
}

/// Which message a datagram answers, and whether it is as expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// To this message.
    To { sequence: u32, right: bool },
    /// Unknown; the oldest is as likely as any.
    ToOldest { right: bool },
    /// To none of this sender's messages.
    Stray,
}

impl Form {
    pub(super) fn new(expect: Expect, payload: &[u8]) -> Self {
        let content = payload.strip_prefix(COMMAND).filter(|_| expect == Expect::Echo);
        let Some(content) = content else {
            let replies = replies_to(payload);
            return Self { expect, payload: payload.to_vec(), numbered: false, replies, begins: false };
        };
        let zeros = [b'0'; TAG];
        let payload = [COMMAND, zeros.as_slice(), content].concat();
        // The tag's position distinguishes both kinds of server.
        let replies = replies_to(&payload)
            .into_iter()
            .map(|reply| reply[reply.len().min(reply_head(&reply) + TAG)..].to_vec())
            .collect();
        Self { expect, payload, numbered: true, replies, begins: false }
    }

    /// Messages without numbers, answered by datagrams that begin with `answer`.
    pub(super) fn answered_by(answer: &[u8], payload: &[u8]) -> Self {
        let (payload, replies) = (payload.to_vec(), vec![answer.to_vec()]);
        Self { expect: Expect::Echo, payload, numbered: false, replies, begins: true }
    }

    /// A message without its numbers.
    pub(super) fn template(&self) -> &[u8] {
        &self.payload
    }

    pub(super) fn expects_answers(&self) -> bool {
        self.expect != Expect::None
    }

    pub(super) fn is_numbered(&self) -> bool {
        self.numbered
    }

    /// Writes the numbers into a message made from the template.
    pub(super) fn number(&self, message: &mut [u8], source: u32, sequence: u32) {
        if self.numbered
            && let Some(tag) = message.get_mut(COMMAND.len()..COMMAND.len() + TAG)
        {
            let (first, second) = tag.split_at_mut(DIGITS);
            write_hex(first, source);
            write_hex(second, sequence);
        }
    }

    /// Judges a datagram received for `source`.
    pub(super) fn read(&self, datagram: &[u8], source: u32) -> Answer {
        if !self.numbered {
            let is_right =
                |reply: &Vec<u8>| if self.begins { datagram.starts_with(reply) } else { reply == datagram };
            let right = self.expect == Expect::Any || self.replies.iter().any(is_right);
            return Answer::ToOldest { right };
        }
        let head = reply_head(datagram);
        let numbers = datagram.get(head..head + TAG).and_then(|tag| {
            let (first, second) = tag.split_at(DIGITS);
            Some((read_hex(first)?, read_hex(second)?))
        });
        match numbers {
            Some((from, sequence)) if from == source => {
                // The first reply is our protocol's, which omits the command; the last is the payload.
                let wanted = if head == 0 { self.replies.first() } else { self.replies.last() };
                let right = wanted.is_some_and(|wanted| *wanted == datagram[head + TAG..]);
                Answer::To { sequence, right }
            }
            _ => Answer::Stray,
        }
    }
}

/// The start of a reply's tag.
fn reply_head(reply: &[u8]) -> usize {
    if reply.starts_with(COMMAND) { COMMAND.len() } else { 0 }
}

fn write_hex(digits: &mut [u8], number: u32) {
    for (at, digit) in digits.iter_mut().rev().enumerate() {
        *digit = b"0123456789abcdef"[(number >> (4 * at) & 0xf) as usize];
    }
}

fn read_hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0_u32, |number, digit| {
        Some(number << 4 | char::from(*digit).to_digit(16).filter(|_| !digit.is_ascii_uppercase())?)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(form: &Form, source: u32, sequence: u32) -> Vec<u8> {
        let mut message = form.template().to_vec();
        form.number(&mut message, source, sequence);
        message
    }

    #[test]
    fn our_protocol_carries_numbers_and_both_kinds_of_echo_are_right() {
        let form = Form::new(Expect::Echo, b"msg:12345");
        let sent = message(&form, 0xdead_beef, 0x1f);
        assert_eq!(sent, b"msg:deadbeef0000001f12345");
        let right = Answer::To { sequence: 0x1f, right: true };
        assert_eq!(form.read(&sent, 0xdead_beef), right);
        assert_eq!(form.read(&sent[4..], 0xdead_beef), right);
        assert_eq!(
            form.read(b"deadbeef0000001f1234", 0xdead_beef),
            Answer::To { sequence: 0x1f, right: false }
        );
        for stray in [&b"error: invalid token"[..], b"", b"deadbeef0000001", b"DEADBEEF0000001f12345"] {
            assert_eq!(form.read(stray, 0xdead_beef), Answer::Stray);
        }
        assert_eq!(form.read(&sent, 1), Answer::Stray, "another sender's");
    }

    #[test]
    fn bytes_the_server_trims_are_not_missed() {
        let form = Form::new(Expect::Echo, b"msg:ab:cd \n");
        let sent = message(&form, 1, 2);
        assert_eq!(sent, b"msg:0000000100000002ab:cd \n");
        assert_eq!(form.read(b"0000000100000002ab", 1), Answer::To { sequence: 2, right: true });
        let empty = Form::new(Expect::Echo, b"msg:");
        assert_eq!(empty.read(b"0000000100000002", 1), Answer::To { sequence: 2, right: true });
    }

    #[test]
    fn other_payloads_stay_as_they_are() {
        let form = Form::new(Expect::Echo, b"ping");
        assert_eq!(message(&form, 1, 2), b"ping");
        assert_eq!(form.read(b"ping", 1), Answer::ToOldest { right: true });
        assert_eq!(form.read(b"pong", 1), Answer::ToOldest { right: false });
        let own = Form::answered_by(b"pong", b"msg:1");
        assert_eq!((own.template(), own.is_numbered()), (&b"msg:1"[..], false));
        assert_eq!(own.read(b"pong 7", 0), Answer::ToOldest { right: true });
        assert_eq!(own.read(b"msg:1", 0), Answer::ToOldest { right: false });
        let any = Form::new(Expect::Any, b"msg:1");
        assert_eq!(any.read(b"whatever", 1), Answer::ToOldest { right: true });
        assert_eq!(message(&any, 1, 2), b"msg:1");
    }

    proptest! {
        #[test]
        fn numbers_come_back(source in any::<u32>(), sequence in any::<u32>(), content in "[a-z:]{0,20}") {
            let form = Form::new(Expect::Echo, format!("msg:{content}").as_bytes());
            let sent = message(&form, source, sequence);
            prop_assert_eq!(form.read(&sent, source), Answer::To { sequence, right: true });
        }

        #[test]
        fn any_datagram_is_judged(bytes in prop::collection::vec(any::<u8>(), 0..64), source in any::<u32>()) {
            let _ = Form::new(Expect::Echo, b"msg:1").read(&bytes, source);
        }
    }
}
