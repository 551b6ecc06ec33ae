//! memcached: a small server of its protocol, for platforms that have no real one.
//!
//! It speaks the classic text commands, which people type, and the meta commands, which clients use. Everything is
//! in memory and bounded: bytes (least recently used items go first), the size of an item, the length of a line,
//! connections. Not there: the binary protocol, UDP, SASL, slabs, the segmented LRU.

mod base64;
mod classic;
mod connection;
mod meta;
mod request;
mod store;

use std::{
    cell::RefCell,
    io,
    net::{SocketAddr, TcpListener},
    rc::Rc,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, oneshot},
    task::LocalSet,
};

use self::store::Store;

/// Bytes of items, keys and bookkeeping included.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// Above that, clients wait in the listener's queue.
const CONNECTIONS_MAX: usize = 1024;
/// After an accept that failed for want of something that only time can give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What it can and cannot do, in words.
pub const LIMITS: &str = "in memory, 64 MiB";

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens at `address`; port 0 takes a free one.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        Self::with_memory(address, BYTES_MAX)
    }

    /// The same with another bound on the memory of its items, in bytes.
    pub fn with_memory(address: SocketAddr, bytes_max: usize) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("memcached".into()).spawn(move || {
            LocalSet::new().block_on(&runtime, async {
                tokio::select! {
                    () = serve(listener, bytes_max) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It may have ended by itself.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            // Its panic was reported when it happened.
            let _ = thread.join();
        }
    }
}

async fn serve(listener: TcpListener, bytes_max: usize) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the embedded memcached cannot listen");
            return;
        }
    };
    let store = Rc::new(RefCell::new(Store::new(bytes_max)));
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let store = Rc::clone(&store);
                tokio::task::spawn_local(async move {
                    if let Err(error) = connection::serve(stream, &store).await {
                        tracing::debug!(%error, "a client of the embedded memcached is gone");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the embedded memcached cannot take a client");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
