use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::registry::Registry;

use super::*;
use crate::admin::{Admin, Pages};
use crate::settings::Host;
use crate::{Readiness, listen};

const SECRET: &str = "0123456789abcdef";
const DEADLINE: Duration = Duration::from_secs(30);

/// The admin port of a service with ten connections, and how many of them remain.
fn start(token: Option<&str>) -> (Admin, Arc<AtomicU64>) {
    let left = Arc::new(AtomicU64::new(10));
    let shed = {
        let left = Arc::clone(&left);
        move |count: u64| {
            let shed = count.min(left.load(Ordering::Relaxed));
            left.fetch_sub(shed, Ordering::Relaxed);
            std::future::ready(shed)
        }
    };
    let token = token.map(|token| Token::parse(token).unwrap());
    let pages = Pages::new(Readiness::new(), Registry::default()).with_shed(token, shed);
    (Admin::start(listen::tcp(Host::LOOPBACK, 0).unwrap(), pages).unwrap(), left)
}

fn send(address: SocketAddr, head: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let length = body.len();
    write!(stream, "POST /shed HTTP/1.1\r\nHost: x\r\n{head}Content-Length: {length}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn order(address: SocketAddr, body: &str) -> (u16, String) {
    send(address, &format!("Authorization: Bearer {SECRET}\r\n"), body)
}

#[test]
fn an_order_is_carried_out_once() {
    let (admin, left) = start(Some(SECRET));
    let first = order(admin.address(), r#"{"id":"a","count":4}"#);
    assert_eq!(first, (200, r#"{"id":"a","accepted":4}"#.into()));
    assert_eq!(order(admin.address(), r#"{"id":"a","count":4}"#), first);
    assert_eq!(left.load(Ordering::Relaxed), 6);
    assert_eq!(order(admin.address(), r#"{"id":"a","count":5}"#).0, 409);
    assert_eq!(order(admin.address(), r#"{"id":"b","count":9}"#), (200, r#"{"id":"b","accepted":6}"#.into()));
    assert_eq!(left.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn the_client_learns_how_many_were_shed_or_why_none() {
    let (admin, _) = start(Some(SECRET));
    let order = Order { id: "a".into(), count: 40 };
    assert_eq!(send_order(admin.address(), SECRET, &order).await, Ok(10));
    assert_eq!(send_order(admin.address(), SECRET, &order).await, Ok(10));
    let refused = send_order(admin.address(), "another token", &order).await.unwrap_err();
    assert!(refused.contains("401") && refused.contains("SHED_TOKEN"), "{refused}");
}

async fn send_order(admin: SocketAddr, token: &str, order: &Order) -> Result<u64, String> {
    super::send(admin, token, order, DEADLINE).await
}

#[test]
fn orders_without_the_token_are_refused() {
    let (admin, left) = start(Some(SECRET));
    let body = r#"{"id":"a","count":4}"#;
    for head in
        ["", "Authorization: Bearer 0123456789abcdeg\r\n", "Authorization: Basic 0123456789abcdef\r\n"]
    {
        let (status, text) = send(admin.address(), head, body);
        assert_eq!(status, 401, "{text}");
        assert!(!text.contains(SECRET));
    }
    let (without, _) = start(None);
    let (status, text) = order(without.address(), body);
    assert_eq!(status, 403);
    assert!(text.contains("SHED_TOKEN"), "{text}");
    assert_eq!(left.load(Ordering::Relaxed), 10);
}

#[test]
fn an_invalid_order_is_refused() {
    let (admin, left) = start(Some(SECRET));
    let long = format!(r#"{{"id":"{}","count":1}}"#, "x".repeat(65));
    let huge = format!(r#"{{"id":"a","count":1{}}}"#, " ".repeat(BODY_BYTES_MAX));
    for body in [
        "",
        "4",
        r#"{"id":"a"}"#,
        r#"{"id":"a","count":-1}"#,
        r#"{"id":"a","count":0}"#,
        r#"{"id":"a","count":1000001}"#,
        r#"{"id":"","count":1}"#,
        r#"{"id":"a b","count":1}"#,
        r#"{"id":"a","count":1,"server":"b"}"#,
        &long,
        &huge,
    ] {
        let (status, text) = order(admin.address(), body);
        assert_eq!(status, 400, "{body}: {text}");
        assert!(text.starts_with("the body is no order"), "{text}");
    }
    assert_eq!(left.load(Ordering::Relaxed), 10);
}

#[test]
fn unfinished_orders_do_not_block_others() {
    let (admin, left) = start(Some(SECRET));
    let crowd: Vec<TcpStream> = (0..300)
        .map(|_| {
            let mut stream = TcpStream::connect(admin.address()).unwrap();
            let head = format!("Authorization: Bearer {SECRET}\r\nContent-Length: 900\r\n");
            // Some may already have been dropped.
            let _ = write!(stream, "POST /shed HTTP/1.1\r\nHost: x\r\n{head}\r\n{{");
            stream
        })
        .collect();
    assert_eq!(order(admin.address(), r#"{"id":"a","count":1}"#).0, 200);
    for mut stream in crowd {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer);
        let timed_out = ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!timed_out, "it is let go");
    }
    assert_eq!(left.load(Ordering::Relaxed), 9);
}

#[test]
fn the_number_of_remembered_orders_is_bounded() {
    let (admin, left) = start(Some(SECRET));
    order(admin.address(), r#"{"id":"first","count":1}"#);
    for number in 0..REMEMBERED {
        order(admin.address(), &format!(r#"{{"id":"{number}","count":10}}"#));
    }
    left.store(10, Ordering::Relaxed);
    assert_eq!(order(admin.address(), r#"{"id":"0","count":10}"#).1, r#"{"id":"0","accepted":9}"#);
    assert_eq!(order(admin.address(), r#"{"id":"first","count":1}"#).0, 200);
    assert_eq!(left.load(Ordering::Relaxed), 9, "it was forgotten");
}

#[test]
fn a_token_is_long_enough_and_is_not_shown() {
    for bad in ["short", "", "0123456789abcde ", "0123456789abcdeä"] {
        assert!(Token::parse(bad).is_err(), "{bad}");
    }
    assert!(!format!("{:?}", Token::parse(SECRET).unwrap()).contains("0123"));
}
