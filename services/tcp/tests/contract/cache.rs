//! Tokens and values in memcached, and memcached going away.

use std::fmt::Write;
use std::net::TcpListener;

use crate::support::{Client, Memcached, Running, eventually, settings, start};

fn start_with(memcached: &Memcached) -> Running {
    start(tcp::Settings { cache: Some(memcached.settings()), ..settings() })
}

#[test]
fn values_are_stored_and_fetched() {
    let memcached = Memcached::start();
    let server = start_with(&memcached);
    let mut client = server.client();
    let token = client.login();
    assert_eq!(client.ask(format!("mcset:{token}:colour:blue")), "success");
    assert_eq!(client.ask(format!("mcget:{token}:colour")), "blue");
    assert_eq!(client.ask(format!("mcset:{token}:time:10:30")), "success");
    assert_eq!(client.ask(format!("mcget:{token}:time")), "10:30");
    assert_eq!(client.ask(format!("mcget:{token}:nothing")), "error: key not found");
    let (key, value) = ("k".repeat(64), "v".repeat(256));
    assert_eq!(client.ask(format!("mcset:{token}:{key}:{value}")), "success");
    assert_eq!(client.ask(format!("mcget:{token}:{key}")), value);
}

#[test]
fn every_login_gives_another_token_and_all_of_them_hold() {
    let memcached = Memcached::start();
    let server = start_with(&memcached);
    let mut client = server.client();
    let (first, second) = (client.login(), client.ask("token"));
    assert_ne!(first, second);
    assert_eq!(client.ask(format!("mcset:{first}:k:v")), "success");
    assert_eq!(client.ask(format!("mcget:{second}:k")), "v");
}

#[test]
fn a_token_holds_for_its_address_alone() {
    let memcached = Memcached::start();
    let server = start_with(&memcached);
    let (mut owner, mut thief) = (server.client(), server.client());
    let token = owner.login();
    assert_eq!(thief.ask(format!("mcget:{token}:k")), "error: token not valid");
    assert_eq!(thief.ask(format!("mcset:{token}:k:v")), "error: token not valid");
    assert_eq!(owner.ask(format!("mcget:{}:k", "0".repeat(36))), "error: token not valid");
    assert_eq!(owner.ask(format!("mcset:{token}:k:v")), "success");
}

#[test]
fn nothing_is_injected_into_memcached() {
    let memcached = Memcached::start();
    let server = start_with(&memcached);
    let mut client = server.client();
    let token = client.login();
    client.send("\n");
    for key in ["k 0 360 1", "k\rset c-evil 0 0 4\r", "k\0", "k\tx", "\x7f", " "] {
        client.send(format!("mcset:{token}:{key}:evil\n"));
        assert!(client.line().starts_with("error: key may not"), "{key:?}");
        client.send(format!("mcget:{token}:{key}:\n"));
        assert!(client.line().starts_with("error: key may not"), "{key:?}");
    }
    let spaced = format!("{} 0 0 1\r", "a".repeat(28));
    client.send(format!("mcget:{spaced}:k\n"));
    assert!(client.line().starts_with("error: token"));
    client.send(format!("mcget:{token}:evil\n"));
    assert_eq!(client.line(), "error: key not found");

    // A value is data: whatever is in it comes back.
    client.send(format!("mcset:{token}:data:x\rset c-evil 0 0 4\rEN\n"));
    assert_eq!(client.line(), "success");
    client.send(format!("mcget:{token}:data\nmcget:{token}:evil\n"));
    assert_eq!(client.line(), "x\rset c-evil 0 0 4\rEN");
    assert_eq!(client.line(), "error: key not found");
}

#[test]
fn replies_keep_the_order_of_the_commands() {
    let memcached = Memcached::start();
    let server = start_with(&memcached);
    let mut client = server.client();
    let token = client.login();
    let mut sent = String::new();
    let mut expected = String::new();
    for number in 0..200 {
        write!(sent, "mcset:{token}:k:{number}\nmsg:{number}\nmcget:{token}:k\nWHY\n").unwrap();
        write!(expected, "success\n{number}\n{number}\n42\n").unwrap();
    }
    client.send(sent);
    client.finish_sending();
    client.expect(expected);
    client.expect_closed();
}

#[test]
fn memcached_may_go_and_come_back() {
    let mut memcached = Memcached::start();
    let server = start_with(&memcached);
    let mut client = server.client();
    let token = client.login();
    assert_eq!(client.ask(format!("mcset:{token}:k:v")), "success");

    memcached.down();
    assert_eq!(client.ask(format!("mcget:{token}:k")), "error: cache unavailable");
    assert_eq!(client.ask("login"), "error: cache unavailable");
    assert_eq!(client.ask("msg:echo"), "echo");
    let (status, body) = server.page("/readyz");
    assert_eq!(status, 200);
    assert!(body.starts_with("ready\ndegraded: cache: "), "{body}");

    memcached.up();
    eventually("tokens are issued again", || client.ask("login").len() == 36);
    assert_eq!(client.ask(format!("mcget:{token}:k")), "error: token not valid");
    eventually("nothing is degraded any more", || server.page("/readyz") == (200, "ready\n".into()));
}

#[test]
fn a_server_starts_without_its_memcached() {
    let mut memcached = Memcached::start();
    memcached.down();
    let server = start_with(&memcached);
    assert_eq!(server.client().ask("login"), "error: cache unavailable");
    memcached.up();
    let mut client = server.client();
    eventually("tokens are issued", || client.ask("login").len() == 36);
}

#[test]
fn a_memcached_that_never_answers_costs_a_deadline_and_not_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let cache =
        service::cache::Settings { host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() };
    let server = start(tcp::Settings { cache: Some(cache), ..settings() });
    let mut clients: Vec<Client> = (0..20).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send("login\nmsg:behind\n");
    }
    for client in &mut clients {
        client.expect("error: cache unavailable\nbehind\n");
    }
}
