//! Streams of events: against our own service, and servers that misbehave.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use fixtures::{Redis, Running};
use parking_lot::Mutex;
use platform::event::EventKind;
use scenario::{Policy, Protocol, Reconnect, Stay};
use service::{Shutdown, settings::Env};

use crate::server::{Load, Server, receive, request, run, send, wait_for_end};

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";

fn sse(address: SocketAddr, connections: u64) -> Load {
    request(address, connections).with(|scenario| {
        scenario.protocol = Protocol::Sse;
        scenario.messages.every = None;
    })
}

/// A server that answers like `profiles` if only a load's pairs are bound.
fn profiles() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 1024];
            let read = stream.read(&mut request).unwrap_or(0);
            let text = String::from_utf8_lossy(&request[..read]).into_owned();
            let id =
                text.split(' ').nth(1).and_then(|path| path.strip_prefix("/profiles/")).unwrap_or_default();
            let body = format!(r#"{{"id":"{id}","users":["{}"]}}"#, id.replace("-9000-", "-8000-"));
            // The client may be gone.
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    address
}

/// Our own service, one replica.
fn service(redis: &Redis, name: &str, variables: &[(&str, &str)]) -> Running {
    let at = redis.settings();
    let env: Env = [
        ("HOST", "127.0.0.1".to_owned()),
        ("PORT", "0".to_owned()),
        ("ADMIN_PORT", "0".to_owned()),
        ("POD_NAME", name.to_owned()),
        ("REDIS_HOST", at.host),
        ("REDIS_PORT", at.port.to_string()),
        ("PROFILES_URL", format!("http://{}", profiles())),
        ("SIGTERM_TIMEOUT", "0".to_owned()),
        ("DRAIN_SPREAD", "0".to_owned()),
    ]
    .into_iter()
    .chain(variables.iter().map(|(name, value)| (*name, (*value).to_owned())))
    .collect();
    let shutdown = Shutdown::new();
    let server =
        ::stream::Server::bind(::stream::Settings::from_env(&env).unwrap(), shutdown.clone()).unwrap();
    let addresses = (server.bound().address(), server.bound().admin_address());
    let running =
        Running::start(addresses, server.bound().readiness().clone(), shutdown, move || server.run());
    running.expect_all_well();
    running
}

#[test]
fn our_own_service_holds_streams_and_refused_locks_are_counted_separately() {
    let redis = Redis::start();
    let replicas = ["stream-0", "stream-1"].map(|name| service(&redis, name, &[]));
    let load = sse(replicas[0].address, 5)
        .with(|scenario| {
            // The fifth client asks for the first one's pair.
            scenario.pairs = Some(4);
            scenario.reconnect = Reconnect { policy: Some(Policy::None), ..Reconnect::default() };
        })
        .options(|options| options.targets = replicas.iter().map(|replica| replica.address).collect());
    let (summary, _) = run(load.until(|totals| totals.events >= 4 * 2));
    let totals = summary.totals;
    assert_eq!((totals.connected, totals.refused, totals.streams_refused, totals.lost), (4, 1, 1, 0));
    assert_eq!((totals.eof, totals.closed), (0, 4));
    assert_eq!((totals.messages_due, totals.messages_sent), (0, 0));
    assert!(totals.events >= 4 * 2 && totals.bytes_received > totals.events << 20, "{totals:?}");
    assert_eq!(totals.events_missed, 0);
    assert_eq!(summary.event_gap.count, totals.events - 4);
    let mut shares: Vec<_> =
        summary.shares.iter().map(|share| (share.replica.as_str(), share.connections)).collect();
    shares.sort_unstable();
    assert_eq!(shares, [("stream-0", 2), ("stream-1", 2)]);
    for replica in &replicas {
        replica.expect_metric("users", 0);
    }
}

#[test]
fn pairs_that_keep_changing_hands_have_one_holder_at_a_time() {
    let redis = Redis::start();
    let terms = [("LOCK_TTL", "2"), ("LOCK_REFRESH", "200ms")];
    let replicas = ["stream-0", "stream-1"].map(|name| service(&redis, name, &terms));
    // Three clients for each pair, so that the same client also uses both replicas.
    let load = sse(replicas[0].address, 24)
        .with(|scenario| {
            scenario.pairs = Some(8);
            let (at_least, at_most) = (Duration::from_millis(1100), Duration::from_secs(3));
            scenario.stay = Some(Stay { at_least, at_most });
            let delay = Some(Duration::from_millis(50));
            scenario.reconnect = Reconnect { delay, jitter: delay, ..Reconnect::default() };
        })
        .options(|options| {
            options.targets = replicas.iter().map(|replica| replica.address).collect();
            options.workers = Some(2);
        });
    let (summary, _) =
        run(load
            .until(|totals| totals.connected >= 2 * 8 && totals.closed >= 8 && totals.streams_refused > 0));
    let totals = summary.totals;
    assert_eq!(totals.pairs_held_twice, 0, "{totals:?}");
    // Each pair is taken again and again: for at most three seconds, and two more until it is free.
    assert!(totals.connected >= 2 * 8 && totals.closed >= 8 && totals.streams_refused > 0, "{totals:?}");
}

