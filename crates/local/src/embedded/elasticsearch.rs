//! Elasticsearch: a small endpoint for `_bulk` and `_search`, for platforms without a real one.
//!
//! It supports the requests with which `playctl serve logger` writes and `playctl logs` reads, so that both work the
//! same against the real server: index templates (accepted), bulks of `create`, searches by time and pod. Documents are
//! lines of JSON in two files; the older one is dropped when the newer one is full. A document whose ID is still stored
//! is not written again. Not supported: analysis and scoring, other queries, updates, deletes, fsync, users.

mod body;
mod bulk;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod search;
mod store;

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    extract::{DefaultBodyLimit, Path, RawQuery, State},
    http::{Method, StatusCode, Uri, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use parking_lot::Mutex;
use serde_json::json;

use self::{
    bulk::BulkError,
    search::{Query, SearchError},
    store::Store,
};
use super::{guests::Limits, server};

/// Bytes of each of the two files.
const SEGMENT_MAX: u64 = 16 * 1024 * 1024;
/// Maximum size of a request's head, and of one read.
const HEAD_MAX: usize = 16 * 1024;
/// How long to wait for the head of a request.
const IDLE_MAX: Duration = Duration::from_mins(2);
/// In addition, the heads of requests take up to 256 × 16 KiB.
const CLIENTS: Limits = Limits { connections: 256, bytes: 24 * 1024 * 1024 };
/// Its limits, in words.
pub const LIMITS: &str = "on disk, the last 16 to 32 MiB";

type Shared = Arc<Mutex<Store>>;

/// A server that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct Server(server::Server);

impl Server {
    /// Listens at `address` (port 0 takes a free one) and keeps its documents in `file` and its neighbour `.1`, which
    /// it replaces.
    pub fn bind(address: SocketAddr, file: PathBuf) -> io::Result<Self> {
        Self::with_disk(address, file, SEGMENT_MAX)
    }

    /// The same with another bound on each of the two files, in bytes.
    fn with_disk(address: SocketAddr, file: PathBuf, segment_max: u64) -> io::Result<Self> {
        let router = router(Shared::new(Mutex::new(Store::create(file, segment_max)?)));
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(IDLE_MAX).max_buf_size(HEAD_MAX);
        let server = server::Server::bind("elasticsearch", address, CLIENTS, move |stream, guest| {
            let service = TowerToHyperService::new(router.clone().layer(Extension(guest)));
            let connection = http.serve_connection(TokioIo::new(stream), service);
            Box::pin(async move { connection.await.map_err(io::Error::other) })
        })?;
        Ok(Self(server))
    }

    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Cuts all clients off and refuses new ones. The documents are kept.
    pub fn stop(&mut self) -> io::Result<()> {
        self.0.stop();
        Ok(())
    }

    /// Listens again at the same address, with the same documents.
    pub fn start_again(&mut self) -> io::Result<()> {
        self.0.start()
    }
}

fn router(store: Shared) -> Router {
    Router::new()
        .route("/", get(about))
        .route("/_index_template/{name}", put(acknowledge))
        .route("/_aliases", post(acknowledge))
        // Some clients use PUT.
        .route("/_bulk", post(write).put(write))
        .route("/_search", post(find_in_all).get(find_in_all))
        .route("/{indices}/_search", post(find).get(find))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown_method)
        // All clients together are bounded instead.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn(body::within_bounds))
        .with_state(store)
}

async fn about() -> Response {
    answer(
        StatusCode::OK,
        &json!({
            "name": "playctl",
            "tagline": "playctl's embedded Elasticsearch: _bulk and _search only",
            "version": { "number": env!("CARGO_PKG_VERSION"), "distribution": "playctl" },
        }),
    )
}

/// There is one mapping, for log lines, and one alias, which all indices have, whatever a template says.
async fn acknowledge() -> Response {
    answer(StatusCode::OK, &json!({ "acknowledged": true }))
}

async fn write(State(store): State<Shared>, body: String) -> Response {
    let actions = match bulk::parse(&body) {
        Ok(actions) => actions,
        Err(reason) => {
            let (status, kind) = match reason {
                BulkError::TooMany => (StatusCode::PAYLOAD_TOO_LARGE, "content_too_long_exception"),
                BulkError::Malformed(_) => (StatusCode::BAD_REQUEST, "illegal_argument_exception"),
            };
            return refused(status, kind, &reason.to_string());
        }
    };
    let mut store = store.lock();
    // Text, because a tree of the items would take many times the request's memory.
    let mut items = String::new();
    let mut errors = false;
    for action in &actions {
        match store.write(action) {
            Ok(written) => {
                errors |= written.is_error();
                if !items.is_empty() {
                    items.push(',');
                }
                items.push_str(&written.item(action));
            }
            Err(error) => {
                return refused(StatusCode::SERVICE_UNAVAILABLE, "io_exception", &error.to_string());
            }
        }
    }
    answer(StatusCode::OK, &format!(r#"{{"took":0,"errors":{errors},"items":[{items}]}}"#))
}

async fn find_in_all(state: State<Shared>, parameters: RawQuery, body: String) -> Response {
    find(state, Path("*".to_owned()), parameters, body).await
}

async fn find(
    State(store): State<Shared>,
    Path(indices): Path<String>,
    RawQuery(parameters): RawQuery,
    body: String,
) -> Response {
    let query = Query::parse(&indices, &body);
    let query = match query.and_then(|query| query.with_parameters(&parameters.unwrap_or_default())) {
        Ok(query) => query,
        Err(reason) => return refused(StatusCode::BAD_REQUEST, "parsing_exception", &reason),
    };
    match query.run(&store.lock()) {
        Ok(found) => answer(StatusCode::OK, &found),
        Err(error @ SearchError::TooLarge { .. }) => {
            refused(StatusCode::PAYLOAD_TOO_LARGE, "content_too_long_exception", &error.to_string())
        }
        Err(SearchError::Io(error)) => {
            refused(StatusCode::SERVICE_UNAVAILABLE, "io_exception", &error.to_string())
        }
    }
}

async fn unknown() -> Response {
    let reason = "playctl's embedded Elasticsearch supports _bulk, _search and _index_template only";
    refused(StatusCode::BAD_REQUEST, "illegal_argument_exception", reason)
}

async fn unknown_method(method: Method, uri: Uri) -> Response {
    let reason = format!("playctl's embedded Elasticsearch does not support {method} of {}", uri.path());
    refused(StatusCode::METHOD_NOT_ALLOWED, "illegal_argument_exception", &reason)
}

fn refused(status: StatusCode, kind: &str, reason: &str) -> Response {
    answer(status, &json!({ "error": { "type": kind, "reason": reason }, "status": status.as_u16() }))
}

fn answer(status: StatusCode, body: &impl ToString) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), PRODUCT];
    (status, headers, body.to_string()).into_response()
}

/// Clients recognise the product by this header.
const PRODUCT: (header::HeaderName, &str) =
    (header::HeaderName::from_static("x-elastic-product"), "Elasticsearch");
