//! Servers configured as members of etcd that are not: their answers change nothing for clients.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use service::etcd::Settings;

use crate::support::{Client, Connect as _, settings, start};

/// Answers every request in the same way, on threads that end with the test's process.
fn member(answer: impl Fn(&mut TcpStream) + Clone + Send + 'static) -> Settings {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = service::http::url(format_args!("http://{}", listener.local_addr().unwrap())).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = answer.clone();
            std::thread::spawn(move || {
                let mut stream = stream;
                let mut request = [0; 4096];
                if stream.read(&mut request).is_ok() {
                    answer(&mut stream);
                }
            });
        }
    });
    Settings { endpoints: vec![url], lease_ttl: Duration::from_secs(2) }
}

fn expect_served(etcd: Settings, words: &str) {
    let server = start(tcp::Settings { etcd: Some(etcd), ..settings() });
    server.expect_degraded(words);
    let mut client: Client = server.client();
    let address = client.address();
    assert_eq!(client.ask("WHO"), format!("client list: {{'{address}'}}\nconnected clients: 1"));
    assert_eq!(client.ask("msg:echo"), "echo");
    server.shutdown.force();
    server.join();
}

#[test]
fn a_silent_member_is_given_up() {
    // Read until the client hangs up.
    let silent = member(|stream| _ = stream.read(&mut [0; 1024]));
    expect_served(silent, "no answer within 500 ms");
}

#[test]
fn garbage_is_not_an_answer() {
    for rubbish in
        [&b"hello"[..], b"HTTP/1.1 200 OK\r\n\r\n<html>", b"HTTP/1.1 200 OK\r\n\r\n{\"header\":[]}"]
    {
        let member = member(move |stream| _ = stream.write_all(rubbish));
        expect_served(member, "presence");
    }
}

/// Endless answers: a body, and a line of a watch.
#[test]
fn an_endless_answer_is_given_up() {
    let endless = member(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"header\":{\"revision\":\"1");
        while stream.write_all(&[b'1'; 4096]).is_ok() {}
    });
    expect_served(endless, "presence");
}

/// The list and the lease are valid, and the watch returns garbage: the list remains in use.
#[test]
fn a_watch_that_returns_garbage_is_opened_again() {
    let half = member(|stream| {
        let body = concat!(
            r#"{"ID":"7","header":{"revision":"5"},"result":{"TTL":"10"},"#,
            r#""kvs":[{"key":"L3NvY2tldHMvcHJlc2VuY2UvYS8w","value":"AQoAAAcfkA==","mod_revision":"4"}]}"#,
            "\n"
        );
        let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    });
    let server = start(tcp::Settings { etcd: Some(half), ..settings() });
    server.expect_degraded("presence of others");
    let mut client = server.client();
    let address = client.address();
    let both = format!("client list: {{'{address}', '10.0.0.7:8080'}}\nconnected clients: 2");
    fixtures::settles("WHO", both, || client.ask("WHO"));
}
