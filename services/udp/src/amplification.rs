//! Limits the length of replies, so that nobody can use a forged address to make this service flood somebody else.

use protocol::limits::{BRIEF_BYTES_MAX, VALUE_BYTES_MAX};

/// Maximum length of a reply to a request of `request_bytes` without a token, or with a nonexistent one: a short error,
/// or as much as was sent.
pub(crate) fn unproven(request_bytes: usize) -> usize {
    request_bytes.max(BRIEF_BYTES_MAX)
}

/// Maximum length of a reply to a request of `request_bytes` with an existing token.
pub(crate) fn proven(request_bytes: usize) -> usize {
    request_bytes + VALUE_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_match_the_contract() {
        assert_eq!([0, 32, 33, 512].map(unproven), [32, 32, 33, 512]);
        assert_eq!([0, 44, 512].map(proven), [256, 300, 768]);
    }
}
