//! The cookie: the same replica through every gateway, and another one only if necessary.

use platform::endpoints::Endpoint;

use super::{Client, Message, beside, gateway, mirror, write};
use crate::support::{Readyz, Replica, Running, endpoint, wait_until};

/// The name of the replica that answered.
fn who(answer: &Message) -> String {
    answer.text().lines().next().unwrap().to_owned()
}

/// The value of the gateway's cookie, if an answer sets one.
fn cookie(answer: &Message) -> Option<String> {
    let set = answer.headers("set-cookie").find_map(|cookie| cookie.strip_prefix("route="))?;
    let (value, attributes) = set.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax");
    assert_eq!(answer.header("cache-control"), Some("private"));
    Some(value.to_owned())
}

fn ask(running: &Running, path: &str, cookie: &str) -> Message {
    Client::new(running.address).ask(&format!("GET {path} HTTP/1.1\r\nCookie: x=y; route={cookie}"))
}

const STREAMS: [&str; 3] = ["stream-0", "stream-1", "stream-2"];
const DIRECTORIES: [&str; 2] = ["directory-0", "directory-1"];

fn replicas<const N: usize>(names: [&'static str; N]) -> ([Replica; N], Vec<Endpoint>) {
    let replicas = names.map(mirror);
    let endpoints =
        names.iter().zip(&replicas).map(|(name, replica)| endpoint(name, replica.address)).collect();
    (replicas, endpoints)
}

#[test]
fn every_gateway_gives_a_client_the_same_replicas() {
    let (_streams, streams) = replicas(STREAMS);
    let (_directories, directories) = replicas(DIRECTORIES);
    let (first, file) = gateway(&[("stream", &streams), ("directory", &directories)], &[]);
    let second = beside(&file, &[]);

    let begins = super::get(first.address, "/");
    let key = cookie(&begins).expect("a new client gets a cookie");
    assert!(!key.contains(&who(&begins)) && !key.contains("127"), "{key}");
    // The other service is added.
    let other = ask(&second, "/main/", &key);
    let both = cookie(&other).expect("a new service gets a key");
    assert!(both.contains(&key) && both.len() == 2 * key.len() + 1, "{both}");
    for running in [&first, &second] {
        for _ in 0..20 {
            let (stream, directory) = (ask(running, "/", &both), ask(running, "/main/x", &both));
            assert_eq!((who(&stream), who(&directory)), (who(&begins), who(&other)));
            assert_eq!((cookie(&stream), cookie(&directory)), (None, None));
        }
    }
    // Clients without a cookie are spread.
    let spread = || who(&super::get(second.address, "/"));
    wait_until("each replica was chosen", || {
        let mut names: Vec<_> = (0..64).map(|_| spread()).collect();
        names.sort();
        names.dedup();
        names == STREAMS
    });
}

#[test]
fn a_cookie_without_a_valid_replica_is_replaced() {
    let (_streams, streams) = replicas(STREAMS);
    let (running, _file) = gateway(&[("stream", &streams), ("directory", &[])], &[]);
    let long = "0123456789abcdef.".repeat(200);
    let address = streams[0].address.to_string();
    for forged in ["", "stream-0", "0", "0123456789abcdef", "%00", "../..", &long, &address, "\u{80}\u{ff}"] {
        let answer = ask(&running, "/", forged);
        assert_eq!(answer.status(), 200, "{forged:?}");
        let key = cookie(&answer).expect("a cookie in its place");
        assert_eq!(key.len(), 16, "{forged:?} leaves none of itself behind");
        assert_eq!(who(&ask(&running, "/", &key)), who(&answer));
    }
}

#[test]
fn a_client_moves_when_its_replica_may_not_keep_it() {
    let (_streams, mut streams) = replicas(STREAMS);
    let (_directories, directories) = replicas(DIRECTORIES);
    let health: Vec<Readyz> = STREAMS.iter().map(|_| Readyz::new(200)).collect();
    for (endpoint, health) in streams.iter_mut().zip(&health) {
        endpoint.health = Some(health.address);
    }
    let (running, file) = gateway(&[("stream", &streams), ("directory", &directories)], &[]);
    for name in STREAMS {
        running.expect_backend(name, "health", "healthy");
    }
    let other = cookie(&super::get(running.address, "/main/")).unwrap();
    let begins = ask(&running, "/", &other);
    let (mut at, mut key) = (who(&begins), cookie(&begins).unwrap());
    let mut version = 1;
    let expect_move = |why: &str, at: &mut String, key: &mut String| {
        wait_until(why, || who(&ask(&running, "/", key)) != *at);
        let answer = ask(&running, "/", key);
        let new = cookie(&answer).expect("a new cookie");
        assert!(new.contains(&other), "{why}: the other service's replica is kept");
        assert_eq!(new.len(), key.len(), "{why}: the old key is gone");
        (*at, *key) = (who(&answer), new);
    };
    let index = |at: &str| STREAMS.iter().position(|name| *name == at).unwrap();

    health[index(&at)].answer(503);
    let sick = index(&at);
    expect_move("unhealthy", &mut at, &mut key);
    health[sick].answer(200);
    running.expect_backend(STREAMS[sick], "health", "healthy");

    let drains = index(&at);
    streams[drains].draining = true;
    version += 1;
    write(&file, version, &[("stream", &streams), ("directory", &directories)]);
    expect_move("draining", &mut at, &mut key);
    streams[drains].draining = false;

    let gone = index(&at);
    let mut left = streams.clone();
    left.remove(gone);
    version += 1;
    write(&file, version, &[("stream", &left), ("directory", &directories)]);
    expect_move("gone", &mut at, &mut key);
    assert_eq!(who(&ask(&running, "/", &key)), at, "and stays");
}

#[test]
fn without_a_cookie_nothing_is_set_or_taken() {
    let (_streams, streams) = replicas(STREAMS);
    let none = [("STICKY_COOKIE", "none")];
    let (running, _file) = gateway(&[("stream", &streams), ("directory", &[])], &none);
    let answer = ask(&running, "/", "mine");
    assert_eq!(cookie(&answer), None);
    assert!(answer.text().contains("cookie: x=y; route=mine\r\n"), "{}", answer.text());
}
