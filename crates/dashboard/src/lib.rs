//! The live page: the report of [`report::html`] for a run in progress, with actions on its platform.
//!
//! Events go into a [`report::Story`], which is bounded however long the run lasts. Server-sent events tell browsers
//! that there is news, by number and with the latest counts; browsers then fetch the whole story from time to time. So
//! a page that was disconnected or does not read misses nothing, blocks nobody and costs no memory, and many pages cost
//! little more than one: the story is serialized at most once a second, however many pages request it.
//!
//! Actions are left to [`Hands`]; [`access`] decides which requests may act.

mod access;
mod actions;
mod routes;
mod stage;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

pub use actions::{Action, Hands, USERS_MAX};
use service::web;
pub use stage::Stage;
use tokio::runtime::Runtime;

/// The maximum number of connections: requests and open pages.
const CONNECTIONS_MAX: usize = 256;

/// What acting from the page needs.
#[derive(Clone)]
pub struct Acting {
    pub hands: Arc<dyn Hands>,
    /// `None`: nobody may act; the page is read-only.
    pub token: Option<String>,
    /// The command that prints the page's address with the token.
    pub printed_by: String,
}

/// Serves the page until it is dropped.
pub struct Server {
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Server {
    /// Serves the stage on this machine only.
    ///
    /// # Errors
    /// The listener's address is not a loopback address, or a thread cannot be started.
    pub fn start(listener: TcpListener, stage: &Stage, acting: Option<Acting>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        if !address.ip().is_loopback() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{address} is not loopback")));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("dashboard")
            .enable_all()
            .build()?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let router = routes::router(address, stage.clone(), acting);
        runtime.spawn(web::serve(listener, router, CONNECTIONS_MAX));
        Ok(Self { address, runtime: Some(runtime) })
    }

    /// The address of the page, with the actual port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Pages may stay open forever.
            runtime.shutdown_background();
        }
    }
}
