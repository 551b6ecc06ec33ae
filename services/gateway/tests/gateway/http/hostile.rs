//! Requests designed to be misread, too large, or never finished.

use std::io::{Read, Write};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Client, Message, get, http_replica, one};
use crate::support::{Replica, connect, wait_until};

/// A replica that keeps every request it sees.
fn recording() -> (Replica, Arc<Mutex<Vec<Message>>>) {
    let seen: Arc<Mutex<Vec<Message>>> = Arc::default();
    let keep = Arc::clone(&seen);
    let replica = http_replica(move |request, stream| {
        keep.lock().push(request.clone());
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_ok()
    });
    (replica, seen)
}

/// Bytes that would be a separate request if the body ended elsewhere.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn ambiguous_requests_are_refused() {
    let (replica, seen) = recording();
    let running = one(&replica, &[]);
    let chunks = format!("0\r\n\r\n{HIDDEN}");
    for refused in [
        // Two lengths, and invalid ones.
        format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{HIDDEN}"),
        format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 6\r\n\r\n{HIDDEN}"),
        format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n{HIDDEN}"),
        format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\n{HIDDEN}"),
        format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n{HIDDEN}"),
        format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\n{HIDDEN}"),
        // Unsupported transfer encodings.
        format!("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n{chunks}"),
        format!("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n{chunks}"),
        format!("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n{chunks}"),
        format!(
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
        ),
        format!("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\u{b}chunked\r\n\r\n{chunks}"),
        format!("POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"),
        // Folded and broken headers.
        format!("GET / HTTP/1.1\r\nHost: x\r\nX: y\r\n Content-Length: 5\r\n\r\n{HIDDEN}"),
        format!("GET / HTTP/1.1\r\nHost: x\r\nX\0: y\r\n\r\n{HIDDEN}"),
        format!("GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n{HIDDEN}"),
        // Hosts.
        format!("GET / HTTP/1.1\r\n\r\n{HIDDEN}"),
        format!("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n{HIDDEN}"),
        format!("GET / HTTP/1.1\r\nHost: x y\r\n\r\n{HIDDEN}"),
        format!("GET / HTTP/1.1\r\nHost: \"><x\r\n\r\n{HIDDEN}"),
        format!("GET / HTTP/1.1\r\nHost: me@x\r\n\r\n{HIDDEN}"),
        format!("GET / HTTP/1.1\r\nHost: x/y\r\n\r\n{HIDDEN}"),
        format!("GET / HTTP/1.1\r\nHost: x, y\r\n\r\n{HIDDEN}"),
        // First lines.
        format!("GET / HTTP/1.1 HTTP/1.1\r\nHost: x\r\n\r\n{HIDDEN}"),
        format!("GET / HTTP/3\r\nHost: x\r\n\r\n{HIDDEN}"),
        format!("GET x HTTP/1.1\r\nHost: x\r\n\r\n{HIDDEN}"),
        format!("GET http://x@y/ HTTP/1.1\r\nHost: x\r\n\r\n{HIDDEN}"),
        format!("CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n{HIDDEN}"),
    ] {
        let mut client = Client::new(running.address);
        client.send(&refused);
        let (answers, _) = client.rest();
        let answers = String::from_utf8_lossy(&answers);
        let status = answers.split(' ').nth(1).unwrap_or_default();
        assert!(["400", "404", "501", "505"].contains(&status), "{refused:?}: {answers}");
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{refused:?}: {answers}");
        assert_eq!(seen.lock().len(), 0, "{refused:?} got through");
    }
    // Unrequested HTTP/2 is closed without an answer.
    let mut client = Client::new(running.address);
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert_eq!(client.rest().0, b"");
    assert_eq!(get(running.address, "/").text(), "ok");
}

#[test]
fn every_valid_host_gets_through() {
    let (replica, seen) = recording();
    let running = one(&replica, &[]);
    let hosts = ["", "x", "x.example:8090", "127.0.0.1", "[::1]:80", "my_host", "x-y.z."];
    for host in hosts {
        let mut client = Client::new(running.address);
        client.send(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(client.receive().status(), 200, "{host:?}");
    }
    assert_eq!(seen.lock().len(), hosts.len());
}

#[test]
fn a_length_beside_chunks_is_ignored_and_ends_the_connection() {
    let (replica, seen) = recording();
    let running = one(&replica, &[]);
    for lengths in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: chunked\r\nContent-Length: 100000",
    ] {
        let mut client = Client::new(running.address);
        client.send(&format!("POST / HTTP/1.1\r\nHost: x\r\n{lengths}\r\n\r\n3\r\nabc\r\n0\r\n\r\n{HIDDEN}"));
        let (answers, _) = client.rest();
        assert_eq!(String::from_utf8_lossy(&answers).matches("HTTP/1.1 ").count(), 1);
        let all = std::mem::take(&mut *seen.lock());
        let [only] = &all[..] else { panic!("{lengths}: {all:?}") };
        assert_eq!((only.first_line(), &only.body[..]), ("POST / HTTP/1.1", &b"abc"[..]));
        assert_eq!(only.header("content-length"), None);
    }
}

