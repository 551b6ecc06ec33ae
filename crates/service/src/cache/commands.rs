//! Commands that memcached answers, as `tcp` and `udp` share them. Each has one deadline for all it asks there.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use protocol::{Token, reply};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Cache, Unavailable};

/// How long a token holds.
const TOKEN_TTL: Duration = Duration::from_mins(20);
/// How long a stored value holds.
const VALUE_TTL: Duration = Duration::from_mins(6);

/// Why a command was not carried out, as the error packet for it.
pub type Refusal = &'static [u8];

/// The value that was found is longer than may be sent back. Clients cannot store one as long, but others can.
const VALUE_TOO_LONG: Refusal = b"error: value too long";

/// Whose token it has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// The one it was issued to.
    Client(SocketAddr),
    /// Anybody's: whoever knows a token may use it.
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

    /// Checks that `token` exists and is the holder's.
    ///
    /// # Errors
    /// It is not, or the cache is down or slow.
    pub async fn check(&self, holder: Holder, token: &Token, deadline: Instant) -> Result<(), Refusal> {
        let found = self.get(token.as_bytes(), deadline).await.map_err(unavailable)?;
        let valid = match (found, holder) {
            (None, _) => false,
            (Some(_), Holder::Anybody) => true,
            (Some(found), Holder::Client(client)) => {
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
            Some(value) if value.len() <= bytes_max => Ok(value),
            Some(_) => Err(VALUE_TOO_LONG),
            None => Err(reply::KEY_NOT_FOUND),
        }
    }
}

/// Keys of clients live under a prefix, apart from tokens.
fn prefixed(key: &[u8]) -> Vec<u8> {
    [b"c-", key].concat()
}

fn unavailable(_: Unavailable) -> Refusal {
    reply::CACHE_UNAVAILABLE
}
