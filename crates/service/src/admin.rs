//! The admin port: `/healthz`, `/readyz`, `/metrics`, and what a service adds.
//!
//! It has its own thread and current-thread runtime: a costly scrape cannot hold up connections, and a busy data plane
//! cannot fail a probe. The port is bound before [`Admin::start`] returns, so that a taken port is an error at start
//! and tests can ask for port 0.
//!
//! Whatever clients do, a probe is answered in time ([`connections`]).

mod connections;
mod exposition;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

use self::exposition::Exposition;
use crate::readiness::Readiness;
use crate::{listen, shed};

/// What the admin port serves.
pub struct Pages {
    router: Router,
}

impl Pages {
    /// `/healthz` (200 while the process can answer), `/readyz` (200 or 503, with reasons) and `/metrics`.
    pub fn new(readiness: Readiness, metrics: Registry) -> Self {
        let metrics = Arc::new(Exposition::new(metrics));
        let router = Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(move || std::future::ready(readyz(&readiness))))
            .route("/metrics", get(move |headers: HeaderMap| render(Arc::clone(&metrics), headers)));
        Self { router }
    }

    /// Answers one request on `stream`, exactly as the admin port would.
    ///
    /// # Errors
    /// The connection ended before a request arrived, or the bytes were not a request.
    pub async fn answer(&self, stream: impl AsyncRead + AsyncWrite + Unpin + 'static) -> hyper::Result<()> {
        connections::answer(stream, self.router.clone()).await
    }

    /// Adds a page whose text is rendered for each request. `path` starts with `/`.
    #[must_use]
    pub fn with(self, path: &str, text: impl Fn() -> String + Clone + Send + Sync + 'static) -> Self {
        Self { router: self.router.route(path, get(move || std::future::ready(text()))) }
    }

    /// Adds `POST /shed`: orders that carry the token ([`shed`]). `shed` asks that many connections to move and returns
    /// how many it asked.
    #[must_use]
    pub fn with_shed<F, Fut>(self, token: Option<shed::Token>, shed: F) -> Self
    where
        F: Fn(u64) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = u64> + Send + 'static,
    {
        Self { router: self.router.merge(shed::router(token, shed)) }
    }

    /// Adds `/info`: the service, the name of the replica and, if the service has one, the server's UUID.
    #[must_use]
    pub fn with_info(self, service: &str, pod: &str, server: Option<&str>) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        let info = serde_json::json!({
            "service": service, "pod": pod, "server": server, "version": version,
        });
        let text = format!("{info}\n");
        self.with_json("/info", move || text.clone())
    }

    /// Adds a JSON page that is rendered for each request. `path` starts with `/`.
    #[must_use]
    pub fn with_json(self, path: &str, json: impl Fn() -> String + Clone + Send + Sync + 'static) -> Self {
        let page = move || std::future::ready(([(header::CONTENT_TYPE, "application/json")], json()));
        Self { router: self.router.route(path, get(page)) }
    }
}

fn readyz(readiness: &Readiness) -> impl IntoResponse + use<> {
    let status = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, readiness.describe())
}

