use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use fixtures::{Sockets, eventually, kernel_memory, settles};

use crate::support::{Ground, Replica, ask_half_closed, ask_with};

#[test]
fn a_client_that_does_not_read_skips_whole_events_and_stays() {
    let ground = Ground::new();
    let replica = Replica::start(&ground, &[]);
    let (slow, quick) = (ground.pair(), ground.pair());
    let mut slow = replica.open(&slow);
    let mut quick = replica.open(&quick);
    let mut last = quick.next().unwrap().second();
    eventually("events are skipped", || {
        let next = quick.next().unwrap().second();
        assert_eq!(next, last + 1, "the others get each");
        last = next;
        replica.metric("stream_events_skipped_total") >= 3
    });
    assert_eq!(replica.metric("users"), 2);
    // It gets the rest of the started event, and then the current ones: whole events, with some skipped.
    let first = slow.next().unwrap().second();
    let second = slow.next().unwrap().second();
    let third = slow.next().unwrap().second();
    assert!(second > first + 1 || third > second + 1, "{first} {second} {third}");
    assert_eq!(slow.next().unwrap().second(), third + 1, "now it keeps up");
}

#[test]
fn clients_that_do_not_read_use_bounded_memory() {
    const CLIENTS: usize = 20;
    let ground = Ground::new();
    let replica = Replica::start(&ground, &[]);
    let clients: Vec<_> = (0..CLIENTS).map(|_| replica.open(&ground.pair())).collect();
    let skipped = replica.metric("stream_events_skipped_total");
    eventually("all skip", || replica.metric("stream_events_skipped_total") >= skipped + 3 * CLIENTS as u64);
    let held = kernel_memory(Sockets::AcceptedAt(replica.address));
    assert_eq!(held.len(), CLIENTS);
    let most = held.iter().max().unwrap();
    // Twice the configured buffer, and a segment.
    assert!(*most <= 2 * 128 * 1024 + 64 * 1024, "{most} bytes");
    drop(clients);
    replica.expect_metric("users", 0);
}

#[test]
fn a_client_that_ignores_the_notice_is_cut_off_and_frees_its_pair() {
    const TOKEN: &str = "correct-horse-battery";
    let ground = Ground::new();
    let replica = Replica::start(&ground, &[("SHED_TOKEN", TOKEN), ("DRAIN_GRACE", "200ms")]);
    let pair = ground.pair();
    let mut client = replica.open(&pair);
    let skipped = replica.metric("stream_events_skipped_total");
    eventually("it does not read", || replica.metric("stream_events_skipped_total") > skipped);
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    let answer = ask_with(replica.admin, "POST", "/shed", &token, r#"{"id":"a","count":1}"#);
    assert_eq!(answer.0, 200);
    replica.expect_metric("stream_ended_total{by=\"shed\"}", 1);
    replica.expect_metric("users", 0);
    settles("its pair is free", "(nil)".to_owned(), || ground.owner(&pair));
    // Only the kernel's bytes arrive, without the end of the answer.
    while let Ok(event) = client.try_next() {
        assert!(event.is_some(), "the answer is cut off");
    }
}

#[test]
fn a_client_that_half_closes_is_gone_and_holds_nothing() {
    let ground = Ground::new();
    let replica = Replica::start(&ground, &[("LOCK_RELEASE", "true")]);
    // Right after the request, and after the stream was opened.
    let (pair, other) = (ground.pair(), ground.pair());
    let request = format!("GET {} HTTP/1.1\r\nHost: t\r\n\r\n", crate::support::path(&other));
    let mut at_once = TcpStream::connect(replica.address).unwrap();
    at_once.write_all(request.as_bytes()).unwrap();
    at_once.shutdown(Shutdown::Write).unwrap();
    assert!(at_once.read_to_end(&mut Vec::new()).is_ok(), "the other side is closed, too");
    let client = replica.open(&pair);
    client.close_sending();
    replica.expect_metric("users", 0);
    settles("nothing is left", ["0"].map(String::from).to_vec(), || ground.redis.say(&["DBSIZE"]));
    // A short answer still arrives.
    let (status, _, body) = ask_half_closed(replica.address, "/ping");
    assert_eq!((status, body.as_str()), (200, "stream-0"));
}

#[test]
fn endless_requests_and_short_lived_clients_do_not_block_others() {
    let ground = Ground::new();
    let replica = Replica::start(&ground, &[("LOCK_RELEASE", "true")]);
    let half_sent: Vec<TcpStream> = (0..200)
        .map(|_| {
            let mut stream = TcpStream::connect(replica.address).unwrap();
            stream.write_all(b"GET /stream/x HTTP/1.1\r\nHost: t").unwrap();
            stream
        })
        .collect();
    let pair = ground.pair();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(replica.address).unwrap();
        let path = crate::support::path(&pair);
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n").as_bytes()).unwrap();
    }
    replica.expect_metric("users", 0);
    eventually("the pair can be opened", || {
        let mut client = replica.connect(&pair);
        client.next().unwrap().id.is_some()
    });
    drop(half_sent);
}
