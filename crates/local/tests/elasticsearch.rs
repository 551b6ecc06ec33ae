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
fn documents_survive_a_restart() {
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

#[test]
fn a_bulk_may_come_with_either_method_and_other_methods_are_refused_in_words() {
    let (_directory, server) = server();
    for (method, id) in [("POST", "1"), ("PUT", "2")] {
        let answer = ask(server.address(), &format!("{method} /_bulk"), &bulk(id, r#"{"text":"t"}"#));
        assert!(answer.contains(r#""errors":false"#), "{method}: {answer}");
    }
    for request in ["DELETE /_bulk", "GET /_aliases", "DELETE /"] {
        let answer = ask(server.address(), request, "");
        assert!(answer.starts_with("HTTP/1.1 405") && answer.contains(r#""status":405"#), "{answer}");
    }
}

#[test]
fn unreadable_documents_are_refused_and_hide_no_others() {
    let (_directory, server) = server();
    let address = server.address();
    let nested = |depth| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    let bad = [
        r#"{"text":"x","n":1e999}"#,
        r#"{"text":"\ud800"}"#,
        r#"{"\udead":"x"}"#,
        r#"{"timestamp":"noon"}"#,
        r#"{"timestamp":"2026-11-21T10:00:00Z","timestamp":"2026-11-21T10:00:00Z"}"#,
        r#"{"pod":7}"#,
        "[1]",
        &nested(130),
        &nested(65),
    ];
    let mut body = String::new();
    for (number, document) in bad.iter().enumerate() {
        body += &bulk(&format!("bad-{number}"), document);
        body += &bulk(&format!("good-{number}"), &nested(64));
    }
    let answer = ask(address, "POST /_bulk", &body);
    assert_eq!(answer.matches(r#""status":400"#).count(), bad.len(), "{answer}");
    assert_eq!(answer.matches("document_parsing_exception").count(), bad.len());
    assert_eq!(answer.matches(r#""status":201"#).count(), bad.len(), "their companions are written");
    for path in ["POST /_search", "POST /general-logs-*/_search", "POST /k8s-logs/_search"] {
        let answer = ask(address, path, r#"{"size":100}"#);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["hits"]["total"]["value"], bad.len());
    }
}

#[test]
fn a_request_that_is_too_large_is_read_to_its_end_and_refused() {
    let (_directory, server) = server();
    let address = server.address();
    let document = format!(r#"{{"text":"{}"}}"#, "x".repeat(9 * 1024 * 1024));
    assert!(ask(address, "POST /_bulk", &bulk("1", &document)).starts_with("HTTP/1.1 413"));
    let document = format!(r#"{{"text":"{}"}}"#, "x".repeat(7 * 1024 * 1024));
    assert!(ask(address, "POST /_bulk", &bulk("1", &document)).contains(r#""status":201"#));
    let answer = ask(address, "POST /_search", "");
    assert!(answer.contains(&document), "an answer in many pieces");
}
