//! The admin port: `/healthz`, `/readyz`, `/metrics`, and what a service adds.
//!
//! It has a thread and a current-thread runtime of its own: a costly scrape cannot hold up connections, and a busy
//! data plane cannot fail a probe. The port is bound before [`Admin::start`] returns, so that a port that is taken
//! is an error at start and tests can ask for port 0.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio::sync::oneshot;

use crate::readiness::Readiness;

/// The media type of the `OpenMetrics` text that [`prometheus_client`] writes.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

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
            .route("/metrics", get(move || std::future::ready(render(&metrics))));
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

fn render(metrics: &Registry) -> impl IntoResponse + use<> {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, metrics) {
        Ok(()) => ([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response(),
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
                    result = axum::serve(listener, pages.router).into_future() => {
                        if let Err(error) = result {
                            tracing::error!(%error, "admin server ended");
                        }
                    }
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
        assert!(get(address, "/metrics").contains("messages_total 1\n"));
        assert!(get(address, "/version").ends_with("\r\n\r\n7\n"));
        let info = get(address, "/info");
        assert!(info.contains(r#""pod":"tcp-0","server":null,"service":"tcp""#), "{info}");
        assert!(get(address, "/other").starts_with("HTTP/1.1 404"));

        drop(admin);
        assert!(TcpListener::bind(address).is_ok(), "the port is free again");
    }
}
