//! An Elasticsearch that keeps documents in memory and fails on request.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{post, put};
use axum::{Json, Router};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// A fault for one request.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// The whole request.
    Status(u16),
    /// Only the document with this text, with an error type.
    Document { text: &'static str, status: u16, kind: &'static str },
    /// The request is carried out, but the answer is lost.
    WrittenWithoutAnswer,
}

#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// By index and ID.
    pub(crate) documents: BTreeMap<(String, String), Value>,
    pub(crate) templates: BTreeMap<String, Value>,
    /// Used in order, one per bulk.
    pub(crate) faults: VecDeque<Fault>,
    /// Number of documents in each requested bulk.
    pub(crate) bulks: Vec<usize>,
    /// A bulk with more documents is too large.
    pub(crate) documents_max: Option<usize>,
    /// Every bulk fails while this is set.
    pub(crate) down: bool,
    /// A bulk with a document of this text is refused as a whole, even if it is the only one.
    pub(crate) poison: Option<&'static str>,
    /// The fault for every bulk without its own.
    pub(crate) always: Option<Fault>,
    /// No document is accepted.
    pub(crate) refuses_all: bool,
}

type Shared = Arc<Mutex<Contents>>;

/// Runs until it is dropped.
pub(crate) struct Elasticsearch {
    pub(crate) address: SocketAddr,
    pub(crate) contents: Shared,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Elasticsearch {
    pub(crate) fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let contents = Shared::default();
        let router = Router::new()
            .route("/_bulk", post(bulk))
            .route("/_index_template/{name}", put(template))
            .with_state(Arc::clone(&contents));
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    served = axum::serve(listener, router).into_future() => served.unwrap(),
                    _ = stopped => {}
                }
            });
        });
        Self { address, contents, stop: Some(stop), thread: Some(thread) }
    }

    /// The texts of all documents, in the order of their IDs.
    pub(crate) fn texts(&self) -> Vec<String> {
        let contents = self.contents.lock();
        contents.documents.values().map(|document| document["text"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.contents.lock().faults.extend(faults);
    }
}

impl Drop for Elasticsearch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking());
        }
    }
}

async fn template(
    State(contents): State<Shared>,
    Path(name): Path<String>,
    Json(template): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let mut contents = contents.lock();
    if contents.down {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({})));
    }
    contents.templates.insert(name, template);
    (StatusCode::OK, Json(json!({"acknowledged": true})))
}

async fn bulk(State(contents): State<Shared>, body: String) -> (StatusCode, Json<Value>) {
    let status = |status: u16| (StatusCode::from_u16(status).unwrap(), Json(json!({"error": "as wanted"})));
    let mut contents = contents.lock();
    let lines: Vec<Value> = body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(body.ends_with('\n') && lines.len().is_multiple_of(2), "{body}");
    contents.bulks.push(lines.len() / 2);
    if contents.down {
        return status(503);
    }
    if contents.documents_max.is_some_and(|most| lines.len() / 2 > most) {
        return status(413);
    }
    if contents.poison.is_some_and(|text| lines.iter().any(|line| line["text"] == *text)) {
        return status(400);
    }
    let fault = contents.faults.pop_front().or_else(|| contents.always.clone());
    if let Some(Fault::Status(wanted)) = fault {
        return status(wanted);
    }
    let mut items = Vec::new();
    for pair in lines.chunks(2) {
        let (action, document) = (&pair[0]["create"], &pair[1]);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let key = (text(&action["_index"]), text(&action["_id"]));
        let item = match &fault {
            Some(Fault::Document { text, status, kind }) if document["text"] == *text => {
                json!({"status": status, "error": {"type": kind, "reason": "as wanted"}})
            }
            _ if contents.refuses_all => {
                json!({"status": 403, "error": {"type": "security_exception", "reason": "as wanted"}})
            }
            _ if contents.documents.contains_key(&key) => {
                json!({"status": 409, "error": {"type": "version_conflict_engine_exception", "reason": "r"}})
            }
            _ => {
                contents.documents.insert(key, document.clone());
                json!({"status": 201})
            }
        };
        items.push(json!({"create": item}));
    }
    match fault {
        Some(Fault::WrittenWithoutAnswer) => status(502),
        _ => (StatusCode::OK, Json(json!({"errors": true, "items": items}))),
    }
}
