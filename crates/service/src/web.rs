//! The port of a service that speaks HTTP: accepting and serving with bounds on connections, on a request's head, and on
//! the time a client takes for head and body.

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
use tower_http::timeout::RequestBodyDeadlineLayer;
use tracing::{debug, warn};

use crate::listen;

/// How long a client may take to send the head of a request, and of the next.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take to send the body, however steadily that trickles in: it occupies a place meanwhile.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest head of a request; hyper takes no less.
const HEAD_BYTES_MAX: usize = 8192;
/// When descriptors run out, accepting is tried again after this.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long the kernel keeps sending to a client after its connection was closed.
const LINGER: Duration = Duration::from_secs(10);

/// Accepts and serves for ever. Beyond `connections_max` clients wait in the kernel's queue. Handlers find a [`Reset`]
/// among a request's extensions.
pub async fn serve(listener: TcpListener, router: Router, connections_max: usize) {
    serve_within(BODY_TIMEOUT, listener, router, connections_max).await;
}

async fn serve_within(body: Duration, listener: TcpListener, router: Router, connections_max: usize) {
    let router = router.layer(RequestBodyDeadlineLayer::new(body));
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
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
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

#[cfg(test)]
mod tests {
    use axum::routing::post;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const HEAD: &str = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length";

    async fn read_all(mut client: impl AsyncRead + Unpin) -> String {
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_body_that_trickles_without_end_gives_its_place_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", post(|body: String| async { body }));
        tokio::spawn(serve_within(Duration::from_millis(300), listener, router, 1));

        let (slow, mut writes) = TcpStream::connect(address).await.unwrap().into_split();
        writes.write_all(format!("{HEAD}: 1000000\r\n\r\n").as_bytes()).await.unwrap();
        // A byte now and then, so that a limit on silence would never be reached.
        tokio::spawn(async move {
            while writes.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let mut next = TcpStream::connect(address).await.unwrap();
        next.write_all(format!("{HEAD}: 2\r\n\r\nhi").as_bytes()).await.unwrap();

        let both = async { tokio::join!(read_all(slow), read_all(next)) };
        let (refused, answer) = tokio::time::timeout(Duration::from_secs(20), both).await.unwrap();
        assert!(refused.starts_with("HTTP/1.1 400"), "{refused}");
        assert!(answer.ends_with("\r\n\r\nhi"), "{answer}");
    }
}
