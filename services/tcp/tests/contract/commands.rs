//! The commands that need no backend, and how the others fail without one.

use std::collections::BTreeSet;

use crate::support::{Connect as _, eventually, settings, start};

#[test]
fn msg_replies_with_its_second_field() {
    let server = start(settings());
    let mut client = server.client();
    assert_eq!(client.ask("msg:12345"), "12345");
    assert_eq!(client.ask("msg:a:b:c"), "a");
    assert_eq!(client.ask("msgx:hi"), "hi");
    assert_eq!(client.ask("msg:trimmed \t "), "trimmed");
    assert!(client.ask("msg").starts_with("error"));
    client.send("msg:\n");
    client.expect("\n");
}

#[test]
fn where_names_this_server_and_why_answers_42() {
    let server = start(settings());
    let other = start(settings());
    let mut client = server.client();
    assert_eq!(client.ask("WHERE"), server.id());
    assert_eq!(client.ask("WHERE").len(), 36);
    assert_ne!(other.client().ask("WHERE"), server.id());
    assert_eq!(client.ask("WHY"), "42");
}

#[test]
fn who_lists_all_clients_of_all_workers() {
    for workers in [1, 3] {
        let server = start(tcp::Settings { workers: workers.try_into().unwrap(), ..settings() });
        let mut clients: Vec<_> = (0..5).map(|_| server.client()).collect();
        for client in &mut clients {
            client.expect_nothing_waits();
        }
        let expected: BTreeSet<String> =
            clients.iter().map(|client| format!("'{}'", client.address())).collect();
        let listed = |answer: &str| -> BTreeSet<String> {
            let list = answer.strip_prefix("client list: {").unwrap();
            let (list, count) = list.split_once("}\nconnected clients: ").unwrap();
            let listed: BTreeSet<String> = list.split(", ").map(str::to_owned).collect();
            assert_eq!(count.trim_end().parse(), Ok(listed.len()));
            listed
        };
        assert_eq!(listed(&clients[0].ask("WHO")), expected);

        let gone = clients.pop().unwrap();
        let gone_address = format!("'{}'", gone.address());
        drop(gone);
        eventually("the client is taken off the list", || !clients[0].ask("WHO").contains(&gone_address));
    }
}

#[test]
fn quit_closes_after_answering_earlier_commands() {
    let server = start(settings());
    let mut client = server.client();
    client.send("msg:1\nQUIT\nmsg:2\n");
    client.expect("1\n");
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut client.stream, &mut rest).expect("an orderly end");
    assert!(rest.is_empty());
    let mut client = server.client();
    client.send("QUIT");
    client.expect_closed();
    drop(client);
    server.expect_metric("tcp_connections_closed_total{reason=\"quit\"}", 2);
}

#[test]
fn unknown_commands_get_no_reply() {
    let server = start(settings());
    let mut client = server.client();
    client.send("hello\nwho\nWHOM\nMSG:x\nWHY\n");
    client.expect("42\n");
    server.expect_metric("tcp_commands_total{command=\"unknown\"}", 4);
}

#[test]
fn refused_commands_get_an_error_each() {
    let server = start(settings());
    let mut client = server.client();
    let token = "a".repeat(36);
    for command in [
        "msg".into(),
        "brd".into(),
        "mcset".into(),
        "mcget".into(),
        format!("brd:{token}"),
        format!("mcset:{token}"),
        format!("mcget:{token}"),
        format!("mcset:{token}:key"),
        "mcget:short:key".into(),
        "brd:short:value".into(),
        format!("mcget:{token}x:key"),
        format!("mcget:{}:key", token.replace('a', "_")),
        format!("mcget:{token}:{}", "k".repeat(65)),
        format!("mcset:{token}:{}:v", "k".repeat(65)),
        format!("mcset:{token}:k:{}", "v".repeat(257)),
        format!("mcget:{token}:a b"),
    ] {
        let answer = client.ask(&command);
        assert!(answer.starts_with("error"), "{command}: {answer}");
        assert!(!answer.contains("unavailable"), "{command}: {answer}");
    }
    client.expect_nothing_waits();
}

#[test]
fn without_backends_only_commands_that_need_them_fail() {
    let server = start(settings());
    let mut client = server.client();
    let token = "a".repeat(36);
    assert_eq!(client.ask("login"), "error: cache unavailable");
    assert_eq!(client.ask("token"), "error: cache unavailable");
    assert_eq!(client.ask(format!("mcset:{token}:k:v")), "error: cache unavailable");
    assert_eq!(client.ask(format!("mcget:{token}:k")), "error: cache unavailable");
    assert_eq!(client.ask(format!("brd:{token}:v")), "error: broadcast unavailable");
    assert_eq!(client.ask("msg:still here"), "still here");
    server.expect_all_well();
}

#[test]
fn the_admin_port_answers() {
    let server = start(settings());
    assert_eq!(server.page("/healthz").0, 200);
    let _client = server.client();
    server.expect_metric("tcp_connections", 1);
    server.expect_metric("tcp_connections_opened_total", 1);
}

#[test]
fn a_server_for_both_families_knows_ipv4_clients_by_their_ipv4_address() {
    let server = start(tcp::Settings { host: service::settings::Host::ANY, ..settings() });
    let mut client =
        crate::support::Client::connect((std::net::Ipv4Addr::LOCALHOST, server.address.port()).into());
    let expected = format!("client list: {{'{}'}}\nconnected clients: 1", client.address());
    assert_eq!(client.ask("WHO"), expected);
}
