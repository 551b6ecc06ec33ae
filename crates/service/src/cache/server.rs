//! One of the memcached servers over which keys are spread.

use std::net::SocketAddr;
use std::sync::Arc;

use memcache::exp::MetaCommand;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::connection::{Connection, Failure, Reply};

/// Maximum number of connections to one server; commands queue for them within their deadline.
const CONNECTIONS_MAX: usize = 8;

/// A server, up or down.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    /// The connections, while it is up.
    pool: Mutex<Option<Arc<Pool>>>,
}

impl Server {
    /// A server that counts as down until it is reached.
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, pool: Mutex::new(None) }
    }

    pub(super) fn pool(&self) -> Option<Arc<Pool>> {
        self.pool.lock().clone()
    }

    /// Marks the server up if it answers.
    pub(super) async fn reach(&self) -> Result<(), Failure> {
        let first = Connection::open(self.address).await?;
        let pool = Pool {
            address: self.address,
            idle: Mutex::new(vec![first]),
            permits: Semaphore::new(CONNECTIONS_MAX),
        };
        *self.pool.lock() = Some(Arc::new(pool));
        Ok(())
    }

    /// Marks the server down, unless it was reached again since `pool` was taken.
    pub(super) fn lost(&self, pool: &Arc<Pool>) {
        self.pool.lock().take_if(|current| Arc::ptr_eq(current, pool));
    }
}

/// Connections to a server that is up.
pub(super) struct Pool {
    address: SocketAddr,
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
}

impl Pool {
    /// Carries out a command. Dropping the future early only costs a connection.
    pub(super) async fn run(&self, command: &MetaCommand) -> Result<Reply, Failure> {
        // The semaphore is never closed.
        let _permit = self.permits.acquire().await;
        let mut connection = match self.take_idle() {
            Some(connection) => connection,
            None => Connection::open(self.address).await?,
        };
        let outcome = connection.exchange(command).await;
        if !matches!(outcome, Err(Failure::Broken(_)) | Ok(Reply::ValueTooLong)) {
            self.idle.lock().push(connection);
        }
        outcome
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock();
        std::iter::from_fn(|| idle.pop()).find(Connection::is_quiet)
    }
}
