//! How long a reply may be, so that nobody can use a forged address to make this service flood somebody else.

use protocol::limits::{BRIEF_BYTES_MAX, VALUE_BYTES_MAX};

/// The longest reply to a request of `request_bytes` that has no token, or one that does not exist: a brief error, or
/// as much as was sent.
pub(crate) fn unproven(request_bytes: usize) -> usize {
    request_bytes.max(BRIEF_BYTES_MAX)
}

/// The longest reply to a request of `request_bytes` with a token that exists.
pub(crate) fn proven(request_bytes: usize) -> usize {
    request_bytes + VALUE_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_those_of_the_contract() {
        assert_eq!([0, 32, 33, 512].map(unproven), [32, 32, 33, 512]);
        assert_eq!([0, 44, 512].map(proven), [256, 300, 768]);
    }
}
