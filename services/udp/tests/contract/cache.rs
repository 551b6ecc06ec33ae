//! Values in memcached, and memcached going away.

use std::net::TcpListener;
use std::time::Duration;

use crate::support::{Connect as _, Memcached, Running, eventually, settings, start, start_with};

/// A token issued by `tcp`, to an address that no peer here has.
const TOKEN: &str = "123e4567-e89b-12d3-a456-426614174000";

fn with_token(memcached: &Memcached) -> Running {
    memcached.put(TOKEN, "192.0.2.1:1234");
    start_with(memcached)
}

#[test]
fn values_are_stored_and_fetched_with_any_existing_token() {
    let memcached = Memcached::start();
    let server = with_token(&memcached);
    let peer = server.peer();
    assert_eq!(peer.ask(format!("mcset:{TOKEN}:colour:blue")), "success");
    assert_eq!(server.peer().ask(format!("mcget:{TOKEN}:colour")), "blue");
    assert_eq!(peer.ask(format!("mcset:{TOKEN}:time:10:30")), "success");
    assert_eq!(peer.ask(format!("mcget:{TOKEN}:time\n")), "10:30");
    assert_eq!(peer.ask(format!("mcget:{TOKEN}:nothing")), "error: key not found");
    let (key, value) = ("k".repeat(64), "v".repeat(256));
    assert_eq!(peer.ask(format!("mcset:{TOKEN}:{key}:{value}")), "success");
    assert_eq!(peer.ask(format!("mcget:{TOKEN}:{key}")), value);

    let unknown = "0".repeat(36);
    assert_eq!(peer.ask(format!("mcget:{unknown}:colour")), "error: token not valid");
    assert_eq!(peer.ask(format!("mcset:{unknown}:colour:red")), "error: token not valid");
    assert_eq!(peer.ask(format!("mcget:{TOKEN}:colour")), "blue");
}

#[test]
fn a_stored_value_never_passes_as_a_token() {
    let memcached = Memcached::start();
    let server = with_token(&memcached);
    let peer = server.peer();
    let key = "k".repeat(34);
    assert_eq!(peer.ask(format!("mcset:{TOKEN}:{key}:anything")), "success");
    assert_eq!(peer.ask(format!("mcget:c-{key}:{key}")), "error: token begins with c-");
    assert_eq!(peer.ask(format!("mcset:c-{key}:k:v")), "error: token begins with c-");
}

#[test]
fn a_token_is_found_whichever_server_has_it() {
    let memcached: [Memcached; 3] = Memcached::start_several();
    let host = memcached.each_ref().map(Memcached::host).join(",");
    let cache = service::cache::Settings { host, ..memcached[0].settings() };
    memcached[crc32fast::hash(TOKEN.as_bytes()) as usize % 3].put(TOKEN, "192.0.2.1:1234");
    let server = start(udp::Settings { cache: Some(cache), ..settings() });
    server.expect_all_well();
    let peer = server.peer();
    for number in 0..10 {
        assert_eq!(peer.ask(format!("mcset:{TOKEN}:k{number}:{number}")), "success");
        assert_eq!(peer.ask(format!("mcget:{TOKEN}:k{number}")), number.to_string());
    }
}

#[test]
fn nothing_is_injected_into_memcached() {
    let memcached = Memcached::start();
    let server = with_token(&memcached);
    let peer = server.peer();
    for key in ["k 0 360 1", "k\rset c-evil 0 0 4\r", "k\n\nx", "k\0", "k\tx", "\x7f", " "] {
        for packet in [format!("mcset:{TOKEN}:{key}:evil"), format!("mcget:{TOKEN}:{key}:")] {
            assert_eq!(peer.ask(&packet), "error: key has space or control", "{packet:?}");
        }
    }
    let spaced = format!("{} 0 0 1\r\n", "a".repeat(28));
    assert_eq!(peer.ask(format!("mcget:{spaced}:k")), "error: token not of [0-9A-Za-z-]");
    assert_eq!(peer.ask(format!("mcget:{TOKEN}:evil")), "error: key not found");

    // A value is data: any content comes back.
    assert_eq!(peer.ask(format!("mcset:{TOKEN}:data:x\r\nset c-evil 0 0 4\r\nEN:D")), "success");
    assert_eq!(peer.ask(format!("mcget:{TOKEN}:data")), "x\r\nset c-evil 0 0 4\r\nEN:D");
    assert_eq!(peer.ask(format!("mcget:{TOKEN}:evil")), "error: key not found");
}

#[test]
fn a_reply_is_at_most_256_bytes_longer_than_its_request() {
    let memcached = Memcached::start();
    let server = with_token(&memcached);
    let peer = server.peer();
    let request = format!("mcget:{TOKEN}:k");
    let longest = "v".repeat(request.len() + 256);
    memcached.put("c-k", &longest);
    assert_eq!(peer.ask(&request), longest);
    memcached.put("c-k", &format!("{longest}v"));
    assert_eq!(peer.ask(&request), "error: value too long");
}

#[test]
fn two_servers_cannot_be_made_to_answer_each_other_for_ever() {
    let memcached = Memcached::start();
    let server = with_token(&memcached);
    let peer = server.peer();
    let request = format!("mcget:{TOKEN}:loop");
    assert_eq!(peer.ask(format!("mcset:{TOKEN}:loop:{request}")), "success");
    assert_eq!(peer.ask(&request), "error: value is a request");
    // No other reply is a request that is answered.
    for harmless in ["success", "error: key not found", "msg", ""] {
        assert!(
            matches!(peer.reply(harmless).as_deref(), None | Some(b"error: missing field")),
            "{harmless}"
        );
    }
    assert_eq!(peer.ask(format!("mcset:{TOKEN}:text:mcget is a word")), "success");
    assert_eq!(peer.ask(format!("mcget:{TOKEN}:text")), "mcget is a word");
}

#[test]
fn the_cache_works_again_after_memcached_returns() {
    let mut memcached = Memcached::start();
    let server = with_token(&memcached);
    let peer = server.peer();
    assert_eq!(peer.ask(format!("mcset:{TOKEN}:k:v")), "success");

    memcached.down();
    assert_eq!(peer.ask(format!("mcget:{TOKEN}:k")), "error: cache unavailable");
    assert_eq!(peer.ask("msg:echo"), "echo");
    server.expect_degraded("cache: ");

    memcached.up();
    memcached.put(TOKEN, "192.0.2.1:1234");
    eventually("values are stored again", || peer.ask(format!("mcset:{TOKEN}:k:v")) == "success");
    assert_eq!(peer.ask(format!("mcget:{TOKEN}:k")), "v");
    server.expect_all_well();
}

#[test]
fn a_silent_memcached_does_not_block_the_echo() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let cache =
        service::cache::Settings { host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() };
    let server =
        start(udp::Settings { cache: Some(cache), cache_timeout: Duration::from_millis(500), ..settings() });
    let peer = server.peer();
    for _ in 0..20 {
        peer.send(format!("mcget:{TOKEN}:k"));
    }
    peer.send("msg:echo");
    let mut replies: Vec<_> = (0..21).map(|_| peer.receive()).collect();
    replies.sort_unstable();
    assert_eq!(replies.remove(0), b"echo");
    assert!(replies.iter().all(|reply| reply == b"error: cache unavailable"));
}
