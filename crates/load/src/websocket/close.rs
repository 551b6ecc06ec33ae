//! The last frame of a connection.

use std::time::Duration;

use scenario::escape;

use super::frames::Violation;

/// Closed by this side, as planned.
pub(crate) const NORMAL: u16 = 1000;
/// Closed by this side, because the other one violated the protocol.
pub(crate) const PROTOCOL_ERROR: u16 = 1002;
/// A close without a code.
pub(crate) const NO_CODE: u16 = 1005;
/// No close preceded the end.
pub(crate) const ABNORMAL: u16 = 1006;
/// There is no room at present.
pub(crate) const TRY_AGAIN: u16 = 1013;
/// Codes with which a server asks its client to reconnect: it goes away, restarts, has no room, or moves the session.
const COME_BACK: [u16; 4] = [1001, 1012, TRY_AGAIN, 4001];
/// The hint of the subprotocol `retry-hint` at the end of a reason.
const HINT: &str = "; retry in ";
/// A longer hint is ignored.
pub(crate) const HINT_MAX: Duration = Duration::from_hours(1);

/// The contents of a close.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Close {
    pub(crate) code: u16,
    /// Escaped, and without the hint.
    pub(crate) reason: String,
    /// When to reconnect.
    pub(crate) retry: Option<Duration>,
}

impl Close {
    /// Parses the payload of a close.
    pub(crate) fn read(payload: &[u8]) -> Result<Self, Violation> {
        let (code, reason) = match payload {
            [] => (NO_CODE, &[][..]),
            [_] => return Err(Violation::Close),
            [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
        };
        let may_be_sent = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        if !payload.is_empty() && !may_be_sent {
            return Err(Violation::Close);
        }
        let text = String::from_utf8_lossy(reason);
        let hint = text.rsplit_once(HINT).and_then(|(before, hint)| {
            let after = Duration::from_millis(hint.strip_suffix(" ms")?.parse().ok()?);
            (after <= HINT_MAX).then_some((before, after))
        });
        let (reason, retry) = match hint {
            Some((before, after)) => (escape(before.as_bytes()), Some(after)),
            None => (escape(reason), None),
        };
        Ok(Self { code, reason, retry })
    }

    /// Whether the client should reopen its session.
    pub(crate) fn asks_back(&self) -> bool {
        COME_BACK.contains(&self.code)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(code: u16, reason: &[u8]) -> Result<Close, Violation> {
        Close::read(&[&code.to_be_bytes(), reason].concat())
    }

    #[test]
    fn codes_reasons_and_hints_are_read() {
        let close = read(4001, b"Server Rebalancing; retry in 6120 ms").unwrap();
        let expected = Close {
            code: 4001,
            reason: "Server Rebalancing".to_owned(),
            retry: Some(Duration::from_millis(6_120)),
        };
        assert_eq!(close, expected);
        assert!(close.asks_back());
        assert_eq!(Close::read(b"").map(|close| (close.code, close.asks_back())), Ok((NO_CODE, false)));
        for reason in ["; retry in soon ms", "; retry in 5 s", "; retry in 99999999999 ms", "retry in 5 ms"] {
            let close = read(1013, reason.as_bytes()).unwrap();
            assert_eq!((close.reason.as_str(), close.retry), (reason, None));
        }
        assert_eq!(read(1000, b"\x1b[2J\xff").unwrap().reason, r"\x1b[2J\xff");
        for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
            assert_eq!(read(code, b""), Err(Violation::Close), "{code}");
        }
        assert_eq!(Close::read(b"\x03"), Err(Violation::Close));
    }

    proptest! {
        #[test]
        fn any_payload_is_judged(payload in prop::collection::vec(any::<u8>(), 0..126)) {
            if let Ok(close) = Close::read(&payload) {
                prop_assert!(!close.reason.chars().any(char::is_control));
            }
        }
    }
}
