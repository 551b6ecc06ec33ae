//! The HTTP routes.

use std::num::NonZeroUsize;

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use prometheus_client::metrics::counter::Counter;
use serde_json::json;

/// Only the page's own script and style; no text becomes markup or script. It connects to hosts that the user types, so
/// it may connect to any.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; \
                      connect-src 'self' http: https:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'";

const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    // The next version's script has the same name.
    (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
];

pub(crate) fn router(connection_limit_per_host: NonZeroUsize, views: &Counter) -> Router {
    let settings = json!({ "connectionLimitPerHost": connection_limit_per_host });
    let mut router = Router::new().route("/settings.json", get(|| async move { Json(settings) }));
    for web::File { path, content_type, body } in web::PAGE {
        let views = views.clone();
        let answer = move || async move {
            if path == "/" {
                views.inc();
            }
            ([(header::CONTENT_TYPE, content_type)], body)
        };
        router = router.route(path, get(answer));
    }
    router.layer(middleware::map_response(with_headers))
}

async fn with_headers(response: Response) -> Response {
    (HEADERS, response).into_response()
}
