//! The live page: what [`report::html`] shows of a recorded run, of one that still runs.
//!
//! Events go into a [`report::Story`], which is bounded however long the run lasts. Browsers are told by server-sent events
//! that there is news, by number, and fetch the whole story then. So a page that was away or does not read misses
//! nothing, holds up nobody and costs no memory, and many pages cost little more than one: the story is written out at
//! most twice a second, however many ask.

mod routes;
mod stage;

use std::io;
use std::net::{SocketAddr, TcpListener};

use service::web;
pub use stage::Stage;
use tokio::runtime::Runtime;

/// Requests and open pages at a time.
const CONNECTIONS_MAX: usize = 256;

/// Serves the page until it is dropped.
pub struct Server {
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Server {
    /// Serves what is on the stage, to this machine alone.
    ///
    /// # Errors
    /// The port is taken, or a thread cannot be started.
    pub fn start(port: u16, stage: &Stage) -> io::Result<Self> {
        // Pages of other machines would be shown to anybody: there is no password.
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("dashboard")
            .enable_all()
            .build()?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        runtime.spawn(web::serve(listener, routes::router(stage.clone()), CONNECTIONS_MAX));
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
