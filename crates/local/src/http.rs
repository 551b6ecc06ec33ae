//! HTTP to local addresses, through the one client ([`service::http`]).

use std::{io, net::SocketAddr, time::Duration};

use service::http::{self, Error};
pub(crate) use service::http::{Answer, Url, url};

/// `GET path`, with a time limit for the whole exchange.
pub(crate) async fn get(address: SocketAddr, path: &str, timeout: Duration) -> io::Result<Answer> {
    get_url(url(format_args!("http://{address}{path}")).map_err(in_io)?, timeout).await
}

/// The same for a URL.
pub(crate) async fn get_url(url: Url, timeout: Duration) -> io::Result<Answer> {
    http::get(url, timeout).await.map_err(in_io)
}

/// `POST path` without a body, with a time limit for the whole exchange.
pub(crate) async fn post(address: SocketAddr, path: &str, timeout: Duration) -> io::Result<Answer> {
    let url = url(format_args!("http://{address}{path}")).map_err(in_io)?;
    http::post(url, timeout).await.map_err(in_io)
}

/// With the kinds that distinguish a starting server from a broken one.
fn in_io(error: Error) -> io::Error {
    let kind = match &error {
        Error::Connect { .. } => io::ErrorKind::ConnectionRefused,
        Error::TimedOut { .. } => io::ErrorKind::TimedOut,
        _ => io::ErrorKind::InvalidData,
    };
    io::Error::new(kind, error)
}
