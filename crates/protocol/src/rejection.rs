//! The errors of commands.

use std::fmt;

/// Why a command was refused before it had any effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rejection {
    MissingField,
    TokenLength,
    TokenBytes,
    TokenPrefix,
    KeyTooLong,
    KeyBytes,
    ValueTooLong,
}

impl Rejection {
    /// The error packet.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MissingField => "error: missing field",
            Self::TokenLength => "error: token must be 36 characters",
            Self::TokenBytes => "error: token may only have letters, digits and -",
            Self::TokenPrefix => "error: token may not begin with c-",
            Self::KeyTooLong => "error: key longer than 64 bytes",
            Self::KeyBytes => "error: key may not have white space or control characters",
            Self::ValueTooLong => "error: value longer than 256 bytes",
        }
    }

    /// The same in at most [`BRIEF_BYTES_MAX`](crate::limits::BRIEF_BYTES_MAX) bytes, for services whose replies must
    /// not be longer than requests because their clients' addresses may be forged.
    pub fn brief(self) -> &'static str {
        match self {
            Self::MissingField => "error: missing field",
            Self::TokenLength => "error: token not 36 characters",
            Self::TokenBytes => "error: token not of [0-9A-Za-z-]",
            Self::TokenPrefix => "error: token begins with c-",
            Self::KeyTooLong => "error: key too long",
            Self::KeyBytes => "error: key has space or control",
            Self::ValueTooLong => "error: value too long",
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for Rejection {}
