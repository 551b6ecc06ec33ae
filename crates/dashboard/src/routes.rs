//! What the port answers.

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::{Stream, stream};

use crate::Stage;

/// How often a page is told at most that there is news.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// How soon a page that lost its connection tries again.
const RETRY: Duration = Duration::from_secs(1);

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

pub(crate) fn router(stage: Stage) -> Router {
    let file = |content_type: &'static str, body: &'static str| {
        get(move || async move { ([(header::CONTENT_TYPE, content_type)], body) })
    };
    Router::new()
        .route("/", file("text/html; charset=utf-8", PAGE))
        .route("/report.js", file("text/javascript; charset=utf-8", web::REPORT_SCRIPT))
        .route("/report.css", file("text/css; charset=utf-8", web::REPORT_STYLE))
        .route("/run.json", get(run))
        .route("/news", get(news))
        .with_state(stage)
        .layer(middleware::map_response(with_headers))
        .layer(middleware::from_fn(from_here))
}

async fn with_headers(response: Response) -> Response {
    (HEADERS, response).into_response()
}

/// A page of somebody else's whose name was made to lead to this machine must not read what is here.
async fn from_here(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if is_here(host) {
        return next.run(request).await;
    }
    (StatusCode::FORBIDDEN, "expected a request to 127.0.0.1 or localhost\n").into_response()
}

fn is_here(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

async fn run(State(stage): State<Stage>) -> Response {
    match stage.written().await {
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

/// The number of the latest news, whenever it has grown. A page that comes back gets the latest at once: what it missed
/// is in the story.
async fn news(State(stage): State<Stage>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let mut receiver = stage.news();
    receiver.mark_changed();
    let told = stream::unfold((receiver, false), |(mut receiver, told_before)| async move {
        if told_before {
            tokio::time::sleep(TELL_EVERY).await;
        }
        receiver.changed().await.ok()?;
        let number = receiver.borrow_and_update().to_string();
        Some((Ok(Event::default().id(&number).retry(RETRY).data(number)), (receiver, true)))
    });
    Sse::new(told).keep_alive(KeepAlive::default())
}

#[cfg(test)]
mod tests {
    use super::is_here;

    #[test]
    fn only_names_of_this_machine_are_answered() {
        for host in ["localhost", "localhost:80", "127.0.0.1:8080", "127.1.2.3"] {
            assert!(is_here(host), "{host}");
        }
        for host in ["", "evil.example", "localhost.evil.example:80", "10.0.0.1:80", "127.0.0.1.evil.example"]
        {
            assert!(!is_here(host), "{host}");
        }
    }
}
