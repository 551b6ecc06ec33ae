//! The embedded Elasticsearch over real sockets.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use local::embedded::elasticsearch::Server;

fn server() -> (tempfile::TempDir, Server) {
    let directory = tempfile::tempdir().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let server = Server::bind(address, directory.path().join("documents")).unwrap();
    (directory, server)
}

/// Sends a request and returns the whole answer.
fn ask(address: SocketAddr, request: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = format!(
        "{request} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn bulk(id: &str, document: &str) -> String {
    format!("{{\"create\":{{\"_index\":\"general-logs-2026.11.21\",\"_id\":\"{id}\"}}}}\n{document}\n")
}

#[test]
fn documents_are_there_after_a_stop_and_a_start() {
    let (_directory, mut server) = server();
    let address = server.address();
    assert!(ask(address, "POST /_bulk", &bulk("1", r#"{"text":"first"}"#)).contains(r#""errors":false"#));
    for _ in 0..2 {
        server.stop().unwrap();
        server.stop().unwrap();
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        server.start_again().unwrap();
        server.start_again().unwrap();
        assert!(ask(address, "POST /_search", "").contains(r#""text":"first""#));
        assert!(ask(address, "POST /_bulk", &bulk("1", "{}")).contains("version_conflict_engine_exception"));
    }
}
