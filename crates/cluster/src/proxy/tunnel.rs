//! A connection to the API server through a proxy.

use std::{
    error::Error,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::Uri;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tower::{BoxError, Service};

use super::{Kind, Proxy, host};
use crate::error::deepest;

/// A proxy's answer to `CONNECT`; the rest of it is only for people.
const ANSWER_MAX: usize = 16 << 10;

/// Why there is no way through the proxy.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Failed {
    #[error("the proxy cannot be reached: {0}")]
    Unreachable(String),
    #[error("the proxy closed the connection without an answer")]
    Closed,
    #[error("what answers there is no {0} proxy")]
    NoProxy(&'static str),
    #[error(
        "the proxy wants a user and password, or other ones; they are part of its address, as in http://USER:PASSWORD@HOST:PORT"
    )]
    User,
    #[error("the proxy does not connect to {server}: {answer}")]
    Refused { server: String, answer: String, forever: bool },
}

impl Failed {
    /// Whether it may be different another time.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Closed => true,
            Self::NoProxy(_) | Self::User => false,
            Self::Refused { forever, .. } => !forever,
        }
    }
}

/// Reaches a server through a proxy, which `inner` reaches.
#[derive(Debug, Clone)]
pub(crate) struct Through<C> {
    inner: C,
    proxy: Arc<Proxy>,
}

impl<C> Through<C> {
    pub(crate) fn new(proxy: Proxy, inner: C) -> Self {
        Self { inner, proxy: Arc::new(proxy) }
    }
}

impl<C> Service<Uri> for Through<C>
where
    C: Service<Uri, Future: Send + 'static, Error: Into<BoxError>>,
    C::Response: Read + Write + Unpin + Send + 'static,
{
    type Response = C::Response;
    type Error = Failed;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, Failed>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(ready!(self.inner.poll_ready(cx)).map_err(unreachable))
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        let connecting = self.inner.call(self.proxy.address.clone());
        let proxy = Arc::clone(&self.proxy);
        Box::pin(async move {
            let mut stream = TokioIo::new(connecting.await.map_err(unreachable)?);
            let port =
                server.port_u16().unwrap_or(if server.scheme_str() == Some("http") { 80 } else { 443 });
            match proxy.kind {
                Kind::Http { .. } => connect(&mut stream, &server, port, proxy.user.as_ref()).await?,
                Kind::Socks => socks(&mut stream, &server, port, proxy.user.as_ref()).await?,
            }
            Ok(stream.into_inner())
        })
    }
}

fn unreachable(error: impl Into<BoxError>) -> Failed {
    let error: BoxError = error.into();
    let error: &(dyn Error + 'static) = &*error;
    Failed::Unreachable(deepest(error))
}

/// A connection that ends is not a proxy's answer.
#[expect(clippy::needless_pass_by_value, reason = "so that it can be given to map_err")]
fn broken(error: io::Error) -> Failed {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Failed::Closed,
        _ => Failed::Unreachable(error.to_string()),
    }
}

type User = (String, String);

/// RFC 9110, 9.3.6: `CONNECT`, also to a server without TLS.
async fn connect(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    server: &Uri,
    port: u16,
    user: Option<&User>,
) -> Result<(), Failed> {
    let server = format!("{}:{port}", server.host().unwrap_or_default());
    let user = user.map_or_else(String::new, |(name, password)| {
        format!("Proxy-Authorization: Basic {}\r\n", BASE64_STANDARD.encode(format!("{name}:{password}")))
    });
    let request = format!("CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n{user}\r\n");
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    let mut answer = Vec::new();
    // Byte by byte, because what follows it is the server's.
    while !answer.ends_with(b"\r\n\r\n") {
        // What is not HTTP need not end in any way.
        if answer.len() == ANSWER_MAX || !b"HTTP/".starts_with(&answer[..answer.len().min(5)]) {
            return Err(Failed::NoProxy("HTTP"));
        }
        answer.push(stream.read_u8().await.map_err(broken)?);
    }
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.lines().next().and_then(|line| line.split_once(' ')).map_or("", |(_, status)| status);
    match status.get(..3).and_then(|code| code.parse::<u16>().ok()) {
        Some(200..=299) => Ok(()),
        Some(407) => Err(Failed::User),
        Some(code @ 100..=599) => Err(Failed::Refused {
            server,
            answer: status.trim().chars().filter(|c| !c.is_control()).collect(),
            forever: code < 500,
        }),
        _ => Err(Failed::NoProxy("HTTP")),
    }
}

/// RFC 1928 and 1929. The proxy looks names up, as with Go.
async fn socks(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    server: &Uri,
    port: u16,
    user: Option<&User>,
) -> Result<(), Failed> {
    let methods: &[u8] = if user.is_some() { &[5, 2, 0, 2] } else { &[5, 1, 0] };
    stream.write_all(methods).await.map_err(broken)?;
    let [5, method] = taken::<2>(stream).await? else { return Err(Failed::NoProxy("SOCKS5")) };
    match (method, user) {
        (0, _) => {}
        (2, Some((name, password))) => {
            let mut request = vec![1];
            for text in [name, password] {
                request.push(u8::try_from(text.len()).map_err(|_| Failed::User)?);
                request.extend(text.as_bytes());
            }
            stream.write_all(&request).await.map_err(broken)?;
            let [_, 0] = taken::<2>(stream).await? else { return Err(Failed::User) };
        }
        _ => return Err(Failed::User),
    }
    let name = host(server);
    let mut request = vec![5, 1, 0];
    match name.parse() {
        Ok(std::net::IpAddr::V4(ip)) => {
            request.push(1);
            request.extend(ip.octets());
        }
        Ok(std::net::IpAddr::V6(ip)) => {
            request.push(4);
            request.extend(ip.octets());
        }
        Err(_) => {
            let length =
                u8::try_from(name.len()).map_err(|_| refused(server, port, "its name is too long", true))?;
            request.extend([3, length]);
            request.extend(name.as_bytes());
        }
    }
    request.extend(port.to_be_bytes());
    stream.write_all(&request).await.map_err(broken)?;
    let [5, answer, _, kind] = taken::<4>(stream).await? else { return Err(Failed::NoProxy("SOCKS5")) };
    if answer != 0 {
        let (words, forever) = match answer {
            2 => ("not allowed by its rules", true),
            3 => ("network unreachable", false),
            4 => ("host unreachable", false),
            5 => ("connection refused", false),
            6 => ("TTL expired", false),
            7 => ("it has no command CONNECT", true),
            8 => ("it does not know this kind of address", true),
            _ => ("general failure", false),
        };
        return Err(refused(server, port, words, forever));
    }
    // The address by which it reaches the server.
    let rest = match kind {
        1 => 4,
        4 => 16,
        3 => usize::from(stream.read_u8().await.map_err(broken)?),
        _ => return Err(Failed::NoProxy("SOCKS5")),
    };
    stream.read_exact(&mut vec![0; rest + 2]).await.map_err(broken)?;
    Ok(())
}

fn refused(server: &Uri, port: u16, words: &str, forever: bool) -> Failed {
    let server = format!("{}:{port}", server.host().unwrap_or_default());
    Failed::Refused { server, answer: words.to_owned(), forever }
}

async fn taken<const N: usize>(stream: &mut (impl AsyncRead + Unpin)) -> Result<[u8; N], Failed> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.map_err(broken)?;
    Ok(bytes)
}
