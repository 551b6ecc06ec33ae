//! The fixed answers, and the errors that only a running service can return, all without a line end, which
//! [`crate::Dialect`] and [`crate::Framer`] decide. Errors of the grammar itself are in [`crate::Rejection`].

use std::fmt::Display;
use std::io::Write;

/// `mcset` has stored the value.
pub const SUCCESS: &[u8] = b"success";
/// The answer to `WHY`.
pub const WHY: &[u8] = b"42";
/// Asks a client to reconnect: this server is about to shut down.
pub const RECONNECT: &[u8] = b"reconnect";

/// A packet or line above the limit was discarded.
pub const PACKET_TOO_LONG: &[u8] = b"error: packet too long";
/// The token is unknown, or was issued to another address.
pub const TOKEN_INVALID: &[u8] = b"error: token not valid";
/// `mcget` of a key without a value.
pub const KEY_NOT_FOUND: &[u8] = b"error: key not found";
/// memcached is down, slow or not configured.
pub const CACHE_UNAVAILABLE: &[u8] = b"error: cache unavailable";
/// Kafka is down, slow or not configured.
pub const BROADCAST_UNAVAILABLE: &[u8] = b"error: broadcast unavailable";

/// The answer to `WHO`: the clients as a set, in the given order, and their number.
pub fn client_list(clients: impl Iterator<Item = impl Display>) -> Vec<u8> {
    /// `'255.255.255.255:65535', ` with a little to spare; an estimate, not a limit.
    const BYTES_PER_CLIENT: usize = 26;
    let mut text = Vec::with_capacity(64 + clients.size_hint().0 * BYTES_PER_CLIENT);
    text.extend_from_slice(b"client list: {");
    let mut count = 0_usize;
    for client in clients {
        let separator = if count == 0 { "" } else { ", " };
        count += 1;
        // Writing to memory cannot fail.
        let _ = write!(text, "{separator}'{client}'");
    }
    let _ = write!(text, "}}\nconnected clients: {count}");
    text
}

/// The third line of the answer to `WHO` in the dialect `socketz`: the clients of all servers.
pub fn all_servers(clients: usize) -> String {
    format!("clients connected to all servers: {clients}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_lists_are_written_as_sets() {
        assert_eq!(client_list(["1.2.3.4:5"].iter()), b"client list: {'1.2.3.4:5'}\nconnected clients: 1");
        assert_eq!(client_list(["a:1", "b:2"].iter()), b"client list: {'a:1', 'b:2'}\nconnected clients: 2");
        assert_eq!(client_list([""; 0].iter()), b"client list: {}\nconnected clients: 0");
    }

    #[test]
    fn errors_start_with_error() {
        for error in [PACKET_TOO_LONG, TOKEN_INVALID, KEY_NOT_FOUND, CACHE_UNAVAILABLE, BROADCAST_UNAVAILABLE]
        {
            assert!(error.starts_with(b"error") && error.len() <= crate::limits::BRIEF_BYTES_MAX);
        }
    }
}
