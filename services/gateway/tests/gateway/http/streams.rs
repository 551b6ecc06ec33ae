//! Long-lived bodies: each piece is forwarded as it comes, and a client that does not read delays only its own.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use parking_lot::Mutex;

use super::{Client, http_replica, one, read_chunk, read_head};
use crate::support::{Replica, pause, settles, wait_until};

const EVENT_BYTES: usize = 1 << 20;

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Sends one event, as a chunk.
fn send_event(stream: &mut TcpStream, letter: u8) -> std::io::Result<()> {
    let mut event = format!("{EVENT_BYTES:x}\r\n").into_bytes();
    event.resize(event.len() + EVENT_BYTES - 2, letter);
    event.extend_from_slice(b"\n\n\r\n");
    stream.write_all(&event)
}

#[test]
fn an_event_is_forwarded_before_the_next_one_exists() {
    let (go, next) = mpsc::channel::<u8>();
    let next = Arc::new(Mutex::new(next));
    let replica = http_replica(move |_, stream| {
        let next = next.lock();
        stream.write_all(HEAD.as_bytes()).unwrap();
        while let Ok(letter) = next.recv() {
            send_event(stream, letter).unwrap();
        }
        stream.write_all(b"0\r\n\r\n").is_ok()
    });
    let running = one(&replica, &[]);
    let mut client = Client::new(running.address);
    client.send("GET /stream/u/p HTTP/1.1\r\nHost: x\r\n\r\n");
    // The head comes before the first event.
    let head = read_head(&mut client.0).unwrap();
    assert!(head.contains("text/event-stream"), "{head}");
    for letter in [b'a', b'b', b'c'] {
        go.send(letter).unwrap();
        let mut event = Vec::new();
        while event.len() < EVENT_BYTES {
            event.extend(read_chunk(&mut client.0).unwrap().unwrap());
        }
        assert_eq!((event.len(), event[0]), (EVENT_BYTES, letter));
        assert!(event.ends_with(b"\n\n"));
    }
    running.expect_count("stream-0", "active", 1);
    drop(go);
    assert_eq!(read_chunk(&mut client.0).unwrap().unwrap(), b"");
    running.expect_count("stream-0", "active", 0);
}

#[test]
fn a_request_body_is_forwarded_piece_by_piece() {
    let (tell, told) = mpsc::channel();
    let replica = Replica::new(move |mut stream| {
        let mut part = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut part) {
            tell.send(String::from_utf8_lossy(&part[..length]).into_owned()).unwrap();
        }
    });
    let running = one(&replica, &[]);
    let mut client = Client::new(running.address);
    client.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut seen = String::new();
    for piece in ["one", "two", "three"] {
        client.send(&format!("{:x}\r\n{piece}\r\n", piece.len()));
        while !seen.contains(piece) {
            seen += &told.recv_timeout(crate::support::PATIENCE).unwrap();
        }
    }
    // If a client leaves in the middle, its request is aborted: the replica sees no end of the body.
    drop(client);
    wait_until("the replica's connection ended", || {
        matches!(told.try_recv(), Err(mpsc::TryRecvError::Disconnected))
            || running.count("stream-0", "active") == 0
    });
    assert!(!seen.contains("\r\n0\r\n"));
}

/// Sends events for ever, and counts the bytes that were accepted.
fn talkative() -> (Replica, Arc<AtomicU64>) {
    let taken = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&taken);
    let replica = http_replica(move |request, stream| {
        if !request.head.contains("/endless") {
            return write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").is_ok();
        }
        stream.write_all(HEAD.as_bytes()).unwrap();
        let piece = format!("1000\r\n{}\r\n", "x".repeat(4096));
        while stream.write_all(piece.as_bytes()).is_ok() {
            count.fetch_add(piece.len() as u64, Ordering::SeqCst);
        }
        false
    });
    (replica, taken)
}

