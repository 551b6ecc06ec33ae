//! The commands that memcached answers, shared by `tcp` and `udp`. Each has one deadline for all its requests.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use protocol::limits::CLIENT_KEY_PREFIX;
use protocol::{Token, reply};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Cache, Found, Unavailable};

/// How long a token is valid.
const TOKEN_TTL: Duration = Duration::from_mins(20);
/// How long a stored value is kept.
const VALUE_TTL: Duration = Duration::from_mins(6);

/// Why a command was rejected: its error packet.
pub type Refusal = &'static [u8];

/// The value is too long to send back. Our clients cannot store one that long; other clients of memcached can.
const VALUE_TOO_LONG: Refusal = b"error: value too long";

/// The required owner of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// The client it was issued to.
    Client(SocketAddr),
    /// Anybody: knowing the token is enough.
    Anybody,
}

impl Cache {
    /// Issues a token to `client`.
    ///
    /// # Errors
    /// The cache is down or slow.
    pub async fn issue(&self, client: SocketAddr, deadline: Instant) -> Result<Vec<u8>, Refusal> {
        let token = Uuid::new_v4().to_string();
        self.set(token.as_bytes(), client.to_string().as_bytes(), TOKEN_TTL, deadline)
            .await
            .map_err(unavailable)?;
        Ok(token.into_bytes())
    }

    /// Checks that `token` exists and belongs to the holder.
    ///
    /// # Errors
    /// It does not, or the cache is down or slow.
    pub async fn check(&self, holder: Holder, token: &Token, deadline: Instant) -> Result<(), Refusal> {
        let found = self.get(token.as_bytes(), deadline).await.map_err(unavailable)?;
        let valid = match (found, holder) {
            (Found::Nothing | Found::TooLong, _) => false,
            (Found::Value(_), Holder::Anybody) => true,
            (Found::Value(found), Holder::Client(client)) => {
                let mut address = Vec::with_capacity(48);
                // Writing to memory cannot fail.
                let _ = write!(address, "{client}");
                found == address
            }
        };
        if valid { Ok(()) } else { Err(reply::TOKEN_INVALID) }
    }

    /// `mcset`: stores a value for all clients.
    ///
    /// # Errors
    /// The token is not valid, or the cache is down or slow.
    pub async fn store(
        &self,
        holder: Holder,
        token: &Token,
        key: &[u8],
        value: &[u8],
        deadline: Instant,
    ) -> Result<(), Refusal> {
        self.check(holder, token, deadline).await?;
        self.set(&prefixed(key), value, VALUE_TTL, deadline).await.map_err(unavailable)
    }

    /// `mcget`: a stored value of at most `bytes_max`.
    ///
    /// # Errors
    /// The token is not valid, there is no such value or it is longer, or the cache is down or slow.
    pub async fn fetch(
        &self,
        holder: Holder,
        token: &Token,
        key: &[u8],
        bytes_max: usize,
        deadline: Instant,
    ) -> Result<Vec<u8>, Refusal> {
        self.check(holder, token, deadline).await?;
        match self.get(&prefixed(key), deadline).await.map_err(unavailable)? {
            Found::Value(value) if value.len() <= bytes_max => Ok(value),
            Found::Value(_) | Found::TooLong => Err(VALUE_TOO_LONG),
            Found::Nothing => Err(reply::KEY_NOT_FOUND),
        }
    }
}

/// Clients' keys have a prefix with which no token begins.
fn prefixed(key: &[u8]) -> Vec<u8> {
    [CLIENT_KEY_PREFIX, key].concat()
}

fn unavailable(_: Unavailable) -> Refusal {
    reply::CACHE_UNAVAILABLE
}
