//! Parses one packet into one command.
//!
//! Commands with fields are matched by prefix, in the order `msg`, `brd`, `mcset`, `mcget`, `login`, `token` (so
//! `msgx:hi` is a message); the others must match the whole packet. Fields are separated by `:`. The content of `msg`
//! is its second field only; the value of `mcset` and `brd` is the rest of the packet, including any further `:`, so
//! that a stored value is read back unchanged.

use crate::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::rejection::Rejection;
use crate::token::Token;

/// A client's request. Borrows from the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// `msg:CONTENT`: send the content back.
    Message(&'a [u8]),
    /// `brd:TOKEN:VALUE`: send the value to all clients of all instances.
    Broadcast { token: Token, value: &'a [u8] },
    /// `mcset:TOKEN:KEY:VALUE`: store the value.
    Store { token: Token, key: &'a [u8], value: &'a [u8] },
    /// `mcget:TOKEN:KEY`: fetch a stored value.
    Fetch { token: Token, key: &'a [u8] },
    /// `login` or `token`: issue a token.
    Login,
    /// `WHO`: list the clients.
    Who,
    /// `WHERE`: which server is this?
    Where,
    /// `WHY`
    Why,
    /// `QUIT`: close the connection.
    Quit,
    /// Anything else; the answer depends on the dialect.
    Unknown,
}

impl<'a> Command<'a> {
    /// Parses a packet, less its trailing white space.
    ///
    /// # Errors
    /// The reason why a recognised command is invalid.
    #[inline]
    pub fn parse(packet: &'a [u8]) -> Result<Self, Rejection> {
        let packet = packet.trim_ascii_end();
        if packet.starts_with(b"msg") {
            let content = after_separator(packet).ok_or(Rejection::MissingField)?;
            return Ok(Self::Message(until_separator(content)));
        }
        Self::parse_others(packet)
    }

    fn parse_others(packet: &'a [u8]) -> Result<Self, Rejection> {
        if packet.starts_with(b"brd") {
            let [token, value] = fields(packet)?;
            Ok(Self::Broadcast { token: Token::parse(token)?, value })
        } else if packet.starts_with(b"mcset") {
            let [token, key, value] = fields(packet)?;
            let token = Token::parse(token)?;
            let key = checked_key(key)?;
            if value.len() > VALUE_BYTES_MAX {
                return Err(Rejection::ValueTooLong);
            }
            Ok(Self::Store { token, key, value })
        } else if packet.starts_with(b"mcget") {
            let [token, key] = fields(packet)?;
            // No stored key contains a separator, so anything after one does not belong to the key.
            Ok(Self::Fetch { token: Token::parse(token)?, key: checked_key(until_separator(key))? })
        } else if packet.starts_with(b"login") || packet.starts_with(b"token") {
            Ok(Self::Login)
        } else {
            Ok(match packet {
                b"WHO" => Self::Who,
                b"WHERE" => Self::Where,
                b"WHY" => Self::Why,
                b"QUIT" => Self::Quit,
                _ => Self::Unknown,
            })
        }
    }
}

/// The fields after the command's name; the last one takes the rest.
fn fields<const N: usize>(packet: &[u8]) -> Result<[&[u8]; N], Rejection> {
    let mut fields = packet.splitn(N + 1, |byte| *byte == b':').skip(1);
    let mut found = [&packet[..0]; N];
    for field in &mut found {
        *field = fields.next().ok_or(Rejection::MissingField)?;
    }
    Ok(found)
}

fn after_separator(bytes: &[u8]) -> Option<&[u8]> {
    bytes.iter().position(|byte| *byte == b':').map(|at| &bytes[at + 1..])
}

fn until_separator(bytes: &[u8]) -> &[u8] {
    bytes.iter().position(|byte| *byte == b':').map_or(bytes, |at| &bytes[..at])
}

/// Keys are sent to memcached: bytes that could end the key there or start a second command are refused.
fn checked_key(key: &[u8]) -> Result<&[u8], Rejection> {
    if key.is_empty() {
        Err(Rejection::MissingField)
    } else if key.len() > KEY_BYTES_MAX {
        Err(Rejection::KeyTooLong)
    } else if key.iter().any(|byte| *byte <= 0x20 || *byte == 0x7f) {
        Err(Rejection::KeyBytes)
    } else {
        Ok(key)
    }
}

#[cfg(test)]
mod tests;
