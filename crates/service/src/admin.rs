//! The admin port: `/healthz`, `/readyz`, `/metrics`, and what a service adds.
//!
//! It has a thread and a current-thread runtime of its own: a costly scrape cannot hold up connections, and a busy
//! data plane cannot fail a probe. The port is bound before [`Admin::start`] returns, so that a port that is taken
//! is an error at start and tests can ask for port 0.
//!
//! Everybody may connect, so connections are bounded in number and in how long they may say nothing.

mod exposition;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use prometheus_client::registry::Registry;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::readiness::Readiness;

/// A scraper, a probe and a few people look at a replica; what comes beyond that waits in the listener's backlog.
const CONNECTIONS_MAX: usize = 128;
/// A request must have come so long after the connection, or the request before it: more than a slow client needs,
/// less than the time-outs of probes times their failure threshold, so that silent ones cannot keep them out.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// When descriptors run out, accepting is tried again after this.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the admin port serves.
pub struct Pages {
    router: Router,
}

impl Pages {
    /// `/healthz` (200 while the process can answer), `/readyz` (200 or 503, with reasons) and `/metrics`.
    pub fn new(readiness: Readiness, metrics: Registry) -> Self {
        let metrics = Arc::new(metrics);
        let router = Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(move || std::future::ready(readyz(&readiness))))
            .route("/metrics", get(move |headers: HeaderMap| std::future::ready(render(&metrics, &headers))));
        Self { router }
    }

    /// Adds a page whose text is made anew for each request. `path` starts with `/`.
    #[must_use]
    pub fn with(self, path: &str, text: impl Fn() -> String + Clone + Send + Sync + 'static) -> Self {
        Self { router: self.router.route(path, get(move || std::future::ready(text()))) }
    }

    /// Adds `/info`: which service this is, the name of the replica and, where the service has one, the server's UUID.
    #[must_use]
    pub fn with_info(self, service: &str, pod: &str, server: Option<&str>) -> Self {
        let version = env!("CARGO_PKG_VERSION");
        let info = serde_json::json!({
            "service": service, "pod": pod, "server": server, "version": version,
        });
        let text = format!("{info}\n");
        self.with_json("/info", move || text.clone())
    }

    /// Adds a page of JSON that is made anew for each request. `path` starts with `/`.
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

fn render(metrics: &Registry, request: &HeaderMap) -> impl IntoResponse + use<> {
    match exposition::of(metrics, request) {
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
    /// If the listener cannot be used or the thread cannot be made.
    pub fn start(listener: TcpListener, pages: Pages) -> io::Result<Self> {
        let address = listener.local_addr()?;
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
                    () = serve(listener, pages.router) => {}
                    // Both a message and the sender's end mean: stop.
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens, with the real port when 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Serves for ever.
async fn serve(listener: tokio::net::TcpListener, router: Router) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(REQUEST_TIMEOUT);
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
        }
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the admin port cannot take a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            Some(_) = connections.join_next() => continue,
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = http.serve_connection(TokioIo::new(stream), service);
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a client of the admin port is gone");
            }
        });
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was reported by the panic hook; the server's end goes on.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

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

    #[test]
    fn the_silent_are_let_go_and_cannot_keep_others_out() {
        let pages = Pages::new(Readiness::new(), Registry::default());
        let admin = Admin::start(TcpListener::bind("127.0.0.1:0").unwrap(), pages).unwrap();
        let address = admin.address();
        let silent: Vec<TcpStream> =
            (0..CONNECTIONS_MAX).map(|_| TcpStream::connect(address).unwrap()).collect();
        let mut halfway = &silent[0];
        halfway.write_all(b"GET /healthz HTTP/1.1\r\nHost:").unwrap();
        // Answered once the silent ones are gone.
        assert!(get(address, "/healthz").starts_with("HTTP/1.1 200"));
        for mut stream in silent {
            stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            let mut rest = String::new();
            stream.read_to_string(&mut rest).unwrap();
        }
    }
}
