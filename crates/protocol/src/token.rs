//! Tokens: opaque, but harmless as memcached keys.

use crate::limits::{CLIENT_KEY_PREFIX, TOKEN_BYTES};
use crate::rejection::Rejection;

/// A token as sent by a client: 36 bytes of `[0-9A-Za-z-]`, not starting with `c-`. Only the cache knows whether it was
/// ever issued.
///
/// Tokens and clients' keys share memcached's key space, the latter under [`CLIENT_KEY_PREFIX`]. If a token could start
/// with it, anyone could store a value under a key of 34 bytes and use that as a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token([u8; TOKEN_BYTES]);

impl Token {
    /// Checks the length before the bytes, as expected by programs that distinguish the two errors.
    pub fn parse(field: &[u8]) -> Result<Self, Rejection> {
        let bytes: [u8; TOKEN_BYTES] = field.try_into().map_err(|_| Rejection::TokenLength)?;
        if !bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-') {
            Err(Rejection::TokenBytes)
        } else if bytes.starts_with(CLIENT_KEY_PREFIX) {
            Err(Rejection::TokenPrefix)
        } else {
            Ok(Self(bytes))
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_need_not_be_a_uuid() {
        assert!(Token::parse(b"123e4567-e89b-12d3-a456-426614174000").is_ok());
        assert!(Token::parse(&[b'Z'; 36]).is_ok());
    }

    #[test]
    fn a_token_is_never_a_clients_key() {
        for key in ["a".repeat(34), "-".repeat(34), "23e4567-e89b-12d3-a456-426614174000"[1..].to_owned()] {
            let token = format!("c-{key}");
            assert_eq!(Token::parse(token.as_bytes()), Err(Rejection::TokenPrefix), "{token}");
        }
        assert!(Token::parse(format!("C-{}", "a".repeat(34)).as_bytes()).is_ok());
    }

    #[test]
    fn length_and_bytes_are_refused_apart() {
        assert_eq!(Token::parse(b""), Err(Rejection::TokenLength));
        assert_eq!(Token::parse(&[b'a'; 35]), Err(Rejection::TokenLength));
        assert_eq!(Token::parse(&[b'a'; 37]), Err(Rejection::TokenLength));
        for byte in *b" \r\n\0_.\x7f\xff" {
            let mut field = [b'a'; 36];
            field[17] = byte;
            assert_eq!(Token::parse(&field), Err(Rejection::TokenBytes), "{byte:#x}");
        }
    }
}
