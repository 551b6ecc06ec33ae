//! Broadcasts through Kafka, and Kafka going away.

use std::fmt::Write;
use std::time::Duration;

use crate::support::{Client, Connect as _, Kafka, Memcached, Running, settings, start};

fn start_with(kafka: &Kafka, memcached: &Memcached) -> Running {
    let backends =
        tcp::Settings { cache: Some(memcached.settings()), kafka: Some(kafka.settings()), ..settings() };
    start_well(backends)
}

/// A server that soon gives up on undelivered broadcasts.
fn start_impatient(kafka: &Kafka, memcached: &Memcached) -> Running {
    let kafka = service::kafka::Settings { message_timeout: Duration::from_secs(1), ..kafka.settings() };
    start_well(tcp::Settings { cache: Some(memcached.settings()), kafka: Some(kafka), ..settings() })
}

/// A server that already receives broadcasts: with a slow Kafka, a server is ready earlier, and misses the first ones.
fn start_well(settings: tcp::Settings) -> Running {
    let server = start(settings);
    server.expect_all_well();
    server
}

#[test]
fn a_broadcast_reaches_all_clients_of_all_instances_and_its_sender() {
    let (kafka, memcached) = (Kafka::start(), Memcached::start());
    let servers = [start_with(&kafka, &memcached), start_with(&kafka, &memcached)];
    let mut clients: Vec<Client> =
        servers.iter().flat_map(|server| [server.client(), server.client()]).collect();
    clients.iter_mut().for_each(Client::expect_nothing_waits);
    let token = clients[0].login();
    clients[0].send(format!("brd:{token}:hello: all"));
    for client in &mut clients {
        assert_eq!(client.packet(), "hello: all");
    }
    // The sender gets nothing else.
    clients[0].expect_nothing_waits();
    servers[0].expect_metric("tcp_broadcasts_total", 1);
    servers[0].expect_metric("tcp_broadcast_deliveries_total", 2);
}

#[test]
fn line_mode_clients_get_broadcasts_as_lines() {
    let (kafka, memcached) = (Kafka::start(), Memcached::start());
    let server = start_with(&kafka, &memcached);
    let (mut lines, mut packets) = (server.client(), server.client());
    lines.send("WHY\n");
    lines.expect("42\n");
    packets.expect_nothing_waits();
    kafka.publish(b"one");
    lines.expect("one\n");
    packets.expect("one");
    kafka.publish(b"two\n");
    lines.expect("two\n");
    packets.expect("two");
    lines.send("WHY\n");
    lines.expect("42\n");
    packets.expect_nothing_waits();
}

#[test]
fn workers_share_a_broadcast() {
    let kafka = Kafka::start();
    let server = start_well(tcp::Settings {
        workers: 3.try_into().unwrap(),
        kafka: Some(kafka.settings()),
        ..settings()
    });
    let mut clients: Vec<Client> = (0..30).map(|_| server.client()).collect();
    clients.iter_mut().for_each(Client::expect_nothing_waits);
    kafka.publish(b"to all");
    for client in &mut clients {
        client.expect("to all");
    }
    server.expect_metric("tcp_broadcast_deliveries_total", 30);
}

#[test]
fn a_broadcast_does_not_block_later_commands() {
    let (kafka, memcached) = (Kafka::start(), Memcached::start());
    let server = start_impatient(&kafka, &memcached);
    let mut client = server.client();
    let token = client.login();
    kafka.down();
    client.send(format!("brd:{token}:lost\nmsg:1\nmcset:{token}:k:v\nmsg:2\n"));
    client.expect("1\nsuccess\n2\nerror: broadcast unavailable\n");
    client.send("msg:3\n");
    client.expect("3\n");
    server.expect_metric("tcp_backend_failures_total{backend=\"broadcast\"}", 1);
}

#[test]
fn many_broadcasts_without_kafka_do_not_block_commands() {
    const COUNT: usize = 500;
    let (kafka, memcached) = (Kafka::start(), Memcached::start());
    let server = start_impatient(&kafka, &memcached);
    let mut client = server.client();
    let token = client.login();
    kafka.down();
    let lost = format!("brd:{token}:lost\n").repeat(COUNT);
    client.send(format!("{lost}msg:1\nmcset:{token}:k:v\n"));
    client.expect("1\nsuccess\n");
    client.expect("error: broadcast unavailable\n".repeat(COUNT));
}

#[test]
fn a_broadcast_needs_a_valid_token() {
    let (kafka, memcached) = (Kafka::start(), Memcached::start());
    let server = start_with(&kafka, &memcached);
    let (mut owner, mut thief) = (server.client(), server.client());
    let token = owner.login();
    assert_eq!(thief.ask(format!("brd:{token}:stolen")), "error: token not valid");
    assert_eq!(thief.ask(format!("brd:{}:made up", "f".repeat(36))), "error: token not valid");
    owner.expect_nothing_waits();
    assert_eq!(server.metric("tcp_broadcasts_total"), 0);
}

#[test]
fn broadcasts_of_one_client_keep_their_order_and_are_unlimited() {
    const COUNT: usize = 500;
    let (kafka, memcached) = (Kafka::start(), Memcached::start());
    let server = start_with(&kafka, &memcached);
    let mut client = server.client();
    let token = client.login();
    let (mut sent, mut expected) = (String::new(), String::new());
    for number in 0..COUNT {
        writeln!(sent, "brd:{token}:{number}").unwrap();
        writeln!(expected, "{number}").unwrap();
    }
    client.send(sent);
    // Records of one client have the same key, so they share a partition and keep their order.
    client.expect(expected);
}

#[test]
fn broadcasts_work_again_after_kafka_returns() {
    let (kafka, memcached) = (Kafka::start(), Memcached::start());
    let server = start_with(&kafka, &memcached);
    let mut client = server.client();
    let token = client.login();
    kafka.down();
    server.expect_degraded("broadcast: ");
    assert_eq!(client.ask("msg:echo"), "echo");
    kafka.up();
    server.expect_all_well();
    client.send(format!("brd:{token}:back"));
    client.expect("back");
}

#[test]
fn a_server_starts_without_its_kafka_and_says_so() {
    let kafka = Kafka::start();
    kafka.down();
    let server = start(tcp::Settings { kafka: Some(kafka.settings()), ..settings() });
    let mut client = server.client();
    assert_eq!(client.ask("msg:echo"), "echo");
    server.expect_degraded("broadcast: ");
    kafka.up();
    server.expect_all_well();
    kafka.publish(b"first");
    client.expect("first");
}

#[test]
fn a_topic_may_be_created_later() {
    let kafka = Kafka::start();
    let mut elsewhere = kafka.settings();
    elsewhere.broadcast_topic = "not-there-yet".into();
    let server = start(tcp::Settings { kafka: Some(elsewhere), ..settings() });
    server.expect_all_well();
}
