//! The page that opens a stream and shows it. It is the same for every pair: its script reads the IDs from the address,
//! so nothing that a client sent becomes HTML.

use axum::Router;
use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::ids::ids;

const PAGE: &str = include_str!("page/index.html");
const SCRIPT: &str = include_str!("page/index.js");
const STYLE: &str = include_str!("page/index.css");

/// Only the page's own script, style and stream.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) fn router() -> Router {
    Router::new()
        .route("/index/{user}/{profile}", get(page))
        .route("/index/{user}/{profile}/", get(page))
        .route("/assets/index.js", get(|| async { file("text/javascript; charset=utf-8", SCRIPT) }))
        .route("/assets/index.css", get(|| async { file("text/css; charset=utf-8", STYLE) }))
}

async fn page(Path(path): Path<(String, String)>) -> Response {
    match ids(&path) {
        Ok(_) => file("text/html; charset=utf-8", PAGE),
        Err(refusal) => refusal.into_response(),
    }
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // A new release serves another page at the same address.
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}
