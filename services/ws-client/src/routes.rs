//! The HTTP routes.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use tower_http::cors::{Any, CorsLayer};

use crate::users::{Told, TooMany, Users};

/// Maximum length of a request body: ten thousand users with names of maximum length.
const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Maximum length of a user name, as in `ws`.
const USER_BYTES_MAX: usize = 128;

pub(crate) fn router(users: Arc<Users>) -> Router {
    // The original's page is served from another origin, perhaps from a public address to a private one.
    let cors =
        CorsLayer::new().allow_origin(Any).allow_methods(Any).allow_headers(Any).allow_private_network(true);
    Router::new()
        .route("/", get(|| async { "ws-client\n" }))
        .route("/route/kickstart/ws/batch/connect", post(connect))
        .route("/route/kickstart/ws/batch/disconnect", post(disconnect))
        .route("/route/kickstart/ws/users", get(all))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(cors)
        .with_state(users)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Batch {
    user_ids: Vec<String>,
}

/// The body of a request, whatever its `Content-Type`: not every client sets one.
fn batch(body: &Bytes) -> Result<Batch, JsonRejection> {
    Json::from_bytes(body).map(|Json(batch)| batch)
}

async fn connect(State(users): State<Arc<Users>>, body: Bytes) -> Response {
    let batch = match batch(&body) {
        Ok(batch) => batch,
        Err(rejection) => return rejection.into_response(),
    };
    if let Some(user) = batch.user_ids.iter().find(|user| !is_user(user)) {
        let text = format!(
            "{user:?} is not a valid user: expected 1 to {USER_BYTES_MAX} bytes without control characters\n"
        );
        return (StatusCode::BAD_REQUEST, text).into_response();
    }
    if users.connect(&batch.user_ids) == Err(TooMany) {
        let text = "too many users: disconnect some, or raise USERS_MAX\n";
        return (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "60")], text).into_response();
    }
    StatusCode::ACCEPTED.into_response()
}

async fn disconnect(State(users): State<Arc<Users>>, body: Bytes) -> Response {
    match batch(&body) {
        Ok(batch) => {
            users.disconnect(&batch.user_ids);
            StatusCode::ACCEPTED.into_response()
        }
        Err(rejection) => rejection.into_response(),
    }
}

async fn all(State(users): State<Arc<Users>>) -> Json<Vec<Told>> {
    Json(users.all())
}

fn is_user(name: &str) -> bool {
    (1..=USER_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}
