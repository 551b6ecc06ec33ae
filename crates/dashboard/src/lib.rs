//! The live page: what [`report::html`] shows of a recorded run, of one that still runs, and what can be done to it.
//!
//! Events go into a [`report::Story`], which is bounded however long the run lasts. Browsers are told by server-sent events
//! that there is news, by number and with the latest counts, and fetch the whole story every now and then. So a page that
//! was away or does not read misses nothing, holds up nobody and costs no memory, and many pages cost little more than
//! one: the story is written out at most once a second, however many ask.
//!
//! Acting is left to [`Hands`]; [`access`] decides who may.

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

/// Requests and open pages at a time.
const CONNECTIONS_MAX: usize = 256;

/// What it takes to act from the page.
#[derive(Clone)]
pub struct Acting {
    pub hands: Arc<dyn Hands>,
    /// `None`: nobody may act, and the page only shows.
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
    /// Serves what is on the stage, to this machine alone.
    ///
    /// # Errors
    /// The listener is not one of this machine's own, or a thread cannot be started.
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

    /// Where the page is, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Pages may be open for ever.
            runtime.shutdown_background();
        }
    }
}