#[test]
fn a_pair_held_twice_is_counted_and_reported_across_workers() {
    let server = Server::start(|mut stream: TcpStream, number| {
        receive(&mut stream);
        send(&mut stream, HEAD);
        send(&mut stream, b"id:1\ndata:a\n\n");
        // The third client's stream ends as soon as it has begun; the others last.
        if number < 2 {
            wait_for_end(&mut stream);
        }
    });
    let load = sse(server.address(), 2)
        .with(|scenario| {
            scenario.pairs = Some(1);
            scenario.reconnect = Reconnect { policy: Some(Policy::None), ..Reconnect::default() };
        })
        .options(|options| options.workers = Some(2));
    let (summary, events) = run(load.until(|totals| totals.connected == 2 && totals.events == 2));
    assert_eq!((summary.totals.connected, summary.totals.pairs_held_twice), (2, 1));
    let told = events.iter().filter_map(|event| match event {
        EventKind::Warning { message } if message.contains("were held by two at once") => Some(message),
        _ => None,
    });
    assert_eq!(told.count(), 1, "{events:?}");
    // Without shared pairs, nothing is compared.
    let (summary, _) = run(sse(server.address(), 2).with(|scenario| {
        scenario.reconnect = Reconnect { policy: Some(Policy::None), ..Reconnect::default() };
    }));
    assert_eq!(summary.totals.pairs_held_twice, 0);
}

#[test]
fn a_returning_client_sends_its_last_id_and_missed_events_are_counted() {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    let server = Server::start(move |mut stream: TcpStream, number| {
        let Some(request) = receive(&mut stream) else { return };
        seen.lock().push(String::from_utf8_lossy(&request).into_owned());
        send(&mut stream, HEAD);
        if number == 0 {
            // 12 and 13 are missing here, and 15 to 19 between the connections.
            send(&mut stream, b"id:10\ndata:a\n\nid:11\ndata:b\n\nid:14\ndata:c\n\nretry:20\n: go\n\n");
            return;
        }
        send(&mut stream, b"id:20\nevent:other\ndata:d\n\n");
        wait_for_end(&mut stream);
    });
    let load = sse(server.address(), 1).with(|scenario| {
        // The server sets the delay.
        scenario.reconnect = Reconnect { delay: Some(Duration::from_hours(1)), ..Reconnect::default() };
        scenario.path = Some("/events/{n}?user={user}".to_owned());
    });
    let (summary, _) = run(load.until(|totals| totals.events == 4));
    let totals = summary.totals;
    assert_eq!((totals.events, totals.events_missed, totals.notices), (4, 2 + 5, 1));
    assert_eq!((totals.connected, totals.reconnected, totals.lost), (2, 1, 0));
    assert_eq!(summary.event_gap.count, 3);
    let requests = requests.lock();
    assert!(requests[0].starts_with("GET /events/1?user=00000000-0000-4000-8000-000000000001 HTTP/1.1\r\n"));
    assert!(!requests[0].contains("Last-Event-ID"), "{requests:?}");
    assert!(requests[1].contains("\r\nLast-Event-ID: 14\r\n"), "{requests:?}");
}

#[test]
fn streams_that_end_without_notice_are_lost_and_a_last_chunk_ends_one() {
    let server = Server::start(|mut stream: TcpStream, number| {
        receive(&mut stream);
        if number == 0 {
            send(&mut stream, HEAD);
            return;
        }
        send(
            &mut stream,
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n\
              8\r\ndata:a\n\n\r\n0\r\n\r\n",
        );
        // The connection stays; the stream is over.
        wait_for_end(&mut stream);
    });
    let load = sse(server.address(), 2).with(|scenario| {
        scenario.reconnect = Reconnect { policy: Some(Policy::None), ..Reconnect::default() };
    });
    let (summary, _) = run(load.until(|totals| totals.eof == 2));
    let totals = summary.totals;
    assert_eq!((totals.connected, totals.eof, totals.lost, totals.events), (2, 2, 2, 1));
}

#[test]
fn a_refusal_without_a_length_is_recognised() {
    let server = Server::start(|mut stream: TcpStream, _| {
        receive(&mut stream);
        send(&mut stream, HEAD);
        send(&mut stream, b"data:{\"host\":\"h\",\"message\":\"Unable to acquire lock\"}\n\n");
    });
    let load = sse(server.address(), 2).with(|scenario| {
        scenario.reconnect = Reconnect { policy: Some(Policy::None), ..Reconnect::default() };
    });
    let (summary, _) = run(load.until(|totals| totals.eof_after_notice == 2));
    let totals = summary.totals;
    assert_eq!((totals.streams_refused, totals.events, totals.lost, totals.eof_after_notice), (2, 0, 0, 2));
}

#[test]
fn answers_that_are_not_streams_are_reported() {
    for (answer, words, refused) in [
        (&b"HTTP/1.1 404 Not Found\r\n\r\n"[..], "the stream at 127.0.0.1", true),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>", "not text/event-stream", false),
        (b"SSH-2.0-x\r\n", "is not HTTP", false),
    ] {
        let server = Server::start(move |mut stream: TcpStream, _| {
            receive(&mut stream);
            send(&mut stream, answer);
            wait_for_end(&mut stream);
        });
        let load = sse(server.address(), 2).with(|scenario| {
            scenario.reconnect = Reconnect { policy: Some(Policy::None), ..Reconnect::default() };
        });
        let (summary, _) = run(load);
        let totals = summary.totals;
        assert_eq!((totals.refused, totals.connect_errors), if refused { (2, 0) } else { (0, 2) });
        let error = summary.first_error.unwrap();
        assert!(error.contains(words), "{error}");
    }
}

/// Otherwise the replica of a stream that ends before its first event would never be known.
#[test]
fn the_replica_is_known_as_soon_as_it_answers() {
    let server = Server::start(|mut stream: TcpStream, _| {
        receive(&mut stream);
        send(
            &mut stream,
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nHost-Name: stream-7\r\n\r\n",
        );
        wait_for_end(&mut stream);
    });
    let (summary, _) = run(sse(server.address(), 3).until(|totals| totals.connected == 3));
    let shares: Vec<_> =
        summary.shares.iter().map(|share| (share.replica.as_str(), share.connections)).collect();
    assert_eq!((shares, summary.totals.events), (vec![("stream-7", 3)], 0));
}
