//! The port of a service that speaks HTTP: accepting and serving with bounds on connections, on a request's head, and on
//! the time a client takes for it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{debug, warn};

use crate::listen;

/// How long a client may take to send a request, and to send the next.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest head of a request; hyper takes no less.
const HEAD_BYTES_MAX: usize = 8192;
/// When descriptors run out, accepting is tried again after this.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long the kernel keeps sending to a client after its connection was closed.
const LINGER: Duration = Duration::from_secs(10);

/// Accepts and serves for ever. Beyond `connections_max` clients wait in the kernel's queue. Handlers find a [`Reset`]
/// among a request's extensions.
pub async fn serve(listener: TcpListener, router: Router, connections_max: usize) {
    let places = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
    let mut shortage_told = false;
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                shortage_told = false;
                // The service's own time would be lost waiting for acknowledgements.
                let _ = stream.set_nodelay(true);
                tokio::spawn(answer(stream, place, router.clone()));
            }
            Err(error) => {
                if !std::mem::replace(&mut shortage_told, true) {
                    warn!(%error, "cannot take a connection");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn answer(stream: TcpStream, place: OwnedSemaphorePermit, router: Router) {
    let reset = Reset::default();
    let stream = Connection { stream, reset: reset.clone(), _place: place };
    let service = TowerToHyperService::new(router.layer(Extension(reset)));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(REQUEST_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).with_upgrades().await {
        debug!(%error, "a client is gone");
    }
}

/// Whether a connection is reset when it is closed; clones speak of the same connection.
#[derive(Debug, Clone, Default)]
pub struct Reset(Arc<AtomicBool>);

impl Reset {
    /// Unsent bytes are dropped at the close: the kernel keeps nothing for a client that does not read.
    pub fn on_close(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A client's connection, as HTTP and later the WebSocket use it.
#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    reset: Reset,
    _place: OwnedSemaphorePermit,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.reset.0.load(Ordering::Relaxed) {
            listen::reset_on_close(&self.stream);
        } else {
            listen::give_up_after(&self.stream, LINGER);
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A runtime with so many threads for connections. With one, it runs on the thread that waits for it: no locks between
/// threads, and nothing to wake.
///
/// # Errors
/// A thread cannot be made.
pub fn runtime(workers: usize) -> io::Result<Runtime> {
    if workers == 1 {
        return Builder::new_current_thread().enable_all().build();
    }
    Builder::new_multi_thread().worker_threads(workers).thread_name("worker").enable_all().build()
}
