//! Commands that memcached answers. Each has one deadline for all it asks there.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use protocol::{Token, reply};
use service::cache::{Cache, Unavailable};
use tokio::time::Instant;
use uuid::Uuid;

use super::Reply;

/// How long a token holds.
const TOKEN_TTL: Duration = Duration::from_mins(20);
/// How long a stored value holds.
const VALUE_TTL: Duration = Duration::from_mins(6);
/// The longest value that is sent back. Clients cannot store one as long, but others can.
const FOUND_BYTES_MAX: usize = 1024;

/// Why a command was not carried out, as the error packet for it.
pub(super) type Refusal = &'static [u8];

/// Issues a token to `client`.
pub(super) async fn login(cache: &Cache, client: SocketAddr, deadline: Instant) -> Result<Reply, Refusal> {
    let token = Uuid::new_v4().to_string();
    cache
        .set(token.as_bytes(), client.to_string().as_bytes(), TOKEN_TTL, deadline)
        .await
        .map_err(unavailable)?;
    Ok(Reply::Made(token.into_bytes().into()))
}

pub(super) async fn store(
    cache: &Cache,
    client: SocketAddr,
    token: &Token,
    key: &[u8],
    value: &[u8],
    deadline: Instant,
) -> Result<Reply, Refusal> {
    check(cache, client, token, deadline).await?;
    cache.set(&prefixed(key), value, VALUE_TTL, deadline).await.map_err(unavailable)?;
    Ok(Reply::Fixed(reply::SUCCESS))
}

pub(super) async fn fetch(
    cache: &Cache,
    client: SocketAddr,
    token: &Token,
    key: &[u8],
    deadline: Instant,
) -> Result<Reply, Refusal> {
    check(cache, client, token, deadline).await?;
    let found = cache.get(&prefixed(key), deadline).await.map_err(unavailable)?;
    match found {
        Some(value) if value.len() <= FOUND_BYTES_MAX => Ok(Reply::Made(value.into())),
        Some(_) => Err(b"error: value too long"),
        None => Err(reply::KEY_NOT_FOUND),
    }
}

/// Checks that `token` was issued to `client` and still holds.
pub(super) async fn check(
    cache: &Cache,
    client: SocketAddr,
    token: &Token,
    deadline: Instant,
) -> Result<(), Refusal> {
    let holder = cache.get(token.as_bytes(), deadline).await.map_err(unavailable)?;
    let mut address = Vec::with_capacity(48);
    // Writing to memory cannot fail.
    let _ = write!(address, "{client}");
    if holder.as_deref() == Some(&address[..]) { Ok(()) } else { Err(reply::TOKEN_INVALID) }
}

/// Keys of clients live under a prefix, apart from tokens.
fn prefixed(key: &[u8]) -> Vec<u8> {
    [b"c-", key].concat()
}

fn unavailable(_: Unavailable) -> Refusal {
    reply::CACHE_UNAVAILABLE
}
