//! Redis: its address, and connections to it that fail in time.
//!
//! A failed connection is not repaired. Its user drops it and reconnects, with a [`crate::backoff::Backoff`] in
//! between, because after a gap the contents of Redis are no longer known.

pub mod owned;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroU16;
use std::time::Duration;

pub use redis::aio::{MultiplexedConnection, PubSubSink, PubSubStream};
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo, RedisConnectionInfo};
pub use redis::{Cmd, Pipeline, RedisError, RedisResult};

use crate::settings::{Reader, Variable};

pub const REDIS_HOST: Variable = Variable::new("REDIS_HOST", "localhost", "Host of Redis.");
pub const REDIS_PORT: Variable = Variable::new("REDIS_PORT", "6379", "TCP port of Redis.");
pub const REDIS_PASSWORD: Variable =
    Variable::optional("REDIS_PASSWORD", "Password for Redis; without it, none is sent.");

/// Time limit of connecting, and of each command.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);
/// Keys per request.
const BATCH: usize = 500;
/// Maximum length of a value; services write far shorter ones.
const VALUE_BYTES_MAX: usize = 16 * 1024;

/// The address of Redis.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    pub host: String,
    pub port: u16,
    pub password: Option<String>,
}

impl Settings {
    pub fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            host: reader.get(&REDIS_HOST),
            port: reader.get::<NonZeroU16>(&REDIS_PORT).get(),
            password: reader.optional(&REDIS_PASSWORD),
        }
    }

    fn client(&self) -> RedisResult<Client> {
        // Commands that only name the client would need support from every server.
        let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(password) = &self.password {
            login = login.set_password(password);
        }
        let server = (self.host.as_str(), self.port).into_connection_info()?;
        Client::open(server.set_redis_settings(login))
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A connection for commands. Clones share it.
///
/// # Errors
/// Redis does not answer within two seconds, or refuses the password.
pub async fn connect(settings: &Settings) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIMEOUT))
        .set_response_timeout(Some(COMMAND_TIMEOUT));
    settings.client()?.get_multiplexed_async_connection_with_config(&config).await
}

/// The messages of a channel from now on, and a handle for checking that the connection is alive.
///
/// # Errors
/// Like [`connect`].
pub async fn subscribe(settings: &Settings, channel: &str) -> RedisResult<(PubSubSink, PubSubStream)> {
    let client = settings.client()?;
    let subscribing = async {
        let mut connection = client.get_async_pubsub().await?;
        connection.subscribe(channel).await?;
        Ok(connection.split())
    };
    within(CONNECT_TIMEOUT, subscribing).await
}

/// Fails unless the server of a subscription answers within two seconds.
///
/// # Errors
/// It does not.
pub async fn check(subscription: &mut PubSubSink) -> RedisResult<()> {
    within(COMMAND_TIMEOUT, async { subscription.ping::<redis::Value>().await.map(drop) }).await
}

/// Keys with `prefix`, which must not contain special characters of patterns. Leaves out keys that are not text: others
/// may write to Redis too, and their keys must not hide ours.
///
/// # Errors
/// The connection is broken.
pub async fn keys_under(
    connection: &mut MultiplexedConnection,
    prefix: &str,
) -> RedisResult<BTreeSet<String>> {
    let keys = scan(connection, prefix).await?;
    Ok(keys.into_iter().filter_map(|key| String::from_utf8(key).ok()).collect())
}

async fn scan(connection: &mut MultiplexedConnection, prefix: &str) -> RedisResult<BTreeSet<Vec<u8>>> {
    // A scan may return a key twice.
    let mut all = BTreeSet::new();
    let mut cursor = 0_u64;
    loop {
        let mut scan = Cmd::new();
        scan.arg("SCAN").arg(cursor).arg("MATCH").arg(format!("{prefix}*")).arg("COUNT").arg(BATCH);
        let (next, keys): (u64, Vec<Vec<u8>>) = scan.query_async(connection).await?;
        all.extend(keys);
        if next == 0 {
            return Ok(all);
        }
        cursor = next;
    }
}

/// Why a value cannot have been written by a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotOurs {
    #[error("the key is not text")]
    KeyNotText,
    #[error("the value is longer than {VALUE_BYTES_MAX} bytes")]
    TooLong,
}

/// The values of the keys with `prefix`; a key that is not text is shown as far as possible. Leaves out keys that
/// disappeared meanwhile.
///
/// # Errors
/// The connection is broken.
pub async fn values_under(
    connection: &mut MultiplexedConnection,
    prefix: &str,
) -> RedisResult<BTreeMap<String, Result<Vec<u8>, NotOurs>>> {
    let mut all = BTreeMap::new();
    let mut keys = Vec::new();
    for key in scan(connection, prefix).await? {
        match String::from_utf8(key) {
            Ok(key) => keys.push(key),
            Err(error) => {
                let key = String::from_utf8_lossy(error.as_bytes()).into_owned();
                all.insert(key, Err(NotOurs::KeyNotText));
            }
        }
    }
    for keys in keys.chunks(BATCH) {
        let mut get = Cmd::new();
        get.arg("MGET").arg(keys);
        let values: Vec<Option<Vec<u8>>> = get.query_async(connection).await?;
        for (key, value) in keys.iter().zip(values) {
            let Some(value) = value else { continue };
            let fits = value.len() <= VALUE_BYTES_MAX;
            all.insert(key.clone(), if fits { Ok(value) } else { Err(NotOurs::TooLong) });
        }
    }
    Ok(all)
}

async fn within<T>(limit: Duration, work: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    match tokio::time::timeout(limit, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(std::io::Error::new(
            std::io::ErrorKind::TimedOut,
            format!("Redis did not answer within {limit:?}"),
        )
        .into()),
    }
}
