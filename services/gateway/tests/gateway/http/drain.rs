//! The end of a gateway for HTTP.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc;

use parking_lot::Mutex;

use super::{Client, http_replica, one, read_chunk, read_head};
use crate::support::{Replica, Running, settles, wait_until};

const HEAD: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A replica whose answer to `/stream` ends on a signal of the test, and whose other answers end at once.
fn replica() -> (Replica, mpsc::Sender<()>) {
    let (end, ends) = mpsc::channel();
    let ends = Arc::new(Mutex::new(ends));
    let replica = http_replica(move |request, stream| {
        if !request.head.contains("/stream") {
            return write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").is_ok();
        }
        stream.write_all(format!("{HEAD}5\r\nbegin\r\n").as_bytes()).unwrap();
        let _ = ends.lock().recv();
        stream.write_all(b"3\r\nend\r\n0\r\n\r\n").is_ok()
    });
    (replica, end)
}

fn stream(running: &Running) -> Client {
    let mut client = Client::new(running.address);
    client.send("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
    read_head(&mut client.0).unwrap();
    assert_eq!(read_chunk(&mut client.0).unwrap().unwrap(), b"begin");
    client
}

#[test]
fn a_drain_lets_answers_continue_and_closes_idle_connections() {
    let (replica, end) = replica();
    let running = one(&replica, &[]);
    let mut streaming = stream(&running);
    let mut idle = Client::new(running.address);
    assert_eq!(idle.get("/").text(), "hi");

    running.shutdown.drain();
    settles("/readyz", 503, || running.get("/readyz").0);
    let (rest, closed) = idle.rest();
    assert!(closed.is_ok() && rest.is_empty(), "in order: {closed:?}");
    wait_until("it does not listen", || TcpStream::connect(running.address).is_err());
    assert!(!running.has_ended());

    end.send(()).unwrap();
    assert_eq!(read_chunk(&mut streaming.0).unwrap().unwrap(), b"end");
    assert_eq!(read_chunk(&mut streaming.0).unwrap().unwrap(), b"");
    let (rest, closed) = streaming.rest();
    assert!(closed.is_ok() && rest.is_empty(), "and then it is closed too: {closed:?}");
    running.join().unwrap();
}

#[test]
fn a_request_in_flight_during_a_drain_is_marked_as_the_last() {
    let (tell, told) = mpsc::channel();
    let (go, wait) = mpsc::channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    let replica = http_replica(move |_, stream| {
        tell.send(()).unwrap();
        wait.lock().recv().unwrap();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").is_ok()
    });
    let running = one(&replica, &[]);
    let mut client = Client::new(running.address);
    client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    told.recv().unwrap();
    running.shutdown.drain();
    settles("/readyz", 503, || running.get("/readyz").0);
    wait_until("it does not listen", || TcpStream::connect(running.address).is_err());
    go.send(()).unwrap();
    let answer = client.receive();
    assert_eq!((answer.text().as_str(), answer.header("connection")), ("hi", Some("close")));
    running.join().unwrap();
}

#[test]
fn an_answer_cut_at_the_deadline_is_recognisably_incomplete() {
    let (replica, _end) = replica();
    let running = one(&replica, &[("DRAIN_TIMEOUT", "100ms")]);
    let mut streaming = stream(&running);
    running.shutdown.drain();
    running.join().unwrap();
    let end = streaming.0.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!(end.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn clients_waiting_when_the_drain_starts_are_still_served() {
    let (replica, _end) = replica();
    let running = one(&replica, &[]);
    let mut clients: Vec<Client> = (0..100).map(|_| Client::new(running.address)).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    running.shutdown.drain();
    for client in &mut clients {
        assert_eq!(client.receive().text(), "hi");
    }
    running.join().unwrap();
}
