//! The only HTTP client: a request, a time limit for the whole exchange, the status and a body of bounded size.
//!
//! For probes, scrapes and the APIs of neighbouring servers. Each request has its own connection, so an answer never
//! comes from a server that has since gone away; redirects count as answers, and proxies in the environment are
//! ignored.

use std::sync::LazyLock;
use std::time::Duration;

use reqwest::RequestBuilder;
use reqwest::redirect::Policy;
pub use reqwest::{Method, Url};

use crate::settings::Setting;

/// A longer body is an error.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

pub(crate) static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(|| {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .pool_max_idle_per_host(0)
        .build()
        .expect("a client without TLS and without a resolver of its own has nothing that can fail")
});

/// An answer, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// With replacement characters where it is not UTF-8.
    pub body: String,
}

impl Answer {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("{0:?} is no URL: {1}")]
    Url(String, String),
    #[error("{url}: no answer within {} ms", .after.as_millis())]
    TimedOut { url: Url, after: Duration },
    /// Nobody listens there, or the name is unknown.
    #[error("{url}: cannot connect: {reason}")]
    Connect { url: Url, reason: String },
    #[error("{url}: the answer is longer than {BODY_BYTES_MAX} bytes")]
    TooLong { url: Url },
    /// The connection broke, or the answer is not HTTP.
    #[error("{url}: {reason}")]
    Broken { url: Url, reason: String },
}

/// The URL of a request. Anything that displays as one will do, such as `format_args!("http://{address}/readyz")`.
///
/// # Errors
/// It is not `http://HOST[:PORT][/PATH][?QUERY]`.
pub fn url(text: impl std::fmt::Display) -> Result<Url, Error> {
    let text = text.to_string();
    let refused = |why: String| Error::Url(text.clone(), why);
    let url = Url::parse(&text).map_err(|error| refused(error.to_string()))?;
    let fits = url.scheme() == "http" && url.username().is_empty() && url.password().is_none();
    if fits && url.fragment().is_none() {
        Ok(url)
    } else {
        Err(refused("expected http://HOST[:PORT][/PATH]".into()))
    }
}

/// The address of a server, without a path: `http://HOST[:PORT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(Url);

impl Origin {
    /// The URL of a path there, which begins with `/`.
    ///
    /// # Errors
    /// The path is invalid.
    pub fn at(&self, path: impl std::fmt::Display) -> Result<Url, Error> {
        url(format_args!("{self}{path}"))
    }
}

/// Without a trailing slash.
impl std::fmt::Display for Origin {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl Setting for Origin {
    fn parse(text: &str) -> Result<Self, String> {
        let url = url(text).ok().filter(|url| url.path() == "/" && url.query().is_none());
        url.map(Self).ok_or_else(|| "http://HOST or http://HOST:PORT".into())
    }
}

/// `GET url`, with a time limit for the whole exchange.
///
/// # Errors
/// No valid answer came in time.
pub async fn get(url: Url, timeout: Duration) -> Result<Answer, Error> {
    request(Method::GET, url, timeout).await
}

/// `POST url` without a body, with a time limit for the whole exchange.
///
/// # Errors
/// No valid answer came in time.
pub async fn post(url: Url, timeout: Duration) -> Result<Answer, Error> {
    request(Method::POST, url, timeout).await
}

/// `POST url` with a JSON body and a bearer token, with a time limit for the whole exchange.
///
/// # Errors
/// No valid answer came in time.
pub async fn post_json(url: Url, token: &str, body: String, timeout: Duration) -> Result<Answer, Error> {
    let request = CLIENT.post(url.clone()).bearer_auth(token).header("content-type", "application/json");
    send(request.body(body), url, timeout).await
}

async fn request(method: Method, url: Url, timeout: Duration) -> Result<Answer, Error> {
    send(CLIENT.request(method, url.clone()), url, timeout).await
}

async fn send(request: RequestBuilder, url: Url, timeout: Duration) -> Result<Answer, Error> {
    match tokio::time::timeout(timeout, exchange(request)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(Failure::TooLong)) => Err(Error::TooLong { url }),
        Ok(Err(Failure::Transport(error))) => {
            let reason = innermost(&error);
            Err(if error.is_connect() {
                Error::Connect { url, reason }
            } else {
                Error::Broken { url, reason }
            })
        }
        Err(_) => Err(Error::TimedOut { url, after: timeout }),
    }
}

enum Failure {
    TooLong,
    Transport(reqwest::Error),
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        Self::Transport(error)
    }
}

async fn exchange(request: RequestBuilder) -> Result<Answer, Failure> {
    let mut response = request.send().await?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(Failure::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, body: String::from_utf8_lossy(&body).into_owned() })
}

/// The innermost cause: the outer errors only say that something went wrong.
pub(crate) fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    async fn serve(answer: Vec<u8>) -> Url {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            // The client may have hung up early.
            let _ = stream.write_all(&answer).await;
        });
        url(format_args!("http://{address}/readyz")).unwrap()
    }

    #[tokio::test]
    async fn status_and_body_are_read() {
        let there = serve(b"HTTP/1.1 503 Service Unavailable\r\nA: b\r\n\r\nnot yet\n".to_vec()).await;
        let answer = get(there, PATIENCE).await.unwrap();
        assert_eq!(answer, Answer { status: 503, body: "not yet\n".to_owned() });
        assert!(!answer.is_success());
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n9;x=y\r\n\":\r\n1}\r\n\n\r\n0\r\n\r\n";
        let answer = post(serve(chunked.to_vec()).await, PATIENCE).await.unwrap();
        assert_eq!(answer, Answer { status: 200, body: "{\"a\":\r\n1}\r\n\n".to_owned() });
        let elsewhere = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(get(serve(elsewhere.to_vec()).await, PATIENCE).await.unwrap().status, 302);
    }

    #[tokio::test]
    async fn an_endless_body_is_given_up() {
        let endless = [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &vec![b'x'; BODY_BYTES_MAX + 1]].concat();
        assert!(matches!(get(serve(endless).await, PATIENCE).await, Err(Error::TooLong { .. })));
        let longest = [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &vec![b'x'; BODY_BYTES_MAX]].concat();
        assert_eq!(get(serve(longest).await, PATIENCE).await.unwrap().body.len(), BODY_BYTES_MAX);
    }

    #[tokio::test]
    async fn garbage_silence_and_refusal_are_errors_that_name_the_address() {
        let there = serve(b"hello".to_vec()).await;
        let error = get(there.clone(), PATIENCE).await.unwrap_err();
        assert!(
            matches!(error, Error::Broken { .. }) && error.to_string().contains(there.as_str()),
            "{error}"
        );

        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let there = url(format_args!("http://{}/", silent.local_addr().unwrap())).unwrap();
        let error = get(there.clone(), Duration::from_millis(50)).await.unwrap_err();
        assert!(error.to_string().ends_with("no answer within 50 ms"), "{error}");
        drop(silent);
        let error = get(there, PATIENCE).await.unwrap_err();
        assert!(matches!(error, Error::Connect { .. }), "{error}");
        assert!(error.to_string().contains("cannot connect: Connection refused"), "{error}");
    }

    #[test]
    fn urls_are_taken_or_refused() {
        for fits in ["http://127.0.0.1:9090", "http://prometheus/", "http://[::1]:9090/a/b/?c=d"] {
            assert!(url(fits).is_ok(), "{fits}");
        }
        for wrong in
            ["https://there", "there:9090", "http://", "http://there:port", "http://user:secret@there"]
        {
            assert!(matches!(url(wrong), Err(Error::Url(..))), "{wrong}");
        }
    }
}
