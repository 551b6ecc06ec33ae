//! Packets, lines and their limits.

use std::fmt::Write;

use crate::support::{Connect as _, settings, start};

#[test]
fn a_packet_without_line_end_is_answered_without_one() {
    let server = start(settings());
    let mut client = server.client();
    for round in 0..3 {
        assert_eq!(client.ask(format!("msg:{round}")), round.to_string());
    }
}

#[test]
fn lines_are_answered_with_lines_and_in_order() {
    let server = start(settings());
    let mut client = server.client();
    let (mut lines, mut replies) = (String::new(), String::new());
    for number in 0..2000 {
        writeln!(lines, "msg:{number}").unwrap();
        writeln!(replies, "{number}").unwrap();
    }
    client.send(lines);
    client.expect(replies);
    server.expect_metric("tcp_commands_total{command=\"msg\"}", 2000);
}

#[test]
fn line_mode_is_permanent() {
    let server = start(settings());
    let mut client = server.client();
    assert_eq!(client.ask("msg:first"), "first");
    client.send("msg:second\r\n\r\n  \nWHY\n");
    client.expect("second\n42\n");
    // Bytes after the last line end wait for their own line end.
    client.send("msg:th");
    client.send("ird");
    let mut other = server.client();
    other.expect_nothing_waits();
    client.send("\n");
    client.expect("third\n");
}

#[test]
fn lines_may_come_byte_by_byte() {
    let server = start(settings());
    let mut client = server.client();
    client.send("\n");
    for byte in b"msg:slowly\r\nWHY\r\n" {
        client.send([*byte]);
    }
    client.expect("slowly\n42\n");
}

#[test]
fn a_packet_may_be_as_long_as_the_limit() {
    let server = start(settings());
    let mut client = server.client();
    let content = "x".repeat(512 - 4);
    assert_eq!(client.ask(format!("msg:{content}")), content);
}

#[test]
fn an_overlong_packet_is_refused_once_and_its_excess_is_not_parsed() {
    let server = start(settings());
    for excess in [1, 100, 20_000, 300_000] {
        let mut client = server.client();
        client.send(format!("msg:{}{}", "x".repeat(512 - 4), "QUIT".repeat(excess)));
        client.expect("error: packet too long");
        client.expect_nothing_waits();
    }
    server.expect_metric("tcp_packets_too_long_total", 4);
}

#[test]
fn an_overlong_line_is_refused_once_and_its_excess_is_not_parsed() {
    let server = start(settings());
    for excess in [1, 100, 20_000, 300_000] {
        let mut client = server.client();
        let longest = "x".repeat(512 - 4);
        let excess = "QUIT".repeat(excess);
        client.send(format!("msg:{longest}\r\nmsg:{longest}{excess}\nmsg:after\n"));
        client.expect(format!("{longest}\nerror: packet too long\nafter\n"));
    }
}

#[test]
fn the_error_for_a_long_line_does_not_wait_for_its_end() {
    let server = start(settings());
    let mut client = server.client();
    client.send(format!("WHY\n{}", "x".repeat(600)));
    client.expect("42\nerror: packet too long\n");
    client.send("QUIT\nWHY\n");
    client.expect("42\n");
}

#[test]
fn the_limit_is_a_setting() {
    let server = start(tcp::Settings { packet_bytes_max: 16, ..settings() });
    let mut client = server.client();
    assert_eq!(client.ask("msg:123456789012"), "123456789012");
    assert_eq!(client.ask("msg:1234567890123"), "error: packet too long");
}

#[test]
fn a_client_that_has_finished_sending_gets_all_its_replies() {
    let server = start(settings());
    let mut client = server.client();
    client.send("msg:1\nmsg:2\nmsg:unfinished");
    client.finish_sending();
    client.expect("1\n2\n");
    client.expect_closed();

    let mut client = server.client();
    client.send("x".repeat(600));
    client.finish_sending();
    client.expect("error: packet too long");
    client.expect_closed();
}

#[test]
fn garbage_from_one_client_harms_no_other() {
    let server = start(settings());
    let mut bystander = server.client();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..200 {
        let mut client = server.client();
        let rubbish: Vec<u8> = (0..1500)
            .map(|_| {
                // xorshift: arbitrary bytes, the same ones each time.
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state as u8
            })
            .collect();
        client.send(rubbish);
        client.send("\nQUIT\n");
        client.expect_closed();
        bystander.expect_nothing_waits();
    }
}
