//! Tokens: opaque, but never able to do harm as a memcached key.

use crate::command::Rejection;
use crate::limits::TOKEN_BYTES;

/// A token as a client sent it: 36 bytes of `[0-9A-Za-z-]`. Whether it was ever issued is for the cache to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token([u8; TOKEN_BYTES]);

impl Token {
    /// Checks the length before the bytes, as programs that tell the two errors apart expect.
    pub fn parse(field: &[u8]) -> Result<Self, Rejection> {
        let bytes: [u8; TOKEN_BYTES] = field.try_into().map_err(|_| Rejection::TokenLength)?;
        if bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-') {
            Ok(Self(bytes))
        } else {
            Err(Rejection::TokenBytes)
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
