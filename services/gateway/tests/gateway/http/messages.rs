//! Messages on their way to a replica and back.

use std::io::Write;

use super::{Client, Message, http_replica, mirror, one};

/// The message that a mirror received.
fn seen(answer: &Message) -> Message {
    let text = answer.text();
    let (_, request) = text.split_once('\n').unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    Message { head: format!("{head}\r\n"), body: body.into() }
}

#[test]
fn only_the_gateway_says_who_the_client_is() {
    let running = one(&mirror("stream"), &[]);
    let answer = Client::new(running.address).ask(
        "GET / HTTP/1.1\r\nX-Forwarded-For: 6.6.6.6\r\nx-forwarded-proto: https\r\nX-Forwarded-Host: evil\r\n\
         Forwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\nTE: trailers\r\n\
         Cookie: a=b; route=0123456789abcdef; c=d\r\nX-Kept: yes",
    );
    let seen = seen(&answer);
    assert_eq!(seen.headers("x-forwarded-for").collect::<Vec<_>>(), ["127.0.0.1"]);
    assert_eq!(seen.headers("x-forwarded-proto").collect::<Vec<_>>(), ["http"]);
    assert_eq!(seen.headers("x-forwarded-host").collect::<Vec<_>>(), ["shop"]);
    assert_eq!(seen.header("host"), Some("shop"));
    assert_eq!(seen.headers("cookie").collect::<Vec<_>>(), ["a=b; c=d"]);
    assert_eq!(seen.header("x-kept"), Some("yes"));
    for gone in ["forwarded", "x-real-ip", "x-hop", "te", "connection", "transfer-encoding"] {
        assert_eq!(seen.header(gone), None, "{gone}");
    }
}

#[test]
fn bodies_arrive_whole_however_they_are_framed() {
    let running = one(&mirror("stream"), &[]);
    let mut client = Client::new(running.address);
    let sized = client.ask("POST /a HTTP/1.1\r\nContent-Length: 0");
    assert_eq!(seen(&sized).body, b"");
    for method in ["POST", "PUT", "GET", "DELETE"] {
        client.send(&format!("{method} /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"));
        let sized = seen(&client.receive());
        assert_eq!((sized.first_line(), &sized.body[..]), (&*format!("{method} /b HTTP/1.1"), &b"hello"[..]));
        assert_eq!(sized.headers("content-length").collect::<Vec<_>>(), ["5"]);

        client.send(&format!("{method} /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"));
        client.send("5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
        let chunked = seen(&client.receive());
        assert_eq!(chunked.body, b"hello world", "{method}");
        assert_eq!(chunked.header("transfer-encoding"), Some("chunked"));
    }
    // A body of 16 MiB is forwarded before its end.
    let body = "x".repeat(16 << 20);
    let length = body.len();
    client.send(&format!(
        "POST /d HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
    ));
    assert_eq!(client.receive().status(), 100);
    client.send(&body);
    let large = seen(&client.receive());
    assert_eq!((large.body.len(), large.header("expect")), (length, None));
    running.expect_count("stream-0", "active", 0);
    assert!(running.count("stream-0", "bytes_to") > length as u64);
}

#[test]
fn answers_keep_their_status_and_headers() {
    let running = one(
        &http_replica(|request, stream| {
            let answer = match request.first_line() {
                "HEAD / HTTP/1.1" => "200 OK\r\nContent-Length: 1234\r\nETag: \"x\"\r\n\r\n",
                "GET /304 HTTP/1.1" => "304 Not Modified\r\nETag: \"x\"\r\n\r\n",
                "GET /204 HTTP/1.1" => {
                    "204 No Content\r\nKeep-Alive: timeout=9\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n"
                }
                "GET /early HTTP/1.1" => {
                    "103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
                }
                _ => {
                    "418 Short And Stout\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\nContent-Length: 3\r\n\r\ntea"
                }
            };
            write!(stream, "HTTP/1.1 {answer}").is_ok()
        }),
        &[],
    );
    let mut client = Client::new(running.address);
    client.send("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    let head = super::read_head(&mut client.0).unwrap();
    assert!(head.contains("content-length: 1234\r\n") && head.contains("etag: \"x\""), "{head}");
    client.send("GET /304 HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(super::read_head(&mut client.0).unwrap().starts_with("HTTP/1.1 304 "));
    client.send("GET /204 HTTP/1.1\r\nHost: x\r\n\r\n");
    let empty = super::read_head(&mut client.0).unwrap();
    assert!(empty.starts_with("HTTP/1.1 204 ") && !empty.to_lowercase().contains("hop"), "{empty}");
    assert_eq!(client.get("/early").text(), "hi");
    let teapot = client.get("/tea");
    assert_eq!((teapot.status(), teapot.text()), (418, "tea".to_owned()));
    // The connection's first answer set the gateway's own cookie, which this client does not send.
    assert!(teapot.headers("set-cookie").any(|cookie| cookie == "a=b"));
    assert!(teapot.headers("set-cookie").any(|cookie| cookie == "c=d"));
    running.expect_metric("gateway_answers_total{status=\"4xx\"}", 1);
}

#[test]
fn old_clients_get_an_answer_that_ends_with_its_connection() {
    let running = one(
        &http_replica(|_, stream| {
            write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
                .is_ok()
        }),
        &[],
    );
    let mut client = Client::new(running.address);
    client.send("GET / HTTP/1.0\r\n\r\n");
    let (answer, end) = client.rest();
    let answer = String::from_utf8(answer).unwrap();
    assert!(end.is_ok() && answer.ends_with("\r\n\r\nhi") && !answer.contains("chunked"), "{answer}");
}
