//! One `GET /readyz`.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// More than any status line; the rest of the answer is not read.
const STATUS_LINE_MAX: usize = 512;

/// Asks `address` whether it is ready: `Ok` for any status from 200 to 299, else the reason in words.
pub(super) async fn readyz(address: SocketAddr, timeout: Duration) -> Result<(), String> {
    match tokio::time::timeout(timeout, status_line(address)).await {
        Err(_) => Err(format!("no answer from {address} within {} s", timeout.as_secs_f64())),
        Ok(Err(error)) => Err(format!("{address}: {error}")),
        Ok(Ok(line)) => judge(&line),
    }
}

async fn status_line(address: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut line = Vec::with_capacity(STATUS_LINE_MAX);
    while line.len() < STATUS_LINE_MAX && !line.contains(&b'\n') {
        if stream.read_buf(&mut line).await? == 0 {
            break;
        }
    }
    let end = line.iter().position(|&byte| byte == b'\n').unwrap_or(line.len());
    line.truncate(end);
    Ok(line)
}

/// Reads `HTTP/1.1 503 Service Unavailable`.
fn judge(line: &[u8]) -> Result<(), String> {
    let line = String::from_utf8_lossy(line);
    let line = line.trim_end();
    let code = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
    match code.and_then(|code| code.parse::<u16>().ok()) {
        Some(200..=299) => Ok(()),
        Some(_) => Err(format!("answered {line}")),
        None => Err(format!("answered {line:?}, which is not an HTTP status")),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn probe(answer: &'static [u8]) -> Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).await.unwrap();
            assert!(request[..length].starts_with(b"GET /readyz HTTP/1.1\r\n"));
            stream.write_all(answer).await.unwrap();
        });
        let result = readyz(address, Duration::from_secs(10)).await;
        server.await.unwrap();
        result
    }

    #[tokio::test]
    async fn the_status_decides() {
        assert_eq!(probe(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nready\n").await, Ok(()));
        assert_eq!(probe(b"HTTP/1.0 204 No Content\r\n\r\n").await, Ok(()));
        let unavailable = probe(b"HTTP/1.1 503 Service Unavailable\r\n\r\ndraining\n").await;
        assert_eq!(unavailable, Err("answered HTTP/1.1 503 Service Unavailable".into()));
        assert!(probe(b"").await.unwrap_err().contains("not an HTTP status"));
        assert!(probe(b"error: unknown command\n").await.unwrap_err().contains("not an HTTP status"));
        assert!(probe(&[b'x'; 2000]).await.is_err());
    }

    #[tokio::test]
    async fn silence_and_refusal_are_failures() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let silence = readyz(address, Duration::from_millis(20)).await.unwrap_err();
        assert!(silence.contains("no answer"), "{silence}");
        drop(listener);
        let refusal = readyz(address, Duration::from_secs(10)).await.unwrap_err();
        assert!(refusal.contains("refused"), "{refusal}");
    }
}
