//! The HTTP routes.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use service::web::{Reset, SlowReader};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tower_http::cors::{Any, CorsLayer};

use crate::accept_rate::{AcceptRate, TooMany};
use crate::metrics::Metrics;
use crate::session::{self, Rules};
use crate::sessions::Sessions;
use crate::store::Store;

/// The subprotocol by which a client asks for a hint in the close reason when to reconnect.
pub(crate) const RETRY_HINT: &str = "retry-hint";

/// Read buffers are allocated with the connection, and most connections are idle.
const READ_BUFFER: usize = 1024;
/// Messages are written at once.
const WRITE_BUFFER: usize = 0;
/// Maximum length of a user name.
const USER_BYTES_MAX: usize = 128;
/// Maximum length of a request body.
const BODY_BYTES_MAX: usize = 4096;

/// State shared by all requests.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) host_id: String,
    pub(crate) message_bytes_max: usize,
    pub(crate) retry_after: Duration,
    pub(crate) rules: Rules,
    pub(crate) accept_rate: AcceptRate,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) store: Arc<Store>,
    pub(crate) metrics: Arc<Metrics>,
}

pub(crate) fn router(app: Arc<App>) -> Router {
    // The original's page is served from another origin, perhaps from a public address to a private one.
    let cors =
        CorsLayer::new().allow_origin(Any).allow_methods(Any).allow_headers(Any).allow_private_network(true);
    Router::new()
        .route("/", get(|| async { "ws\n" }))
        .route("/api/v1/websocket/{user}", get(open))
        .route("/ws-session/all", get(all))
        .route("/ws-session/all/runtime", get(runtime))
        .route("/ws-session/{host}/drop", post(drop_sessions))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(cors)
        .with_state(app)
}

/// Opens a session.
async fn open(
    State(app): State<Arc<App>>,
    Path(user): Path<String>,
    Extension(reset): Extension<Reset>,
    Extension(reader): Extension<SlowReader>,
    mut request: Request,
) -> Response {
    let on_upgrade = hyper::upgrade::on(&mut request);
    let request = request.map(|_| ());
    let mut accepted = match create_response_with_body(&request, Body::empty) {
        Ok(accepted) => accepted,
        Err(error) => {
            app.metrics.refused_request.inc();
            return (StatusCode::BAD_REQUEST, format!("not a WebSocket request: {error}\n")).into_response();
        }
    };
    if !is_user(&user) {
        app.metrics.refused_request.inc();
        let text = format!("a user is 1 to {USER_BYTES_MAX} bytes of text without control characters\n");
        return (StatusCode::BAD_REQUEST, text).into_response();
    }
    if let Err(TooMany { come_back_after }) = app.accept_rate.turn(app.rules.clock).await {
        app.metrics.refused_rate.inc();
        let seconds = come_back_after.as_secs() + 1;
        let text = format!("too many new sessions; come back in {seconds} s\n");
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, seconds.to_string())], text)
            .into_response();
    }
    // Tells a client where it is.
    if let Ok(host_id) = HeaderValue::from_str(&app.host_id) {
        accepted.headers_mut().insert("Host-Id", host_id);
    }
    let mut rules = app.rules.clone();
    if wants_hint(request.headers()) {
        rules.retry_after = Some(jittered(app.retry_after));
        let chosen = HeaderValue::from_static(RETRY_HINT);
        accepted.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, chosen);
    }
    tokio::spawn(async move {
        let Ok(upgraded) = on_upgrade.await else { return };
        // `WRITE_TIMEOUT` decides when a session is too slow.
        reader.allow();
        let config = app.socket_config();
        let socket =
            WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
        match app.sessions.admit(&user, app.rules.clock.now_ms()) {
            Ok(admitted) => {
                drop(user);
                app.metrics.opened.inc();
                let ended = session::serve(socket, admitted, rules, reset, &app.metrics).await;
                app.metrics.ended(ended);
            }
            Err(_full) => {
                app.metrics.refused_full.inc();
                session::refuse(socket, &rules).await;
            }
        }
    });
    accepted
}

impl App {
    fn socket_config(&self) -> WebSocketConfig {
        WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            // Room for one unwritten message, with its header.
            .max_write_buffer_size(self.message_bytes_max + 1024)
            .max_message_size(Some(self.message_bytes_max))
            .max_frame_size(Some(self.message_bytes_max))
    }
}

/// Whether [`RETRY_HINT`] is among the subprotocols that the client offers.
fn wants_hint(headers: &HeaderMap) -> bool {
    let offers =
        headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|offer| offer.to_str().ok());
    offers.flat_map(|offer| offer.split(',')).any(|offer| offer.trim() == RETRY_HINT)
}

/// Between once and one and a half times the duration: clients that are sent away together do not come back together.
fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(rand::random_range(1.0..=1.5))
}

fn is_user(name: &str) -> bool {
    (1..=USER_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// The sessions of all instances.
async fn all(State(app): State<Arc<App>>) -> Response {
    match app.store.all().await {
        Ok(sessions) => Json(sessions).into_response(),
        Err(error) => {
            let text = format!("the sessions of the other instances are unknown: {error}\n");
            (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "5")], text).into_response()
        }
    }
}

/// The IDs of the sessions here.
async fn runtime(State(app): State<Arc<App>>) -> Json<Vec<String>> {
    let mut ids: Vec<String> = app.sessions.all().iter().map(|session| session.id.to_string()).collect();
    ids.sort_unstable();
    Json(ids)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Drop {
    #[serde(default = "one")]
    count: usize,
}

fn one() -> usize {
    1
}

/// An empty body is an order too.
fn drop_order(body: &str) -> Result<Drop, String> {
    match body.trim() {
        "" => Ok(Drop { count: one() }),
        // The deserializer would also accept an array as an object.
        text if text.starts_with('{') => serde_json::from_str(text).map_err(|error| error.to_string()),
        _ => Err("not an object".into()),
    }
}

/// Closes the longest idle sessions, if the host is this one.
async fn drop_sessions(State(app): State<Arc<App>>, Path(host): Path<String>, body: String) -> Response {
    match drop_order(&body) {
        Ok(Drop { count }) => {
            if host == app.host_id {
                let shed = app.sessions.shed(count);
                tracing::info!(ordered = count, shed, "moving sessions to other instances");
            }
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => {
            let text = format!("the body is not {{\"count\": n}}: {error}\n");
            (StatusCode::BAD_REQUEST, text).into_response()
        }
    }
}
