//! The HTTP routes.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use service::web::{Reset, SlowReader};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::events::{Events, Parts};
use crate::ids::ids;
use crate::metrics::Refused;
use crate::page;
use crate::profiles::Profiles;

const ELSEWHERE: &str = "There is nothing here. Use /index/userId/profileId/ or /stream/userId/profileId/\n";
/// The replica that answers.
const HOST_NAME: HeaderName = HeaderName::from_static("host-name");
const ONLY_GET: &str = "Only GET and HEAD do something here.\n";

/// State shared by all requests.
#[derive(Debug)]
pub(crate) struct App {
    /// This replica's name.
    pub(crate) host: String,
    pub(crate) parts: Parts,
    pub(crate) profiles: Profiles,
    /// One permit per stream that may be open.
    pub(crate) places: Arc<Semaphore>,
}

pub(crate) fn router(app: Arc<App>) -> Router {
    let host = app.host.clone();
    let ping = get(move || std::future::ready(host.clone()));
    Router::new()
        .route("/", get(|| async { "Use /index/userId/profileId/" }))
        .route("/ping", ping.clone())
        .route("/ping/", ping)
        .route("/health", get(|| async {}))
        .route("/health/", get(|| async {}))
        .route("/metrics", get(metrics))
        .route("/metrics/", get(metrics))
        .route("/stream/{user}/{profile}", get(open))
        .route("/stream/{user}/{profile}/", get(open))
        .with_state(app)
        .merge(page::router())
        .fallback(|| std::future::ready((StatusCode::NOT_FOUND, ELSEWHERE)))
        .method_not_allowed_fallback(|| std::future::ready((StatusCode::METHOD_NOT_ALLOWED, ONLY_GET)))
}

/// The only metric that the original's autoscaler reads here. All others are on the admin port.
async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    let text = format!("users {}\n", app.parts.streams.count());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

/// Opens a stream, or sends one event that refuses it.
async fn open(
    State(app): State<Arc<App>>,
    method: Method,
    Path(path): Path<(String, String)>,
    Extension(reset): Extension<Reset>,
    Extension(reader): Extension<SlowReader>,
) -> Response {
    let pair = match ids(&path) {
        Ok(pair) => pair,
        Err(refusal) => {
            app.parts.metrics.refused(Refused::Request);
            return refusal.into_response();
        }
    };
    // A HEAD request does not need a lock.
    if method == Method::HEAD {
        return app.events(Body::empty());
    }
    match app.open(pair, reset).await {
        Ok(stream) => {
            // It skips events instead.
            reader.allow();
            app.events(Body::new(stream))
        }
        Err((refused, reason)) => {
            app.parts.metrics.refused(refused);
            let text = app.parts.feed.refusal(&reason, clock::wall().as_second());
            app.events(Body::from(text))
        }
    }
}

impl App {
    fn events(&self, body: Body) -> Response {
        let headers =
            [(header::CONTENT_TYPE, "text/event-stream;charset=UTF-8"), (header::CACHE_CONTROL, "no-cache")];
        let mut response = (headers, body).into_response();
        // The first event, which also has it, comes only after a second.
        if let Ok(host) = HeaderValue::from_str(&self.host) {
            response.headers_mut().insert(HOST_NAME, host);
        }
        response
    }

    async fn open(&self, pair: (Uuid, Uuid), reset: Reset) -> Result<Events, (Refused, String)> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Err((Refused::Full, "this replica has as many streams as it may have".into()));
        };
        match self.profiles.are_bound(pair.0, pair.1).await {
            Ok(true) => {}
            Ok(false) => return Err((Refused::NotBound, "the profile does not have this user".into())),
            // The log and `/readyz` say why, and where `profiles` is.
            Err(_) => return Err((Refused::Profiles, "profiles does not answer as it should".into())),
        }
        match self.parts.locks.acquire(pair, place, reset).await {
            Ok(Some(held)) => Ok(Events::new(self.parts.clone(), held)),
            Ok(None) => Err((Refused::Locked, "the pair is open, or was a moment ago".into())),
            Err(_) => Err((Refused::Redis, "Redis does not answer".into())),
        }
    }
}
