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
    let slow =
        || io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} ms", timeout.as_millis()));
    tokio::time::timeout(timeout, exchange(address, path)).await.map_err(|_| slow())?
}

async fn exchange(address: SocketAddr, path: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address).await?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAccept: */*\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_MAX as u64).read_to_end(&mut bytes).await?;
    parse(&String::from_utf8_lossy(&bytes))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not HTTP"))
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let (version, rest) = head.split_once(' ')?;
    let status = rest.get(..3)?.parse().ok()?;
    version.starts_with("HTTP/1.").then(|| Answer { status, body: body.to_owned() })
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
