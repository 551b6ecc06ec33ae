//! The port of an HTTP service: accepts and serves with limits on connections, on a request's head, and on the time
//! that a client takes to send head and body and to read the answer.

mod bound;

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::Sleep;
use tower_http::timeout::DeadlineBody;
use tower_service::Service as _;
use tracing::{debug, warn};

use crate::listen;
use crate::shutdown::{Phase, Shutdown};
pub use bound::{Bound, Listeners};

/// How long a client may take to send the head of a request, and of the next.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take to send the body, however steadily that trickles in: it occupies a place meanwhile.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may leave a pending answer unread. Every byte it reads restarts the time.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum length of a request's head; hyper accepts no smaller limit.
const HEAD_BYTES_MAX: usize = 8192;
/// When descriptors run out, accepting is retried after this.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long the kernel keeps sending to a client after its connection was closed.
const LINGER: Duration = Duration::from_secs(10);

/// How long a client may occupy a place without making progress.
#[derive(Debug, Clone, Copy)]
struct Limits {
    body: Duration,
    stall: Duration,
}

const LIMITS: Limits = Limits { body: BODY_TIMEOUT, stall: STALL_TIMEOUT };

/// Accepts and serves forever. Beyond `connections_max`, clients wait in the kernel's queue. Handlers find a [`Reset`]
/// and a [`SlowReader`] among a request's extensions.
pub async fn serve(listener: TcpListener, router: Router, connections_max: usize) {
    serve_within(LIMITS, &Connections::default(), listener, router, connections_max).await;
}

/// A served port, which can be closed without cutting off an answer.
#[derive(Debug)]
pub struct Port {
    accepting: JoinHandle<()>,
    connections: Connections,
}

impl Port {
    /// Accepts and serves, like [`serve`], on the current runtime.
    pub fn open(listener: TcpListener, router: Router, connections_max: usize) -> Self {
        let connections = Connections::default();
        let accepting = tokio::spawn({
            let connections = connections.clone();
            async move { serve_within(LIMITS, &connections, listener, router, connections_max).await }
        });
        Self { accepting, connections }
    }

    /// Accepts for `notice` longer, so that balancers can notice, and then closes each connection after its current
    /// request, or at once if it has none. Returns whether all requests were answered before `grace` or a forced
    /// shutdown.
    pub async fn close(self, notice: Duration, grace: Duration, shutdown: &Shutdown) -> bool {
        let closing = async {
            tokio::time::sleep(notice).await;
            self.accepting.abort();
            tokio::time::timeout(grace, self.connections.close()).await.is_ok()
        };
        tokio::select! {
            all_answered = closing => all_answered,
            () = shutdown.reached(Phase::Forced) => false,
        }
    }
}

/// All connections of a port.
#[derive(Debug, Clone, Default)]
struct Connections(watch::Sender<bool>);

impl Connections {
    async fn close(&self) {
        self.0.send_replace(true);
        self.0.closed().await;
    }
}

