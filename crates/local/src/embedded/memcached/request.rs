//! What a command line says of the data that follows it.

use super::store::{KEY_MAX, VALUE_MAX};

pub(super) const BAD_FORMAT: &[u8] = b"CLIENT_ERROR bad command line format\r\n";
pub(super) const TOO_LARGE: &[u8] = b"SERVER_ERROR object too large for cache\r\n";

/// What has to be read after a command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Data {
    /// Nothing.
    None,
    /// So many bytes and a line end.
    Bytes(usize),
    /// So many, which are not wanted; answered by this.
    Refused(usize, &'static [u8]),
    /// It cannot be known where the next command begins; answered by this, and the connection is closed.
    Lost(&'static [u8]),
}

/// Looks at a command line.
pub(super) fn data_after(line: &[u8]) -> Data {
    let mut words = words(line);
    let place = match words.next() {
        Some(b"set" | b"add" | b"replace" | b"append" | b"prepend" | b"cas") => 3,
        Some(b"ms") => 1,
        _ => return Data::None,
    };
    let Some(size) = words.nth(place).and_then(number::<usize>) else {
        return Data::Lost(BAD_FORMAT);
    };
    // Twice that is still skipped; beyond it nobody means well.
    match size {
        ..=VALUE_MAX => Data::Bytes(size),
        size if size <= 16 * VALUE_MAX => Data::Refused(size, TOO_LARGE),
        _ => Data::Lost(TOO_LARGE),
    }
}

pub(super) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b' ').filter(|word| !word.is_empty())
}

pub(super) fn number<T: std::str::FromStr>(word: &[u8]) -> Option<T> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

pub(super) fn is_key(word: &[u8]) -> bool {
    (1..=KEY_MAX).contains(&word.len()) && word.iter().all(|byte| *byte > b' ' && *byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_storage_commands_are_followed_by_data() {
        assert_eq!(data_after(b"get a"), Data::None);
        assert_eq!(data_after(b"set a 0 0 5"), Data::Bytes(5));
        assert_eq!(data_after(b"cas a 0 0 5 7 noreply"), Data::Bytes(5));
        assert_eq!(data_after(b"ms a 5 T10"), Data::Bytes(5));
        assert_eq!(data_after(b"ms a x"), Data::Lost(BAD_FORMAT));
        assert_eq!(data_after(b"set a 0 0"), Data::Lost(BAD_FORMAT));
        assert_eq!(data_after(b"set a 0 0 2000000"), Data::Refused(2_000_000, TOO_LARGE));
        assert_eq!(data_after(b"set a 0 0 99999999999"), Data::Lost(TOO_LARGE));
        assert_eq!(data_after(b"set a 0 0 -1"), Data::Lost(BAD_FORMAT));
    }
}