#[test]
fn a_body_with_a_bad_chunk_never_looks_complete_to_a_replica() {
    let (replica, seen) = recording();
    let running = one(&replica, &[]);
    for bad in
        ["x\r\n", "-1\r\n", "5 5\r\nhello\r\n", "ffffffffffffffffff\r\n", "3\r\nabcd\r\n", "3;\u{1}\nabc\r\n"]
    {
        let mut client = Client::new(running.address);
        client.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send(&format!("2\r\nok\r\n{bad}0\r\n\r\n{HIDDEN}"));
        let (answers, _) = client.rest();
        let answers = String::from_utf8_lossy(&answers);
        assert!(!answers.contains(" 200 "), "{bad:?}: {answers}");
        assert!(seen.lock().is_empty(), "{bad:?} got through");
        running.expect_count("stream-0", "active", 0);
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (replica, seen) = recording();
    let running = one(&replica, &[]);
    let mut client = Client::new(running.address);
    let requests: Vec<String> =
        (0..50).map(|number| format!("GET /{number} HTTP/1.1\r\nHost: x\r\n\r\n")).collect();
    client.send(&requests.concat());
    for _ in 0..50 {
        assert_eq!(client.receive().text(), "ok");
    }
    let paths: Vec<String> = seen.lock().iter().map(|one| one.first_line().to_owned()).collect();
    assert!(paths.iter().enumerate().all(|(number, line)| *line == format!("GET /{number} HTTP/1.1")));
}

#[test]
fn the_size_of_heads_is_bounded() {
    let (replica, seen) = recording();
    let running = one(&replica, &[]);
    let much = |count: usize| "x".repeat(count);
    let many = "X: y\r\n".repeat(200);
    for (request, statuses) in [
        (format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", much(100_000)), ["431", "431"]),
        (format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n"), ["431", "431"]),
        (format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", much(70_000)), ["414", "431"]),
    ] {
        let mut stream = connect(running.address);
        // It may be refused before everything is sent.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(statuses.iter().any(|status| answer.ends_with(status)), "{answer}");
    }
    assert!(seen.lock().is_empty());
    // The largest heads of browsers are accepted.
    let mut client = Client::new(running.address);
    assert_eq!(client.ask(&format!("GET / HTTP/1.1\r\nX: {}", much(16_000))).text(), "ok");
}

#[test]
fn ten_thousand_half_requests_leave_nothing_behind() {
    let (replica, seen) = recording();
    let running = one(&replica, &[]);
    let halves = [
        "",
        "GET",
        "GET / HTTP/1.1\r\nHost: x\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal",
    ];
    for number in 0..10_000 {
        let mut client = connect(running.address);
        client.write_all(halves[number % halves.len()].as_bytes()).unwrap();
    }
    running.expect_metric("gateway_connections_opened_total", 10_000);
    running.expect_metric("gateway_connections_active", 0);
    running.expect_count("stream-0", "active", 0);
    assert!(seen.lock().is_empty());
    assert_eq!(get(running.address, "/").text(), "ok");
}

#[test]
fn an_unfinished_head_frees_its_slot() {
    let (replica, _) = recording();
    let settings = [("MAX_CONNECTIONS", "100"), ("HEAD_TIMEOUT", "300ms")];
    let running = one(&replica, &settings);
    // Ten times as many as there are places; the rest wait in the kernel's queue.
    let slow: Vec<_> = (0..1_000)
        .map(|_| {
            let mut client = connect(running.address);
            client.write_all(b"GET / HTTP/1.1\r\nHost: ").unwrap();
            client
        })
        .collect();
    wait_until("all had their turn", || {
        assert!(running.metric("gateway_connections_active") <= 100);
        running.metric("gateway_connections_closed_total") == 1_000
    });
    assert_eq!(get(running.address, "/").text(), "ok");
    assert!(running.metric("gateway_accept_pauses_total{reason=\"connections\"}") > 0);
    drop(slow);
}

#[test]
fn clients_beyond_the_rate_wait_in_the_queue_and_all_are_served() {
    let (replica, _) = recording();
    let running = one(&replica, &[("ACCEPT_RATE", "50")]);
    let mut clients: Vec<Client> = (0..40).map(|_| Client::new(running.address)).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").text(), "ok");
    }
    assert!(running.metric("gateway_connections_delayed_total") > 0);
}
