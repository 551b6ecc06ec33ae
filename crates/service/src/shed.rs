//! Orders to shed connections: `POST /shed` on the admin port, from the balancer.
//!
//! An order is `{"id": "…", "count": n}` with `Authorization: Bearer TOKEN`; the answer `{"id": "…", "accepted": n}`
//! says how many connections were asked to move. A repeated order is carried out only once. Without a token, a service
//! obeys nobody, because anyone who can reach the port could empty it.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use ring::hmac;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tracing::info;

use crate::http;
use crate::settings::{Setting, Variable};

pub const SHED_TOKEN: Variable = Variable::optional(
    "SHED_TOKEN",
    "Secret required in orders to shed connections (`POST /shed` on the admin port), 16 to 256 visible characters; if \
     not set, all orders are refused.",
);

/// Maximum length of an order's body.
const BODY_BYTES_MAX: usize = 1024;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum length of an ID.
const ID_BYTES_MAX: usize = 64;
/// Maximum number of connections per order.
pub const COUNT_MAX: u64 = 1_000_000;
/// Number of orders to remember, so that none is carried out twice.
const REMEMBERED: usize = 1024;

/// A secret required in orders.
#[derive(Clone)]
pub struct Token {
    key: hmac::Key,
    tag: hmac::Tag,
}

impl Token {
    fn new(secret: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let tag = hmac::sign(&key, secret.as_bytes());
        Self { key, tag }
    }

    /// Takes a time that does not depend on where the two differ.
    fn is(&self, presented: &str) -> bool {
        hmac::verify(&self.key, presented.as_bytes(), self.tag.as_ref()).is_ok()
    }
}

/// Whether a text is valid as a token.
pub fn is_token(text: &str) -> bool {
    (16..=256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl Setting for Token {
    fn parse(text: &str) -> Result<Self, String> {
        if is_token(text) { Ok(Self::new(text)) } else { Err("16 to 256 visible ASCII characters".into()) }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// An order in the format that is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Identifies the order; the sender's choice.
    pub id: String,
    /// How many connections should move.
    pub count: u64,
}

/// The outcome of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    pub id: String,
    /// How many connections were asked to move; fewer than ordered if there were not as many.
    pub accepted: u64,
}

/// Sends an order to the admin port at `admin`; returns how many connections were asked to move.
///
/// # Errors
/// Why the order was not obeyed.
pub async fn send(admin: SocketAddr, token: &str, order: &Order, timeout: Duration) -> Result<u64, String> {
    let url = http::url(format_args!("http://{admin}/shed")).map_err(|error| error.to_string())?;
    let body = serde_json::to_string(order).map_err(|error| error.to_string())?;
    let answer = http::post_json(url, token, body, timeout).await.map_err(|error| error.to_string())?;
    if !answer.is_success() {
        return Err(format!("the order to shed was answered with {}: {}", answer.status, answer.body.trim()));
    }
    let accepted: Accepted = serde_json::from_str(&answer.body).map_err(|error| error.to_string())?;
    Ok(accepted.accepted)
}

struct Orders<F> {
    token: Option<Token>,
    shed: F,
    /// Only one order at a time; the completed ones, the latest last.
    done: Mutex<VecDeque<(Order, u64)>>,
}

/// `shed` asks that many connections to move and returns how many it asked.
pub(crate) fn router<F, Fut>(token: Option<Token>, shed: F) -> Router
where
    F: Fn(u64) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = u64> + Send + 'static,
{
    let orders = Orders { token, shed, done: Mutex::default() };
    Router::new().route("/shed", post(obey::<F, Fut>)).with_state(Arc::new(orders))
}

async fn obey<F, Fut>(State(orders): State<Arc<Orders<F>>>, request: Request) -> Response
where
    F: Fn(u64) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = u64> + Send + 'static,
{
    let Some(token) = &orders.token else {
        let text = "this service obeys no orders to shed connections: it was started without SHED_TOKEN\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    };
    if !bearer(request.headers()).is_some_and(|presented| token.is(presented)) {
        let text = "expected the header Authorization: Bearer with the value of SHED_TOKEN\n";
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], text).into_response();
    }
    let order = match read(request.into_body()).await {
        Ok(order) => order,
        Err(error) => {
            let text = format!("the body is no order, {{\"id\": \"…\", \"count\": n}}: {error}\n");
            return (StatusCode::BAD_REQUEST, text).into_response();
        }
    };
    let mut done = orders.done.lock().await;
    let known = done.iter().find(|(known, _)| known.id == order.id);
    let accepted = match known {
        Some((known, accepted)) if known.count == order.count => *accepted,
        Some((known, _)) => {
            let text = format!("order {} was one of {} connections\n", known.id, known.count);
            return (StatusCode::CONFLICT, text).into_response();
        }
        None => {
            let accepted = (orders.shed)(order.count).await;
            info!(order = %order.id, ordered = order.count, shed = accepted, "moving connections to other replicas");
            if done.len() == REMEMBERED {
                done.pop_front();
            }
            done.push_back((order.clone(), accepted));
            accepted
        }
    };
    drop(done);
    let answer = Accepted { id: order.id, accepted };
    match serde_json::to_string(&answer) {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

async fn read(body: Body) -> Result<Order, String> {
    let body = tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, BODY_BYTES_MAX)).await;
    let body = body.map_err(|_| format!("it took longer than {} s", BODY_TIMEOUT.as_secs()))?;
    let body = body.map_err(|error| format!("{error} (at most {BODY_BYTES_MAX} bytes)"))?;
    let order: Order = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    if !(1..=ID_BYTES_MAX).contains(&order.id.len()) || !order.id.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return Err(format!("expected an id of 1 to {ID_BYTES_MAX} visible ASCII characters"));
    }
    if !(1..=COUNT_MAX).contains(&order.count) {
        return Err(format!("count {}: expected 1 to {COUNT_MAX}", order.count));
    }
    Ok(order)
}

#[cfg(test)]
mod tests;
