//! The HTTP routes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::{Stream, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::access::{self, Refused};
use crate::{Acting, Action, Hands, Stage, USERS_MAX};

/// The minimum interval between two news events to a page.
const TELL_EVERY: Duration = Duration::from_millis(250);
/// How soon a disconnected page retries.
const RETRY: Duration = Duration::from_secs(1);
/// The longest action request: the maximum number of users, with names of maximum length.
const BODY_BYTES_MAX: usize = 160 * USERS_MAX;
/// The maximum number of pages that receive news; the other connections are left for requests.
const LISTENERS_MAX: usize = 128;
/// The maximum number of running actions, and of user queries. Each blocks a thread while it waits for the platform.
const UNDER_WAY_MAX: usize = 4;
/// How long a user query waits for others. There are never more than pages have connections.
const QUEUED_MAX: Duration = Duration::from_secs(30);

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
    <div id=\"app\"><header><h1 class=\"title\">playctl</h1></header></div>\n\
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
    here: SocketAddr,
    stage: Stage,
    acting: Option<Acting>,
    acts: Arc<Semaphore>,
    looks: Arc<Semaphore>,
    listeners: Arc<Semaphore>,
}

pub(crate) fn router(here: SocketAddr, stage: Stage, acting: Option<Acting>) -> Router {
    let file = |content_type: &'static str, body: &'static str| {
        get(move || async move { ([(header::CONTENT_TYPE, content_type)], body) })
    };
    let [acts, looks, listeners] =
        [UNDER_WAY_MAX, UNDER_WAY_MAX, LISTENERS_MAX].map(|places| Arc::new(Semaphore::new(places)));
    let shared = Shared { here, stage, acting, acts, looks, listeners };
    Router::new()
        .route("/", file("text/html; charset=utf-8", PAGE))
        .route("/report.js", file("text/javascript; charset=utf-8", web::REPORT_SCRIPT))
        .route("/report.css", file("text/css; charset=utf-8", web::REPORT_STYLE))
        .route("/run.json", get(run))
        .route("/news", get(news))
        .route("/users", get(users))
        .route("/may-act", post(may_act))
        .route("/act", post(act))
        .with_state(shared.clone())
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(shared, from_here))
        .layer(middleware::map_response(with_headers))
}

async fn with_headers(response: Response) -> Response {
    (HEADERS, response).into_response()
}

async fn from_here(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    match access::reads(shared.here, request.method(), request.uri().path(), request.headers()) {
        Ok(()) => {
            shared.stage.asked();
            next.run(request).await
        }
        Err(refused) => shared.refuse(refused),
    }
}

impl Shared {
    fn refuse(&self, refused: Refused) -> Response {
        let printed_by = self.acting.as_ref().map_or("playctl dashboard", |acting| &acting.printed_by);
        not_done(StatusCode::FORBIDDEN, &refused.words(self.here, printed_by))
    }

    fn token(&self) -> Option<&str> {
        self.acting.as_ref()?.token.as_deref()
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

/// Sends the latest news number and counts whenever the number has grown. A page that reconnects gets them at once
/// unless it has them already: what it missed is in the story.
async fn news(
    State(shared): State<Shared>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Response> {
    let Ok(place) = Arc::clone(&shared.listeners).try_acquire_owned() else {
        return Err(busy("too many pages are open; close some of them"));
    };
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

/// Many pages may show a server's users, so their queries wait for one another.
async fn users(State(shared): State<Shared>, asked: Result<Query<Replica>, QueryRejection>) -> Response {
    let Ok(Query(asked)) = asked else {
        return not_done(
            StatusCode::BAD_REQUEST,
            "expected a service and a replica: /users?service=ws&replica=ws-0",
        );
    };
    let Some(acting) = shared.acting else {
        return not_done(StatusCode::CONFLICT, "nobody knows users here");
    };
    let Ok(Ok(_place)) = tokio::time::timeout(QUEUED_MAX, shared.looks.acquire()).await else {
        return busy("others are asking for users; this page asks again by itself");
    };
    match with_hands(acting, move |hands: &dyn Hands| hands.users(&asked.service, &asked.replica)).await {
        Ok(users) => Json(users).into_response(),
        Err(words) => not_done(StatusCode::CONFLICT, &words),
    }
}

/// Checks the page's token; does nothing else.
async fn may_act(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    match access::acts(&headers, shared.token()) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(refused) => shared.refuse(refused),
    }
}

async fn act(
    State(shared): State<Shared>,
    headers: HeaderMap,
    asked: Result<Json<Value>, JsonRejection>,
) -> Response {
    if let Err(refused) = access::acts(&headers, shared.token()) {
        return shared.refuse(refused);
    }
    let action = match asked {
        Ok(Json(asked)) => {
            Action::understood(asked).map_err(|words| (StatusCode::UNPROCESSABLE_ENTITY, words))
        }
        Err(error) => Err((error.status(), instead_of_json(&error))),
    };
    let action = match action {
        Ok(action) => action,
        Err((status, words)) => return not_done(status, &format!("this is no action: {words}")),
    };
    let Some(acting) = shared.acting.clone() else { return shared.refuse(Refused::ReadOnly) };
    let Ok(_place) = shared.acts.try_acquire() else {
        return busy(&format!(
            "{UNDER_WAY_MAX} other actions are under way; try again when one of them has ended"
        ));
    };
    match with_hands(acting, move |hands: &dyn Hands| hands.act(action)).await {
        Ok(words) => Json(json!({ "done": true, "words": words })).into_response(),
        Err(words) => not_done(StatusCode::CONFLICT, &words),
    }
}

/// The error for a body that is not JSON.
fn instead_of_json(error: &JsonRejection) -> String {
    match error {
        JsonRejection::MissingJsonContentType(_) => "expected Content-Type: application/json".to_owned(),
        JsonRejection::BytesRejection(_) => {
            format!("expected a whole body of at most {} KiB", BODY_BYTES_MAX.div_ceil(1024))
        }
        _ => r#"expected JSON, such as {"do":"stop_load"}"#.to_owned(),
    }
}

async fn with_hands<T: Send + 'static>(
    acting: Acting,
    body: impl FnOnce(&dyn Hands) -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(move || body(&*acting.hands)).await;
    done.unwrap_or_else(|error| Err(format!("it broke off: {error}")))
}

fn not_done(status: StatusCode, words: &str) -> Response {
    (status, Json(json!({ "done": false, "words": words }))).into_response()
}

fn busy(words: &str) -> Response {
    not_done(StatusCode::TOO_MANY_REQUESTS, words)
}
