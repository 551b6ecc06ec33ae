//! memcached: a small server with its protocol, for platforms without a real one.
//!
//! It supports what our services send (the meta commands `mg`, `ms`, `md`, `mn`), and what other clients of the
//! same keys and a person with `nc` do (`get`, `gets`, `set`, `cas`, `delete`, `stats`, `version`, `quit`). Anything else is answered with an error, never ignored.

mod commands;
mod connection;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod store;

use std::{io, net::SocketAddr, sync::Arc};

use parking_lot::Mutex;

use self::store::Store;
use super::{guests::Limits, server};

/// Limit on the bytes of items, including keys and bookkeeping.
const BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Half-sent values and unread answers have 16 MiB in total.
const CLIENTS: Limits = Limits { connections: 1024, bytes: 16 * 1024 * 1024 };
/// Its limits, in words.
pub const LIMITS: &str = "in memory, 64 MiB";

type Shared = Arc<Mutex<Store>>;

/// A server that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct Server {
    server: server::Server,
    store: Shared,
}

impl Server {
    /// Listens at `address`; port 0 takes a free one.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        Self::with_memory(address, BYTES_MAX)
    }

    /// The same with a different limit on the memory of its items, in bytes.
    pub fn with_memory(address: SocketAddr, bytes_max: u64) -> io::Result<Self> {
        let store = Shared::new(Mutex::new(Store::new(bytes_max)));
        let items = Arc::clone(&store);
        let server = server::Server::bind("memcached", address, CLIENTS, move |stream, guest| {
            Box::pin(connection::serve(stream, guest, Arc::clone(&items)))
        })?;
        Ok(Self { server, store })
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Cuts all clients off and refuses new ones. The contents are lost, as with a real one.
    pub fn stop(&mut self) -> io::Result<()> {
        self.server.stop();
        self.store.lock().clear();
        Ok(())
    }

    /// Listens again at the same address, empty.
    pub fn start_again(&mut self) -> io::Result<()> {
        self.server.start()
    }
}