async fn serve_within(
    limits: Limits,
    connections: &Connections,
    listener: TcpListener,
    router: Router,
    connections_max: usize,
) {
    let places = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
    let mut shortage_told = false;
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                shortage_told = false;
                // Otherwise the service would lose time waiting for acknowledgements.
                let _ = stream.set_nodelay(true);
                tokio::spawn(answer(stream, place, limits, router.clone(), connections.0.subscribe()));
            }
            Err(error) => {
                if !std::mem::replace(&mut shortage_told, true) {
                    warn!(%error, "cannot accept a connection");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn answer(
    stream: TcpStream,
    place: OwnedSemaphorePermit,
    limits: Limits,
    router: Router,
    mut closing: watch::Receiver<bool>,
) {
    let (reset, reader) = (Reset::default(), SlowReader::default());
    // By hand: as layers of the router, these would cost each request some allocations.
    let service = service_fn({
        let (reset, reader) = (reset.clone(), reader.clone());
        move |mut request| {
            request.extensions_mut().insert(reset.clone());
            request.extensions_mut().insert(reader.clone());
            router.clone().call(request.map(|body: Incoming| within(limits.body, body)))
        }
    });
    let stream = Connection {
        stream,
        reset,
        reader,
        stall: limits.stall,
        stalled: None,
        has_ended: false,
        _place: place,
    };
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
    // An error: no owner is left that could close it.
    let told = async { closing.wait_for(|closing| *closing).await.is_ok() };
    let served = tokio::select! {
        served = connection.as_mut() => served,
        told = told => {
            if told {
                connection.as_mut().graceful_shutdown();
            }
            connection.await
        }
    };
    if let Err(error) = served {
        debug!(%error, "a client is gone");
    }
}

/// A body that must arrive in time.
fn within(deadline: Duration, body: Incoming) -> Body {
    if body.is_end_stream() { Body::empty() } else { Body::new(DeadlineBody::new(deadline, body)) }
}

/// Whether to reset a connection when it is closed; clones refer to the same connection.
#[derive(Debug, Clone, Default)]
pub struct Reset(Arc<Wish>);

#[derive(Debug, Default)]
struct Wish {
    on_close: AtomicBool,
    now: AtomicBool,
}

impl Reset {
    /// Drops unsent bytes at the close: the kernel keeps nothing for a client that does not read.
    pub fn on_close(&self) {
        self.0.on_close.store(true, Ordering::Relaxed);
    }

    /// Nothing more is written, and the next attempt ends the connection. The caller must wake the serving task, which
    /// attempts at once.
    pub fn now(&self) {
        self.on_close();
        self.0.now.store(true, Ordering::Relaxed);
    }

    fn check(&self) -> io::Result<()> {
        if self.0.now.load(Ordering::Relaxed) { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}

/// Whether a client may read as slowly as it likes; clones refer to the same connection.
#[derive(Debug, Clone, Default)]
pub struct SlowReader(Arc<AtomicBool>);

impl SlowReader {
    /// From now on, only the handler decides when this client is too slow: it is not closed for reading nothing.
    pub fn allow(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A client's connection, as HTTP and later the WebSocket use it.
#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    reset: Reset,
    reader: SlowReader,
    stall: Duration,
    /// Runs while bytes are pending and the client reads none.
    stalled: Option<Pin<Box<Sleep>>>,
    /// The client has ended its side, which was held back once.
    has_ended: bool,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    /// The result of a write, or an error once the client has read nothing for too long.
    fn within_stall(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() || self.reader.0.load(Ordering::Relaxed) {
            self.stalled = None;
            return written;
        }
        let stall = self.stall;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(stall)));
        if stalled.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        self.reset.on_close();
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not take its answer")))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.reset.0.on_close.load(Ordering::Relaxed) {
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
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let is_end =
            matches!(read, Poll::Ready(Ok(()))) && buffer.filled().len() == before && buffer.remaining() > 0;
        if is_end && !std::mem::replace(&mut self.has_ended, true) {
            // A client that closes its side after its request gets an answer that is ready at once, whether or not the
            // close came before the request was read: hyper would cut off what it has not polled yet.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.reset.check()?;
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.within_stall(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.reset.check()?;
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.within_stall(context, written)
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

/// A runtime with this many threads for connections. With one, it runs on the thread that waits for it: no locks
/// between threads, and nothing to wake.
///
/// # Errors
/// A thread cannot be created.
pub fn runtime(workers: usize) -> io::Result<Runtime> {
    if workers == 1 {
        return Builder::new_current_thread().enable_all().build();
    }
    Builder::new_multi_thread().worker_threads(workers).thread_name("worker").enable_all().build()
}

#[cfg(test)]
mod tests {
    use axum::Extension;
    use axum::routing::{get, post};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::Notify;

    use super::*;

    const PATIENT: Duration = Duration::from_mins(1);
    const HEAD: &str = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length";

    /// One client at a time.
    async fn serve_one(limits: Limits, listener: TcpListener, router: Router) {
        serve_within(limits, &Connections::default(), listener, router, 1).await;
    }

    async fn read_all(mut client: impl AsyncRead + Unpin) -> String {
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn an_endlessly_trickling_body_frees_its_slot() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", post(|body: String| async { body }));
        let limits = Limits { body: Duration::from_millis(300), stall: PATIENT };
        tokio::spawn(serve_one(limits, listener, router));

        let (slow, mut writes) = TcpStream::connect(address).await.unwrap().into_split();
        writes.write_all(format!("{HEAD}: 1000000\r\n\r\n").as_bytes()).await.unwrap();
        // An occasional byte, so that a limit on silence is never reached.
        tokio::spawn(async move {
            while writes.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let mut next = TcpStream::connect(address).await.unwrap();
        next.write_all(format!("{HEAD}: 2\r\n\r\nhi").as_bytes()).await.unwrap();

        let both = async { tokio::join!(read_all(slow), read_all(next)) };
        let (refused, answer) = tokio::time::timeout(PATIENT, both).await.unwrap();
        assert!(refused.starts_with("HTTP/1.1 400"), "{refused}");
        assert!(answer.ends_with("\r\n\r\nhi"), "{answer}");
    }

    #[tokio::test]
    async fn a_client_that_half_closes_after_its_request_is_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        client.shutdown().await.unwrap();
        // The whole answer is ready before the client reads any of it.
        tokio::spawn(serve_one(LIMITS, listener, Router::new().route("/", get(|| async { "hi" }))));
        let answer = tokio::time::timeout(PATIENT, read_all(client)).await.unwrap();
        assert!(answer.ends_with("\r\n\r\nhi"), "{answer}");
    }

    /// Larger than what two sockets hold.
    async fn large() -> Vec<u8> {
        vec![b'x'; 64 << 20]
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_its_answer_frees_its_slot() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router =
            Router::new().route("/", post(|body: String| async { body })).route("/large", get(large));
        let limits = Limits { body: PATIENT, stall: Duration::from_millis(300) };
        tokio::spawn(serve_one(limits, listener, router));

        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut next = TcpStream::connect(address).await.unwrap();
        next.write_all(format!("{HEAD}: 2\r\n\r\nhi").as_bytes()).await.unwrap();

        let answer = tokio::time::timeout(PATIENT, read_all(next)).await.unwrap();
        assert!(answer.ends_with("\r\n\r\nhi"), "{answer}");
        let mut rest = Vec::new();
        let end = idle.read_to_end(&mut rest).await.unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::ConnectionReset, "what was unsent went with the connection");
    }

    #[tokio::test]
    async fn a_slow_reader_gets_the_whole_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answering = |Extension(reader): Extension<SlowReader>| async move {
            reader.allow();
            large().await
        };
        let limits = Limits { body: PATIENT, stall: Duration::from_millis(1) };
        tokio::spawn(serve_one(limits, listener, Router::new().route("/", get(answering))));

        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        // Far longer than the limit, in pauses that the server notices.
        let mut got = 0;
        let mut part = vec![0; 8 << 20];
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            match slow.read(&mut part).await.unwrap() {
                0 => break,
                read => got += read,
            }
        }
        assert!(got > 64 << 20, "{got}");
    }

    #[tokio::test]
    async fn closing_lets_answers_finish_and_closes_idle_connections() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (go, going) = watch::channel(false);
        // Longer than what the kernel holds for a client that does not read.
        let long = "x".repeat(16 * 1024 * 1024);
        let arrived = Arc::new(Notify::new());
        let slow = get({
            let arrived = Arc::clone(&arrived);
            move || async move {
                arrived.notify_one();
                let mut going = going;
                let _ = going.wait_for(|go| *go).await;
                long
            }
        });
        let router = Router::new().route("/", get(|| async { "hi" })).route("/slow", slow);
        let port = Port::open(listener, router, 10);

        let mut idle = TcpStream::connect(address).await.unwrap();
        idle.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut beginning = [0; 12];
        idle.read_exact(&mut beginning).await.unwrap();
        assert_eq!(&beginning, b"HTTP/1.1 200");
        let mut busy = TcpStream::connect(address).await.unwrap();
        busy.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        arrived.notified().await;
        let shutdown = Shutdown::new();
        let closing = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { port.close(Duration::ZERO, PATIENT, &shutdown).await }
        });
        assert!(read_all(idle).await.ends_with("hi"));
        assert!(!closing.is_finished());
        go.send(true).unwrap();
        let answer = tokio::time::timeout(PATIENT, read_all(busy)).await.unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(body.len(), 16 * 1024 * 1024);
        assert!(closing.await.unwrap(), "all were answered");
    }
}