#[test]
fn a_client_that_does_not_read_blocks_only_its_replica_and_stays() {
    let (replica, taken) = talkative();
    let running = one(&replica, &[("STALL_TIMEOUT", "0")]);
    let mut slow = Client::new(running.address);
    slow.send("GET /endless HTTP/1.1\r\nHost: x\r\n\r\n");
    let held = || taken.load(Ordering::SeqCst);
    wait_until("the replica is held up", || {
        let before = held();
        pause(Duration::from_millis(300));
        held() > 0 && held() == before
    });
    // The maximum in flight: the sockets' buffers, including the replica's and the client's.
    assert!(held() < 16 << 20, "{}", held());
    for _ in 0..20 {
        assert_eq!(super::get(running.address, "/").text(), "hi");
    }
    let before = held();
    let mut part = vec![0; 64 << 20];
    slow.0.read_exact(&mut part).unwrap();
    assert!(held() > before, "it continues where it was");
    // When the client leaves, its request ends.
    drop(slow);
    running.expect_count("stream-0", "active", 0);
    running.expect_metric("gateway_answers_broken_total", 1);
}

#[test]
fn a_stall_timeout_closes_a_client_that_does_not_read() {
    let (replica, _) = talkative();
    let running = one(&replica, &[("STALL_TIMEOUT", "1s")]);
    let mut slow = Client::new(running.address);
    slow.send("GET /endless HTTP/1.1\r\nHost: x\r\n\r\n");
    running.expect_count("stream-0", "active", 1);
    running.expect_count("stream-0", "active", 0);
    let (_, end) = slow.rest();
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    running.expect_metric("gateway_sessions_timed_out_total", 1);
}

#[test]
fn an_answer_that_breaks_off_never_looks_whole() {
    // With every kind of framing, and even without any.
    let heads = [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
    ];
    for head in heads {
        let (die, died) = mpsc::channel::<()>();
        let died = Arc::new(Mutex::new(died));
        let replica = Replica::new(move |mut stream| {
            let mut request = [0; 4096];
            if stream.read(&mut request).is_ok_and(|length| length > 0) {
                stream.write_all(head.as_bytes()).unwrap();
                let _ = died.lock().recv();
                // Like a process that is killed with unread input.
                crate::support::reset(stream);
            }
        });
        let running = one(&replica, &[]);
        for version in ["1.0", "1.1"] {
            let mut client = Client::new(running.address);
            client.send(&format!("GET / HTTP/{version}\r\nHost: x\r\n\r\n"));
            read_head(&mut client.0).unwrap();
            let mut begin = Vec::new();
            while !begin.ends_with(b"hello") {
                let mut byte = [0];
                client.0.read_exact(&mut byte).unwrap();
                begin.push(byte[0]);
            }
            die.send(()).unwrap();
            let (_, end) = client.rest();
            assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset, "{version}: {head}");
        }
        running.expect_metric("gateway_answers_broken_total", 2);
        running.expect_count("stream-0", "active", 0);
    }
}

#[test]
fn an_answer_without_a_length_ends_with_the_replicas_connection() {
    let replica = http_replica(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it").unwrap();
        false
    });
    let running = one(&replica, &[]);
    let mut client = Client::new(running.address);
    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "all of it");
    }
    assert_eq!(replica.accepted(), 3);
}

#[test]
fn silence_ends_a_connection_only_where_a_time_is_set() {
    let replica = http_replica(|_, stream| {
        stream.write_all(HEAD.as_bytes()).unwrap();
        // Send nothing more until the other side is gone.
        let _ = stream.read(&mut [0]);
        false
    });
    let running = one(&replica, &[("TUNNEL_TIMEOUT", "300ms")]);
    let mut client = Client::new(running.address);
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    read_head(&mut client.0).unwrap();
    let (_, end) = client.rest();
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    running.expect_metric("gateway_sessions_silent_total", 1);
    settles("sessions", 0, || running.count("stream-0", "active"));
}
