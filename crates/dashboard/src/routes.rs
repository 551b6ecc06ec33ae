//! What the port answers.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::{Stream, stream};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::access::{self, Refused};
use crate::{Acting, Action, Hands, Stage, USERS_MAX};

/// How often a page is told at most that there is news.
const TELL_EVERY: Duration = Duration::from_millis(250);
/// How soon a page that lost its connection tries again.
const RETRY: Duration = Duration::from_secs(1);
/// The longest request to act: the most users, with names of the longest kind.
const BODY_BYTES_MAX: usize = 160 * USERS_MAX;
/// Pages that hear news at a time: the rest of the connections stay for requests.
const LISTENERS_MAX: usize = 128;
/// Actions under way, and looks for users. Each takes a thread while it waits for the platform.
const UNDER_WAY_MAX: usize = 4;

const PAGE: &str = "<!doctype html>\n\
    <html lang=\"en\">\n\
    <head>\n\
    <meta charset=\"utf-8\">\n\
    <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
    <meta name=\"color-scheme\" content=\"light dark\">\n\
    <title>playctl</title>\n\
    <link rel=\"icon\" href=\"data:,\">\n\
    <link rel=\"stylesheet\" href=\"report.css\">\n\
    <script src=\"report.js\" defer></script>\n\
    </head>\n\
    <body>\n\
    <div id=\"app\"></div>\n\
    <noscript>This page is drawn by a script. <code>playctl watch</code> prints the same.</noscript>\n\
    </body>\n\
    </html>\n";

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

#[derive(Clone)]
struct Shared {
    stage: Stage,
    acting: Option<Acting>,
    /// Places for actions, and for looks for users.
    places: Arc<[Semaphore; 2]>,
    listeners: Arc<Semaphore>,
}

pub(crate) fn router(stage: Stage, acting: Option<Acting>) -> Router {
    let file = |content_type: &'static str, body: &'static str| {
        get(move || async move { ([(header::CONTENT_TYPE, content_type)], body) })
    };
    let places = Arc::new([Semaphore::new(UNDER_WAY_MAX), Semaphore::new(UNDER_WAY_MAX)]);
    let listeners = Arc::new(Semaphore::new(LISTENERS_MAX));
    let shared = Shared { stage: stage.clone(), acting, places, listeners };
    Router::new()
        .route("/", file("text/html; charset=utf-8", PAGE))
        .route("/report.js", file("text/javascript; charset=utf-8", web::REPORT_SCRIPT))
        .route("/report.css", file("text/css; charset=utf-8", web::REPORT_STYLE))
        .route("/run.json", get(run))
        .route("/news", get(news))
        .route("/users", get(users))
        .route("/may-act", post(may_act))
        .route("/act", post(act))
        .with_state(shared)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(stage, from_here))
        .layer(middleware::map_response(with_headers))
}

async fn with_headers(response: Response) -> Response {
    (HEADERS, response).into_response()
}

async fn from_here(State(stage): State<Stage>, request: Request, next: Next) -> Response {
    match access::reads(request.method(), request.uri().path(), request.headers()) {
        Ok(()) => {
            stage.asked();
            next.run(request).await
        }
        Err(refused) => refused.into_response(),
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (StatusCode::FORBIDDEN, Json(json!({ "done": false, "words": self.words() }))).into_response()
    }
}

async fn run(State(shared): State<Shared>) -> Response {
    match shared.stage.written().await {
        Ok((news, json)) => {
            let headers = [
                (header::CONTENT_TYPE, "application/json".to_owned()),
                (header::ETAG, format!("\"{news}\"")),
            ];
            (headers, json).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// The number of the latest news, whenever it has grown, with the latest counts. A page that comes back gets the latest
/// at once, unless it has it: what it missed is in the story.
async fn news(
    State(shared): State<Shared>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Response> {
    let Ok(place) = Arc::clone(&shared.listeners).try_acquire_owned() else { return Err(busy()) };
    let mut receiver = shared.stage.news();
    let known = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    if known != Some(receiver.borrow().to_string().as_str()) {
        receiver.mark_changed();
    }
    let told = stream::unfold(
        (receiver, shared.stage, place, false),
        |(mut receiver, stage, place, told_before)| async move {
            if told_before {
                tokio::time::sleep(TELL_EVERY).await;
            }
            receiver.changed().await.ok()?;
            let number = receiver.borrow_and_update().to_string();
            let event = Event::default().id(&number).retry(RETRY).data(stage.pulse().unwrap_or_default());
            Some((Ok(event), (receiver, stage, place, true)))
        },
    );
    Ok(Sse::new(told).keep_alive(KeepAlive::default()))
}

#[derive(Deserialize)]
struct Replica {
    service: String,
    replica: String,
}

async fn users(State(shared): State<Shared>, Query(asked): Query<Replica>) -> Response {
    let Some(acting) = shared.acting else { return answer(Err("nobody knows users here".to_owned())) };
    let look = move |hands: &dyn Hands| hands.users(&asked.service, &asked.replica);
    match with_hands(&shared.places[1], acting, look).await {
        Some(Ok(users)) => Json(users).into_response(),
        Some(Err(words)) => (StatusCode::CONFLICT, Json(json!({ "words": words }))).into_response(),
        None => busy(),
    }
}

/// Whether the page has the right token; nothing is done.
async fn may_act(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    match access::acts(&headers, token(&shared)) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(refused) => refused.into_response(),
    }
}

async fn act(
    State(shared): State<Shared>,
    headers: HeaderMap,
    action: Result<Json<Action>, JsonRejection>,
) -> Response {
    if let Err(refused) = access::acts(&headers, token(&shared)) {
        return refused.into_response();
    }
    let action = match action {
        Ok(Json(action)) => action,
        Err(error) => {
            let words = format!("this is no action: {}", error.body_text());
            return (error.status(), Json(json!({ "done": false, "words": words }))).into_response();
        }
    };
    let Some(acting) = shared.acting else { return Refused::ReadOnly.into_response() };
    match with_hands(&shared.places[0], acting, move |hands: &dyn Hands| hands.act(action)).await {
        Some(outcome) => answer(outcome),
        None => busy(),
    }
}

fn token(shared: &Shared) -> Option<&str> {
    shared.acting.as_ref()?.token.as_deref()
}

/// `None`: too much is under way.
async fn with_hands<T: Send + 'static>(
    places: &Semaphore,
    acting: Acting,
    body: impl FnOnce(&dyn Hands) -> Result<T, String> + Send + 'static,
) -> Option<Result<T, String>> {
    let _place = places.try_acquire().ok()?;
    let done = tokio::task::spawn_blocking(move || body(&*acting.hands)).await;
    Some(done.unwrap_or_else(|error| Err(format!("it broke off: {error}"))))
}

fn answer(outcome: Result<String, String>) -> Response {
    let (status, done, words) = match outcome {
        Ok(words) => (StatusCode::OK, true, words),
        Err(words) => (StatusCode::CONFLICT, false, words),
    };
    (status, Json(json!({ "done": done, "words": words }))).into_response()
}

fn busy() -> Response {
    let words = "too much is under way; wait for that first";
    (StatusCode::TOO_MANY_REQUESTS, Json(json!({ "done": false, "words": words }))).into_response()
}
