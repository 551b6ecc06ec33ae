//! Redis: a small server with its protocol, for platforms without a real one.
//!
//! It speaks what our services and the clients of other programs send, and what a person types with `redis-cli` or
//! `nc`: strings with expiry (`SET`, `SETEX`, `PSETEX`, `GET`, `MGET`, `DEL`, `UNLINK`, `EXISTS`, `EXPIRE`, `PEXPIRE`,
//! `TTL`, `PTTL`), looking around (`SCAN`, `KEYS`, `DBSIZE`), messages (`PUBLISH`, `SUBSCRIBE`, `UNSUBSCRIBE`),
//! transactions (`MULTI`, `EXEC`, `DISCARD`, `WATCH`, `UNWATCH`), and `PING`, `SELECT 0`, `HELLO` (with which many clients
//! begin; versions 2 and 3 of the protocol), `QUIT`. Any other command is answered with an error that names it.

mod channels;
mod commands;
mod connection;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod glob;
mod resp;
mod store;
mod transaction;

use std::{io, net::SocketAddr, sync::Arc};

use parking_lot::Mutex;

use self::{channels::Channels, store::Store, transaction::Waiting};
use super::{guests::Limits, server};

/// Limit on the bytes of keys and values, including bookkeeping.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// Half-sent requests and unread answers have 16 MiB in total.
const CLIENTS: Limits = Limits { connections: 1024, bytes: 16 * 1024 * 1024 };
/// Its limits, in words.
pub const LIMITS: &str = "in memory, 64 MiB, strings and messages only";

/// State shared by all connections.
#[derive(Debug)]
struct Database {
    store: Mutex<Store>,
    channels: Mutex<Channels>,
    waiting: Waiting,
}

/// A server that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct Server {
    server: server::Server,
    database: Arc<Database>,
}

impl Server {
    /// Listens at `address`; port 0 takes a free one.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        Self::with_memory(address, BYTES_MAX)
    }

    /// The same with a different limit on the memory of its keys, in bytes.
    pub fn with_memory(address: SocketAddr, bytes_max: usize) -> io::Result<Self> {
        let store = Mutex::new(Store::new(bytes_max));
        let database = Arc::new(Database { store, channels: Mutex::default(), waiting: Waiting::default() });
        let shared = Arc::clone(&database);
        let server = server::Server::bind("redis", address, CLIENTS, move |stream, guest| {
            Box::pin(connection::serve(stream, guest, Arc::clone(&shared)))
        })?;
        Ok(Self { server, database })
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Cuts all clients off and refuses new ones. The contents are lost, as with a real one without persistence.
    pub fn stop(&mut self) -> io::Result<()> {
        self.server.stop();
        self.database.store.lock().clear();
        Ok(())
    }

    /// Listens again at the same address, empty.
    pub fn start_again(&mut self) -> io::Result<()> {
        self.server.start()
    }
}
