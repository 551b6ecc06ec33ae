//! Replicas that are absent, or do not answer.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Client, gateway, get, http_replica, mirror, one};
use crate::support::{Replica, endpoint, nobody, wait_until};

#[test]
fn without_a_replica_a_client_learns_when_to_retry() {
    let (running, _file) = gateway(&[("stream", &[]), ("directory", &[])], &[]);
    let mut client = Client::new(running.address);
    for _ in 0..2 {
        let answer = client.get("/");
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        let problem: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
        assert_eq!((&problem["status"], &problem["title"]), (&503.into(), &"Service Unavailable".into()));
        assert_eq!(problem["detail"], "stream: no replica is ready");
    }
    running.expect_metric("gateway_connections_refused_total{reason=\"no_endpoint\"}", 2);
    running.expect_metric("gateway_answers_total{status=\"5xx\"}", 2);
    running.expect_degraded("no_endpoint: clients are turned away");
}

#[test]
fn an_answer_ends_where_its_encoding_says_whatever_its_length() {
    let replica = http_replica(|_, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n").is_ok()
    });
    let running = one(&replica, &[]);
    assert_eq!(get(running.address, "/").text(), "hello");
}

#[test]
fn an_answer_in_another_encoding_is_refused() {
    for encoding in ["gzip, chunked", "gzip", "chunked, identity"] {
        let replica = http_replica(move |_, stream| {
            let head = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {encoding}\r\n\r\n");
            let _ = write!(stream, "{head}2\r\nxx\r\n0\r\n\r\n");
            false
        });
        let running = one(&replica, &[]);
        let answer = get(running.address, "/");
        assert_eq!(answer.status(), 502, "{encoding}: {}", answer.text());
    }
}

#[test]
fn an_unreachable_replica_costs_no_request() {
    let living = mirror("stream-1");
    let endpoints = [endpoint("stream-0", nobody()), endpoint("stream-1", living.address)];
    let settings = [("EJECT_FAILURES", "0"), ("POLICY", "round-robin")];
    let (running, file) = gateway(&[("stream", &endpoints), ("directory", &[])], &settings);
    let mut client = Client::new(running.address);
    for _ in 0..10 {
        assert!(client.get("/").text().starts_with("stream-1\n"));
        // Nothing was sent, so any request may go to another replica.
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");
        assert!(client.receive().text().ends_with("hello"));
    }
    assert_eq!(running.metric("gateway_connects_retried_total"), running.count("stream-0", "failed"));
    assert!(running.count("stream-0", "failed") >= 5);
    running.expect_count("stream-0", "active", 0);

    super::write(&file, 2, &[("stream", &endpoints[..1]), ("directory", &[])]);
    wait_until("only the dead one is left", || running.endpoints()["version"] == 2);
    let all_gone = get(running.address, "/");
    assert_eq!(all_gone.status(), 503);
    assert!(all_gone.text().contains("no replica can be reached"), "{}", all_gone.text());
}

#[test]
fn a_full_replica_gets_no_more_requests_and_its_sticky_clients_move() {
    let stuck = || {
        http_replica(|request, stream| {
            if request.head.contains("/wait") {
                let _ = stream.read(&mut [0]);
                return false;
            }
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_ok()
        })
    };
    let replicas = [stuck(), stuck()];
    let endpoints = [endpoint("stream-0", replicas[0].address), endpoint("stream-1", replicas[1].address)];
    let settings = [("CIRCUIT_MAX_CONNECTIONS", "1")];
    let (running, _file) = gateway(&[("stream", &endpoints), ("directory", &[])], &settings);
    let first = get(running.address, "/");
    let key = first.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let waits = || {
        let mut client = Client::new(running.address);
        client.send(&format!("GET /wait HTTP/1.1\r\nHost: x\r\nCookie: {key}\r\n\r\n"));
        client
    };
    let _one = waits();
    wait_until("its replica has it", || {
        running.count("stream-0", "active") + running.count("stream-1", "active") == 1
    });
    let _two = waits();
    for name in ["stream-0", "stream-1"] {
        running.expect_count(name, "active", 1);
    }
    let refused = get(running.address, "/");
    assert_eq!(refused.status(), 503);
    assert!(refused.text().contains("every replica is full"));
}

#[test]
fn a_replica_that_ends_the_connection_instead_of_answering_is_a_bad_gateway() {
    let replica = http_replica(|_, _| false);
    let running = one(&replica, &[]);
    let mut client = Client::new(running.address);
    for count in 1..=3 {
        let answer = client.get("/");
        assert_eq!(answer.status(), 502);
        assert!(answer.text().contains("ended the connection without an answer"));
        running.expect_metric("gateway_requests_unanswered_total", count);
    }
    let garbage = Replica::new(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"error: unknown command\n");
    });
    let running = one(&garbage, &[]);
    assert_eq!(get(running.address, "/").status(), 502);
}

#[test]
fn a_body_that_the_client_breaks_is_not_the_replicas_fault() {
    let replica = mirror("stream-0");
    let running = one(&replica, &[]);
    for chunk in ["zz\r\n", "FFFFFFFFFFFFFFFFF\r\n", "-1\r\n", "2\r\nabc\r\n"] {
        let mut client = Client::new(running.address);
        client.send(&format!("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"));
        let answer = client.receive();
        assert_eq!(answer.status(), 400, "{chunk:?}: {}", answer.text());
        assert!(answer.text().contains("body cannot be read"), "{}", answer.text());
    }
    running.expect_metric("gateway_answers_total{status=\"4xx\"}", 4);
    running.expect_metric("gateway_requests_unanswered_total", 0);
}

#[test]
fn a_connection_closed_by_a_replica_costs_no_request() {
    // The replica closes each connection before its second request.
    let replica = Replica::new(|stream| {
        let mut writes = stream.try_clone().unwrap();
        let mut reads = std::io::BufReader::new(stream);
        let first = AtomicBool::new(true);
        while super::Message::read(&mut reads).is_some() {
            if !first.swap(false, Ordering::SeqCst) {
                return;
            }
            writes.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").unwrap();
        }
    });
    let running = one(&replica, &[]);
    let mut client = Client::new(running.address);
    for _ in 0..10 {
        assert_eq!(client.get("/").text(), "hi");
        // A request that must not be repeated gets a new connection.
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx");
        assert_eq!(client.receive().text(), "hi");
    }
    running.expect_metric("gateway_requests_unanswered_total", 0);
}
