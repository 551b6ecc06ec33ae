//! A meta command taken apart, and the parts of an answer that only depend on it.

use super::super::{
    base64,
    request::{BAD_FORMAT, is_key, number},
};

/// Longest opaque token, as in memcached.
const OPAQUE_MAX: usize = 32;

/// A command taken apart.
pub(super) struct Command<'a> {
    /// As it was written, for the flag `k`.
    pub(super) key_text: &'a [u8],
    pub(super) key: Vec<u8>,
    pub(super) flags: Vec<(u8, &'a [u8])>,
}

impl<'a> Command<'a> {
    pub(super) fn parse(mut words: impl Iterator<Item = &'a [u8]>, skip_size: bool) -> Option<Self> {
        let key_text = words.next().filter(|key| is_key(key))?;
        if skip_size {
            words.next();
        }
        let mut flags = Vec::new();
        for word in words {
            let (flag, token) = word.split_first()?;
            // Each flag counts once, as in memcached.
            if flags.iter().any(|(known, _)| known == flag) || *flag == b'O' && token.len() > OPAQUE_MAX {
                return None;
            }
            flags.push((*flag, token));
        }
        let binary = flags.iter().any(|(flag, _)| *flag == b'b');
        let key = if binary { base64::decode(key_text)? } else { key_text.to_vec() };
        Some(Self { key_text, key, flags })
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags.iter().any(|(known, _)| *known == flag)
    }

    pub(super) fn token(&self, flag: u8) -> Option<&'a [u8]> {
        self.flags.iter().find(|(known, _)| *known == flag).map(|(_, token)| *token)
    }

    /// `Err`: it is there, but no number.
    pub(super) fn number<T: std::str::FromStr>(&self, flag: u8) -> Result<Option<T>, Refused> {
        self.token(flag).map(|token| number(token).ok_or(Refused(BAD_FORMAT))).transpose()
    }

    /// Flags that any answer returns.
    pub(super) fn echo(&self, output: &mut Vec<u8>, flag: u8, token: &[u8]) {
        match flag {
            b'O' => {
                output.extend_from_slice(b" O");
                output.extend_from_slice(token);
            }
            b'k' => {
                output.extend_from_slice(b" k");
                output.extend_from_slice(self.key_text);
                if self.has(b'b') {
                    output.extend_from_slice(b" b");
                }
            }
            _ => {}
        }
    }

    pub(super) fn answer(&self, code: &[u8], output: &mut Vec<u8>) {
        output.extend_from_slice(code);
        for (flag, token) in &self.flags {
            self.echo(output, *flag, token);
        }
        output.extend_from_slice(b"\r\n");
    }
}

/// An error line.
pub(super) struct Refused(pub(super) &'static [u8]);
