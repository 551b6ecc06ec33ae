//! Packets that are answered at once, and packets that are not answered.

use crate::support::{Connect as _, settings, start};

#[test]
fn messages_are_sent_back() {
    let server = start(settings());
    let peer = server.peer();
    assert_eq!(peer.ask("msg:123"), "123");
    assert_eq!(peer.ask("msg:a:b"), "a");
    assert_eq!(peer.ask("msgx:hi"), "hi");
    assert_eq!(peer.ask("msg:hi \r\n"), "hi");
    assert_eq!(peer.ask("msg:"), "", "an empty datagram is a reply too");
    assert_eq!(peer.ask("msg: über:x"), " über");
    assert_eq!(peer.reply(b"msg:\xff\x00\xfe").unwrap(), b"\xff\x00\xfe");
}

#[test]
fn one_datagram_is_one_packet() {
    let server = start(settings());
    let peer = server.peer();
    assert_eq!(peer.ask("msg:one\nmsg:two"), "one\nmsg");
    peer.send("msg:1");
    peer.send("msg:2");
    assert_eq!([peer.receive(), peer.receive()], [b"1", b"2"]);
}

#[test]
fn commands_of_other_services_are_not_answered() {
    let server = start(settings());
    let peer = server.peer();
    let token = "0".repeat(36);
    let all = [
        "", " ", "\n", "hello", "MSG:x", "ms", "WHO", "WHERE", "WHY", "QUIT", "login", "token", "brd",
        "brd:x",
    ];
    for packet in all {
        assert_eq!(peer.reply(packet), None, "{packet:?}");
    }
    assert_eq!(peer.reply(format!("brd:{token}:x")), None);
    server.expect_metric("udp_packets_dropped_total{reason=\"unknown\"}", all.len() as u64 + 1);
}

#[test]
fn grammar_errors_are_brief() {
    let server = start(settings());
    let peer = server.peer();
    let token = "0".repeat(36);
    for (packet, error) in [
        ("msg".into(), "error: missing field"),
        ("mcset".into(), "error: missing field"),
        (format!("mcset:{token}:k"), "error: missing field"),
        (format!("mcget:{token}"), "error: missing field"),
        (format!("mcget:{token}:"), "error: missing field"),
        ("mcget:short:k".into(), "error: token not 36 characters"),
        (format!("mcget:{}_:k", &token[1..]), "error: token not of [0-9A-Za-z-]"),
        (format!("mcget:{token}:{}", "k".repeat(65)), "error: key too long"),
        (format!("mcset:{token}:k:{}", "v".repeat(257)), "error: value too long"),
    ] {
        assert_eq!(peer.ask(&packet), error, "{packet:?}");
    }
    server.expect_metric("udp_commands_total{command=\"refused\"}", 9);
}

#[test]
fn packets_above_the_limit_are_refused_whole() {
    let server = start(settings());
    let peer = server.peer();
    let longest = "x".repeat(508);
    assert_eq!(peer.ask(format!("msg:{longest}")), longest);
    assert_eq!(peer.ask(format!("msg:{longest}\r\n")), longest, "a line end does not count");
    for packet in [
        format!("msg:{longest}x"),
        format!("msg:{longest}x\r\n"),
        format!("msg:short:{}", "x".repeat(60_000)),
    ] {
        assert_eq!(peer.ask(&packet), "error: packet too long", "{} bytes", packet.len());
    }
    server.expect_metric("udp_packets_too_long_total", 3);

    let server = start(udp::Settings { packet_bytes_max: 16, ..settings() });
    assert_eq!(server.peer().ask("msg:123456789012"), "123456789012");
    assert_eq!(server.peer().ask("msg:1234567890123"), "error: packet too long");
}

#[test]
fn without_memcached_the_echo_keeps_working() {
    let server = start(settings());
    let peer = server.peer();
    let token = "0".repeat(36);
    assert_eq!(peer.ask(format!("mcget:{token}:k")), "error: cache unavailable");
    assert_eq!(peer.ask(format!("mcset:{token}:k:v")), "error: cache unavailable");
    assert_eq!(peer.ask("msg:echo"), "echo");
    server.expect_metric("udp_backend_failures_total{backend=\"cache\"}", 2);
}