async fn render(metrics: Arc<Exposition>, request: HeaderMap) -> impl IntoResponse + use<> {
    match metrics.answer(&request).await {
        Ok((media_type, text)) => ([(header::CONTENT_TYPE, media_type)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("cannot write the metrics: {error}\n"))
            .into_response(),
    }
}

/// A running admin server; ends when it is dropped.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Admin {
    /// Serves `pages` on `listener` until dropped.
    ///
    /// # Errors
    /// The listener cannot be used or the thread cannot be created.
    pub fn start(listener: TcpListener, pages: Pages) -> io::Result<Self> {
        let address = listener.local_addr()?;
        listen::bound_buffers(&listener)?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("admin".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = connections::serve(listener, pages.router) => {}
                    // A message and a dropped sender both mean: stop.
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Its address, with the real port if 0 was requested.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // The panic hook has reported any panic; shutting down continues.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::Duration;

    use prometheus_client::metrics::counter::Counter;

    use super::*;

    fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn pages_follow_readiness_and_metrics() {
        let readiness = Readiness::new();
        let counter: Counter = Counter::default();
        let mut metrics = Registry::default();
        metrics.register("messages", "Messages", counter.clone());
        let pages = Pages::new(readiness.clone(), metrics)
            .with("/version", || "7\n".into())
            .with_info("tcp", "tcp-0", None);
        let admin = Admin::start(TcpListener::bind("127.0.0.1:0").unwrap(), pages).unwrap();
        let address = admin.address();

        assert!(get(address, "/healthz").starts_with("HTTP/1.1 200"));
        let starting = get(address, "/readyz");
        assert!(starting.starts_with("HTTP/1.1 503") && starting.ends_with("starting\n"), "{starting}");
        readiness.ready();
        readiness.degrade("cache", "refused");
        let ready = get(address, "/readyz");
        assert!(
            ready.starts_with("HTTP/1.1 200") && ready.ends_with("ready\ndegraded: cache: refused\n"),
            "{ready}"
        );
        counter.inc();
        let metrics = get(address, "/metrics");
        assert!(
            metrics.contains("text/plain; version=0.0.4") && metrics.contains("messages_total 1\n"),
            "{metrics}"
        );
        assert!(get(address, "/version").ends_with("\r\n\r\n7\n"));
        let info = get(address, "/info");
        assert!(info.contains(r#""pod":"tcp-0","server":null,"service":"tcp""#), "{info}");
        assert!(get(address, "/other").starts_with("HTTP/1.1 404"));

        drop(admin);
        assert!(TcpListener::bind(address).is_ok(), "the port is free again");
    }

    /// Shorter than the idle limit, so a probe succeeds only if another connection makes room for it.
    const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
    const CROWD: usize = 1000;

    fn probe(address: SocketAddr) {
        let mut stream = TcpStream::connect_timeout(&address, PROBE_TIMEOUT).expect("connected in time");
        stream.set_read_timeout(Some(PROBE_TIMEOUT)).unwrap();
        write!(stream, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("answered in time");
        assert_eq!(&answer, b"HTTP/1.1 200");
    }

    /// Whether the server has closed the connection.
    fn is_closed(stream: &TcpStream) -> bool {
        stream.set_nonblocking(true).unwrap();
        let mut rest = [0; 4096];
        loop {
            match (&mut &*stream).read(&mut rest) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
            }
        }
    }

    /// Probes while a crowd of clients connects, sends `request` and stays; checks that all are gone in the end.
    fn probes_are_answered_beside(request: &[u8]) {
        let mut metrics = Registry::default();
        for number in 0..300 {
            // A page larger than any socket buffer.
            metrics.register(format!("metric_{number}"), "x".repeat(1000), Counter::<u64>::default());
        }
        let admin = Admin::start(
            listen::tcp(crate::settings::Host::LOOPBACK, 0).unwrap(),
            Pages::new(Readiness::new(), metrics),
        )
        .unwrap();
        let address = admin.address();
        let crowd: Vec<TcpStream> = (0..CROWD)
            .map(|number| {
                let stream = TcpStream::connect(address).unwrap();
                stream.set_nonblocking(true).unwrap();
                // Some of these may not fit, and closed connections accept nothing: ignore errors.
                let _ = (&mut &stream).write(request);
                if number % 20 == 0 {
                    probe(address);
                }
                stream
            })
            .collect();
        for _ in 0..20 {
            probe(address);
        }
        let deadline = clock::now() + Duration::from_secs(30);
        while !crowd.iter().all(is_closed) {
            assert!(clock::now() < deadline, "they are let go");
            probe(address);
        }
    }

    #[test]
    fn silent_clients_do_not_block_probes() {
        probes_are_answered_beside(b"");
    }

    #[test]
    fn clients_that_never_finish_do_not_block_probes() {
        probes_are_answered_beside(b"GET /healthz HTTP/1.1\r\nHost:");
    }

    #[test]
    fn clients_that_ask_endlessly_without_reading_do_not_block_probes() {
        probes_are_answered_beside(&b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000));
    }
}
