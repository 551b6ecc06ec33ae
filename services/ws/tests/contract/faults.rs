//! Clients that break the protocol get the codes of RFC 6455, section 7.4.1.

use std::io::Write as _;

use fixtures::Redis;

use crate::support::Ws;

/// A frame of a client: its first byte, and a payload of less than 64 KiB under a mask of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    if payload.len() < 126 {
        frame.push(0x80 | payload.len() as u8);
    } else {
        frame.push(0x80 | 0x7e);
        frame.extend((payload.len() as u16).to_be_bytes());
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

#[test]
fn a_client_that_breaks_the_protocol_gets_a_reason() {
    let redis = Redis::start();
    let ws = Ws::start(&redis, &[("MAX_MESSAGE", "1000"), ("RETRY_AFTER", "600")]);
    let cases: &[(&str, u16, &[&[u8]])] = &[
        ("no mask", 1002, &[b"\x81\x02hi"]),
        ("a reserved opcode", 1002, &[&frame(0x83, b"")]),
        ("a reserved bit", 1002, &[&frame(0xc1, b"x")]),
        ("a ping in pieces", 1002, &[&frame(0x09, b"")]),
        ("a long ping", 1002, &[&frame(0x89, &[b'x'; 126])]),
        ("a continuation of nothing", 1002, &[&frame(0x80, b"x")]),
        ("a message within another", 1002, &[&frame(0x01, b"a"), &frame(0x81, b"b")]),
        ("half a code in a close", 1002, &[&frame(0x88, b"\x03")]),
        ("a code that nobody may send", 1002, &[&frame(0x88, b"\x03\xed")]),
        ("text that is none", 1007, &[&frame(0x81, b"\xff\xfe")]),
        ("text that is none, in pieces", 1007, &[&frame(0x01, b"a"), &frame(0x80, b"\xff")]),
        ("a close with a reason that is no text", 1007, &[&frame(0x88, b"\x03\xe8\xff")]),
        ("a message that is too long", 1009, &[&frame(0x81, &[b'x'; 1001])]),
        ("one that is too long in pieces", 1009, &[&frame(0x01, &[b'x'; 600]), &frame(0x80, &[b'x'; 600])]),
        ("one that would be far too long", 1009, &[b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0"]),
    ];
    for (what, expected, frames) in cases {
        let mut client = ws.open_with("1", &[("Sec-WebSocket-Protocol", "retry-hint")]);
        let stream = client.0.get_mut();
        for bytes in *frames {
            stream.write_all(bytes).unwrap();
        }
        // Unread input when the server closes must not make the client lose the answer.
        let _ = stream.write_all(&vec![0; 100_000]);
        let (code, reason) = client.closed();
        assert_eq!(code, *expected, "{what}: {reason}");
    }
    assert_eq!(ws.open("2").say("hi"), "hi");
}
