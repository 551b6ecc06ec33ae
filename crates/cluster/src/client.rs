//! The client of an API server. It is kube's own, made of the same parts as [`kube::client::ClientBuilder`] makes it, except for
//! the way to the server, which may lead through a [proxy](crate::proxy), and the token from a file.

use std::{fs, io, sync::Arc, time::Duration};

use clock::runtime_now;
use http::{HeaderValue, Request, header::AUTHORIZATION};
use hyper::{
    body::Incoming,
    rt::{Read, Write},
};
use hyper_timeout::TimeoutConnector;
use hyper_util::{
    client::legacy::{
        self,
        connect::{Connection, HttpConnector},
    },
    rt::TokioExecutor,
};
use kube::{
    Client, Config,
    client::{Body, ConfigExt as _},
};
use parking_lot::Mutex;
use tokio::time::Instant;
use tower::{
    BoxError, Service, ServiceBuilder, ServiceExt as _, buffer::BufferLayer, retry::RetryLayer,
    util::BoxService,
};

use crate::{
    patience::Patience,
    proxy::{Proxy, Through},
};

/// Requests that are on their way into the connection; more wait.
const QUEUED_REQUESTS_MAX: usize = 1024;
/// How long a token from a file is used, as by client-go's `NewCachedFileTokenSource`.
const TOKEN_AGE_MAX: Duration = Duration::from_mins(1);

type Answer = http::Response<Incoming>;

/// A client; nothing is asked yet, except a program by which the kubeconfig logs in.
pub(crate) fn client(
    config: &Config,
    token: Option<TokenFile>,
    proxy: Option<Proxy>,
) -> kube::Result<Client> {
    let mut direct = HttpConnector::new();
    direct.enforce_http(false);
    match proxy {
        None => with_connector(config, token, direct),
        Some(proxy) if proxy.has_tls() => {
            // As for client-go, it is the kubeconfig's authority that vouches for the proxy, under the proxy's own name.
            let mut to_proxy = config.clone();
            to_proxy.tls_server_name = None;
            let secure = to_proxy.rustls_https_connector_with_connector(direct)?;
            with_connector(config, token, Through::new(proxy, secure))
        }
        Some(proxy) => with_connector(config, token, Through::new(proxy, direct)),
    }
}

fn with_connector<C>(config: &Config, token: Option<TokenFile>, connector: C) -> kube::Result<Client>
where
    C: Service<http::Uri, Future: Send + 'static, Error: Into<BoxError>> + Clone + Send + Sync + 'static,
    C::Response: Connection + Read + Write + Send + Unpin + 'static,
{
    let secure = config.rustls_https_connector_with_connector(connector)?;
    let mut connector = TimeoutConnector::new(secure);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    let wire: legacy::Client<_, Body> = legacy::Builder::new(TokioExecutor::new()).build(connector);
    let stack: BoxService<Request<Body>, Answer, BoxError> = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .option_layer(token.map(|token| {
            let token = Arc::new(token);
            tower::util::MapRequestLayer::new(move |request| token.on(request, runtime_now()))
        }))
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(wire)
        .boxed();
    // A retry needs a service that can be cloned.
    let patient = ServiceBuilder::new()
        .layer(RetryLayer::new(Patience::default()))
        .layer(BufferLayer::new(QUEUED_REQUESTS_MAX))
        .service(stack);
    Ok(Client::new(patient, config.default_namespace.clone()))
}

/// A token in a file, which may be replaced at any time.
#[derive(Debug)]
pub(crate) struct TokenFile {
    path: String,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    token: HeaderValue,
    read: Instant,
}

impl TokenFile {
    /// Reads it for the first time. Without it, there may be `another` token, which is used until it can be read.
    pub(crate) fn read(path: String, another: Option<&str>) -> Result<Self, String> {
        let token = text(&path).and_then(|token| header(&token));
        let token = match another {
            Some(another) => token.or_else(|_| header(another)),
            None => token,
        };
        let token = token.map_err(|error| format!("token file {path}: {error}"))?;
        Ok(Self { path, held: Mutex::new(Held { token, read: runtime_now() }) })
    }

    fn on<B>(&self, mut request: Request<B>, now: Instant) -> Request<B> {
        let mut held = self.held.lock();
        if now.saturating_duration_since(held.read) >= TOKEN_AGE_MAX {
            held.read = now;
            // One that is gone may have been needed at the start only.
            if let Ok(token) = text(&self.path).and_then(|token| header(&token)) {
                held.token = token;
            }
        }
        request.headers_mut().insert(AUTHORIZATION, held.token.clone());
        request
    }
}

/// A token file's token: what is there without the white space around it, as for client-go.
fn text(path: &str) -> io::Result<String> {
    let text = fs::read_to_string(path)?;
    match text.trim() {
        "" => Err(io::Error::other("it is empty")),
        token => Ok(token.to_owned()),
    }
}

fn header(token: &str) -> io::Result<HeaderValue> {
    let mut header = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| io::Error::other("the token has line breaks or other characters that cannot be sent"))?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_file_is_read_again_each_minute_and_one_that_is_gone_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, " one\r\n\n").unwrap();
        let file = TokenFile::read(path.to_str().unwrap().to_owned(), None).unwrap();
        let mut now = file.held.lock().read;
        for (content, after, expected) in [
            (Some("two\n"), 59, "Bearer one"),
            (Some("two\n"), 2, "Bearer two"),
            (Some(""), 61, "Bearer two"),
            (None, 61, "Bearer two"),
            (Some("three"), 59, "Bearer two"),
            (Some("three"), 2, "Bearer three"),
        ] {
            match content {
                Some(content) => fs::write(&path, content).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            now += Duration::from_secs(after);
            let request = file.on(Request::new(()), now);
            assert_eq!(request.headers()[AUTHORIZATION], expected, "{content:?} after {after} s");
            assert!(request.headers()[AUTHORIZATION].is_sensitive());
        }
    }
}
