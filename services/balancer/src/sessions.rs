//! Sessions in Redis, as listed by servers.

use std::collections::BTreeSet;
use std::fmt;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use service::redis::{self, Cmd, MultiplexedConnection, RedisResult};
use service::sessions::listed::{self, Noticed};
use tokio::sync::Semaphore;

/// Prefix of the keys of clients refused for lack of room.
const REFUSED: &str = "WsRefused#";
/// Maximum number of concurrent requests for all sessions; the rest wait. Each holds all of them in memory.
const READS_AT_A_TIME: usize = 4;
/// Keys removed per request.
const KEYS_AT_A_TIME: usize = 500;

/// The kind of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ws,
    Sse,
}

impl Kind {
    pub(crate) const ALL: [Self; 2] = [Self::Ws, Self::Sse];

    /// The sessions of one of our services; `None`: it keeps none in Redis.
    pub(crate) fn of_service(service: &str) -> Option<Self> {
        match service {
            "ws" => Some(Self::Ws),
            "stream" => Some(Self::Sse),
            _ => None,
        }
    }

    /// Prefix of the keys.
    pub(crate) const fn prefix(self) -> &'static str {
        match self {
            Self::Ws => "WsSession#",
            Self::Sse => "SseSession#",
        }
    }

    /// The channel on which servers of such sessions receive orders to drop some.
    fn channel(self) -> &'static str {
        match self {
            Self::Ws => "drop-persistent-sessions",
            Self::Sse => "drop-persistent-sse-sessions",
        }
    }
}

/// A session as stored in Redis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    /// Its key in Redis.
    #[serde(skip)]
    pub(crate) key: String,
    #[serde(rename = "userId", default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    #[serde(rename = "sessionId")]
    pub(crate) id: String,
    #[serde(rename = "hostId")]
    pub(crate) host: String,
}

/// All sessions at one moment.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    pub(crate) ws: Vec<Session>,
    pub(crate) sse: Vec<Session>,
    /// Users without a session who were refused recently.
    pub(crate) waiting: u64,
}

/// Reads sessions; connects on demand.
pub(crate) struct Store {
    settings: redis::Settings,
    reads: Semaphore,
    noticed: [Noticed; 2],
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Store {
    /// `noticed`: where to report values that are not sessions, in the order of [`Kind::ALL`].
    pub(crate) fn new(settings: redis::Settings, noticed: [Noticed; 2]) -> Self {
        Self { settings, reads: Semaphore::new(READS_AT_A_TIME), noticed, connection: Mutex::new(None) }
    }

    /// # Errors
    /// Redis is away.
    pub(crate) async fn all(&self, kind: Kind) -> Result<Vec<Session>, String> {
        self.with(async |connection| self.read(connection, kind).await).await
    }

    /// # Errors
    /// Redis is away.
    pub(crate) async fn listed(&self) -> Result<Listed, String> {
        let read_all = async |connection: &mut MultiplexedConnection| {
            let ws = self.read(connection, Kind::Ws).await?;
            let sse = self.read(connection, Kind::Sse).await?;
            let here: BTreeSet<&str> = ws.iter().filter_map(|session| session.user.as_deref()).collect();
            let refused = redis::keys_under(connection, REFUSED).await?;
            let users = refused.iter().filter_map(|key| key.strip_prefix(REFUSED));
            let waiting = users.filter(|user| !here.contains(user)).count() as u64;
            Ok(Listed { ws, sse, waiting })
        };
        self.with(read_all).await
    }

    /// Tells a server, through Redis, to drop one session.
    ///
    /// # Errors
    /// Redis is away.
    pub(crate) async fn drop_one(&self, kind: Kind, host: &str) -> Result<(), String> {
        let order = serde_json::json!({ (host): 1 }).to_string();
        let publish = async |connection: &mut MultiplexedConnection| {
            let mut publish = Cmd::new();
            publish.arg("PUBLISH").arg(kind.channel()).arg(&order);
            publish.query_async::<u64>(connection).await
        };
        self.with(publish).await.map(drop)
    }

    /// Removes keys.
    ///
    /// # Errors
    /// Redis is away.
    pub(crate) async fn remove(&self, keys: &[String]) -> Result<(), String> {
        let remove = async |connection: &mut MultiplexedConnection| {
            for part in keys.chunks(KEYS_AT_A_TIME) {
                let mut remove = Cmd::new();
                remove.arg("DEL").arg(part);
                remove.query_async::<()>(connection).await?;
            }
            Ok(())
        };
        self.with(remove).await
    }

    async fn read(&self, connection: &mut MultiplexedConnection, kind: Kind) -> RedisResult<Vec<Session>> {
        let listed: listed::Listed<Session> = listed::read(connection, kind.prefix()).await?;
        self.noticed[kind as usize].note(&listed.left_out);
        let sessions = listed.sessions.into_iter();
        Ok(sessions.map(|(key, session)| Session { key, ..session }).collect())
    }

    /// A failed connection is not reused, because its state is unknown.
    async fn with<T>(
        &self,
        work: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> Result<T, String> {
        let told = |error: redis::RedisError| format!("Redis at {}: {error}", self.settings);
        // Fails only if the semaphore is closed, which never happens.
        let _turn = self.reads.acquire().await.map_err(|error| error.to_string())?;
        let present = self.connection.lock().clone();
        let mut connection = match present {
            Some(connection) => connection,
            None => redis::connect(&self.settings).await.map_err(told)?,
        };
        let outcome = work(&mut connection).await;
        *self.connection.lock() = outcome.is_ok().then_some(connection);
        outcome.map_err(told)
    }
}
