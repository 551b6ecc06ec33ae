//! The smallest HTTP client that a probe needs: one GET, its status and the beginning of its body.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Longer answers are cut.
const ANSWER_MAX: usize = 256 * 1024;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// `GET path`, with a deadline over the whole of it.
pub(crate) async fn get(address: SocketAddr, path: &str, timeout: Duration) -> io::Result<Answer> {
    request("GET", &address.to_string(), path, timeout).await
}

/// The same from a host by name; `authority` is `host:port`.
pub(crate) async fn get_from(authority: &str, path: &str, timeout: Duration) -> io::Result<Answer> {
    request("GET", authority, path, timeout).await
}

/// `POST path` without a body, with a deadline over the whole of it.
pub(crate) async fn post(address: SocketAddr, path: &str, timeout: Duration) -> io::Result<Answer> {
    request("POST", &address.to_string(), path, timeout).await
}

async fn request(method: &str, authority: &str, path: &str, timeout: Duration) -> io::Result<Answer> {
    let slow =
        || io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} ms", timeout.as_millis()));
    tokio::time::timeout(timeout, exchange(method, authority, path)).await.map_err(|_| slow())?
}

async fn exchange(method: &str, authority: &str, path: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(authority).await?;
    let length = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {authority}\r\n{length}Connection: close\r\nAccept: */*\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_MAX as u64).read_to_end(&mut bytes).await?;
    parse(&bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not HTTP"))
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, body) = (String::from_utf8_lossy(&bytes[..end]), &bytes[end + 4..]);
    let (version, rest) = head.split_once(' ')?;
    let status = rest.get(..3)?.parse().ok()?;
    let chunked = head.lines().filter_map(|line| line.split_once(':')).any(|(name, value)| {
        name.eq_ignore_ascii_case("transfer-encoding") && value.trim().eq_ignore_ascii_case("chunked")
    });
    let body = if chunked { joined(body) } else { body.to_vec() };
    let body = String::from_utf8_lossy(&body).into_owned();
    version.starts_with("HTTP/1.").then_some(Answer { status, body })
}

/// The chunks of a body without what is between them, as far as they are whole.
fn joined(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        let line = String::from_utf8_lossy(&rest[..end]);
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).ok().filter(|size| *size > 0);
        let from = end + 2;
        let Some(chunk) = size.and_then(|size| rest.get(from..from.checked_add(size)?)) else { break };
        body.extend(chunk);
        rest = rest.get(from + chunk.len() + 2..).unwrap_or_default();
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn serve(answer: &'static [u8]) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            stream.write_all(answer).await.unwrap();
        });
        address
    }

    #[tokio::test]
    async fn status_and_body_are_read() {
        let address = serve(b"HTTP/1.1 503 Service Unavailable\r\nA: b\r\n\r\nnot yet\n").await;
        let answer = get(address, "/readyz", Duration::from_secs(5)).await.unwrap();
        assert_eq!(answer, Answer { status: 503, body: "not yet\n".to_owned() });
    }

    #[tokio::test]
    async fn chunks_are_joined() {
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n9;x=y\r\n\":\r\n1}\r\n\n\r\n0\r\n\r\n";
        let address = serve(chunked).await;
        let answer = get_from(&address.to_string(), "/", Duration::from_secs(5)).await.unwrap();
        assert_eq!(answer.body, "{\"a\":\r\n1}\r\n\n");
        assert_eq!(joined(b"ffff\r\nshort"), b"", "what is cut short is left out");
    }

    #[tokio::test]
    async fn rubbish_silence_and_refusal_are_errors() {
        let address = serve(b"hello").await;
        assert_eq!(
            get(address, "/", Duration::from_secs(5)).await.unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );

        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap();
        let error = get(address, "/", Duration::from_millis(50)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(silent);
        let error = get(address, "/", Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
