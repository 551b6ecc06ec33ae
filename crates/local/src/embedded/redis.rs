//! Redis: a small server of its protocol, for platforms that have no real one.
//!
//! It speaks what our services send and what a person types with `redis-cli` or `nc`: strings with expiry (`SET`, `GET`,
//! `MGET`, `DEL`, `UNLINK`, `EXISTS`, `EXPIRE`, `PEXPIRE`, `TTL`, `PTTL`), looking around (`SCAN`, `KEYS`, `DBSIZE`),
//! messages (`PUBLISH`, `SUBSCRIBE`, `UNSUBSCRIBE`), transactions (`MULTI`, `EXEC`, `DISCARD`, `WATCH`, `UNWATCH`), and
//! `PING`, `SELECT 0`, `QUIT`. Any other command is answered with an error that names it.

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

/// Bytes of keys and values, bookkeeping included.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// Half-sent requests and answers that are not taken have 16 MiB in all.
const CLIENTS: Limits = Limits { connections: 1024, bytes: 16 * 1024 * 1024 };
/// What it can and cannot do, in words.
pub const LIMITS: &str = "in memory, 64 MiB, strings and messages only";

/// What all connections share.
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

    /// The same with another bound on the memory of its keys, in bytes.
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

    /// Cuts all clients off and refuses new ones. The contents are lost, as those of a real one without a file are.
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
