//! Sizes of the wire protocol, in bytes.

/// Default of `BUFF_SIZE`: the maximum length of a packet or line, without its line end.
pub const PACKET_BYTES_MAX: usize = 512;
/// A token has exactly this length.
pub const TOKEN_BYTES: usize = 36;
/// The prefix of clients' keys in memcached, where they share one key space with tokens.
pub const CLIENT_KEY_PREFIX: &[u8] = b"c-";
/// The maximum length of a key of `mcset` and `mcget`.
pub const KEY_BYTES_MAX: usize = 64;
/// The maximum length of a value of `mcset`.
pub const VALUE_BYTES_MAX: usize = 256;
/// The maximum length of an error of [`Rejection::brief`](crate::Rejection::brief), and of the fixed replies.
pub const BRIEF_BYTES_MAX: usize = 32;
