//! The HTTP routes.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use tower_http::cors::{Any, CorsLayer};

use crate::engine::Shared;
use crate::sessions::Kind;

/// No request needs a body.
const BODY_BYTES_MAX: usize = 4096;

type App = State<Arc<Shared>>;

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    // The original's page is served from another origin, perhaps from a public address to a private one.
    let cors =
        CorsLayer::new().allow_origin(Any).allow_methods(Any).allow_headers(Any).allow_private_network(true);
    Router::new()
        .route("/", get(|| async { "balancer\n" }))
        .route("/ws-session/all", get(|app: App| all(app, Kind::Ws)))
        .route("/sse-session/all", get(|app: App| all(app, Kind::Sse)))
        .route("/ws-session/{host}/admin/command", post(|app: App, host| command(app, host, Kind::Ws)))
        .route("/sse-session/{host}/admin/command", post(|app: App, host| command(app, host, Kind::Sse)))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(cors)
        .with_state(shared)
}

/// All sessions of one kind, from Redis.
async fn all(State(shared): App, kind: Kind) -> Response {
    match shared.store.all(kind).await {
        Ok(sessions) => Json(sessions).into_response(),
        Err(error) => away(&format!("the sessions are unknown: {error}\n")),
    }
}

/// Moves one session of a server: through the platform, or, without one, by the Redis message that servers obey anyway.
async fn command(State(shared): App, Path(host): Path<String>, kind: Kind) -> Response {
    let Some(actor) = &shared.actor else { return order(&shared, kind, &host).await };
    if Kind::of_service(&shared.settings.service).is_some_and(|balanced| balanced != kind) {
        // The platform's view has the balanced service alone, Redis the servers of both.
        return match shared.store.all(kind).await {
            Ok(sessions) if sessions.iter().any(|session| session.host == host) => {
                order(&shared, kind, &host).await
            }
            Ok(_) => {
                let text = format!("no key {}… in Redis is a session of {host}\n", kind.prefix());
                (StatusCode::NOT_FOUND, text).into_response()
            }
            Err(error) => away(&format!("{error}\n")),
        };
    }
    let replica = match actor.replica_of(&host).await {
        Ok(Some(replica)) => replica,
        Ok(None) => {
            let text = format!("{} has no server {host}\n", shared.settings.service);
            return (StatusCode::NOT_FOUND, text).into_response();
        }
        Err(error) => return away(&format!("{error}\n")),
    };
    match shared.shed_one(actor, &replica).await {
        Ok(_) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => away(&format!("{error}\n")),
    }
}

async fn order(shared: &Shared, kind: Kind, host: &str) -> Response {
    match shared.store.drop_one(kind, host).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => away(&format!("{error}\n")),
    }
}

fn away(text: &str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "5")], text.to_owned()).into_response()
}
