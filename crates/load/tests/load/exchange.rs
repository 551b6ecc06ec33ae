//! Messages and answers.

use scenario::Expect;

use crate::server::{SILENT, Server, payload, receive, request, run, send};

#[test]
fn an_echo_answers_every_message() {
    let server = Server::echo();
    let (summary, _) = run(request(server.address(), 50).until(|totals| totals.messages_answered >= 50 * 2));
    let totals = summary.totals;
    assert_eq!((totals.attempted, totals.connected_first, server.accepted()), (50, 50, 50));
    assert_eq!(
        (totals.closed, totals.lost, totals.messages_wrong, totals.messages_unanswered),
        (50, 0, 0, 0)
    );
    assert!(totals.messages_answered >= 50 * 2, "the first one at once, more later: {totals:?}");
    assert_eq!(totals.bytes_sent, totals.messages_sent * 9);
    assert_eq!(totals.bytes_received, totals.bytes_sent);
    assert_eq!((summary.open_max, summary.first_byte.count), (50, 50));
    assert_eq!(summary.shares.len(), 1);
    assert_eq!((summary.shares[0].replica.as_str(), summary.shares[0].connections), ("unknown", 50));
    assert_eq!(summary.skew, None);
}

#[test]
fn our_protocol_answers_with_the_second_field() {
    let server = Server::start(|mut stream, _| {
        while let Some(request) = receive(&mut stream) {
            assert_eq!(request, b"msg:hello:more");
            send(&mut stream, b"hello");
        }
    });
    let request =
        request(server.address(), 5).with(|scenario| scenario.messages.payload = payload("msg:hello:more"));
    let (summary, _) = run(request.until(|totals| totals.messages_answered >= 10));
    assert_eq!(summary.totals.messages_wrong, 0);
    assert!(summary.totals.messages_answered >= 10);
}

#[test]
fn an_answer_sent_byte_by_byte_is_one_answer() {
    let server = Server::start(|mut stream, _| {
        stream.set_nodelay(true).unwrap();
        while receive(&mut stream).is_some() {
            for byte in b"12345" {
                send(&mut stream, &[*byte]);
            }
        }
    });
    let (summary, _) = run(request(server.address(), 3));
    let totals = summary.totals;
    assert_eq!((totals.messages_wrong, totals.messages_unanswered), (0, 0));
    assert_eq!(totals.bytes_received, totals.messages_sent * 5);
}

#[test]
fn other_bytes_are_a_wrong_answer_and_no_latency() {
    let server = Server::start(|mut stream, _| {
        while receive(&mut stream).is_some() {
            send(&mut stream, b"error: packet too long");
        }
    });
    let (summary, _) = run(request(server.address(), 4).until(|totals| totals.messages_wrong >= 8));
    let totals = summary.totals;
    assert!(totals.messages_wrong >= 8);
    assert_eq!((totals.messages_answered, summary.message.count), (0, 0));
}

#[test]
fn any_answer_is_right_when_any_is_expected() {
    let server = Server::start(|mut stream, number| {
        while receive(&mut stream).is_some() {
            send(&mut stream, format!("reply of {number}").as_bytes());
        }
    });
    let request = request(server.address(), 4).with(|scenario| scenario.messages.expect = Expect::Any);
    let totals = run(request.until(|totals| totals.messages_answered >= 8)).0.totals;
    assert_eq!((totals.messages_wrong, totals.messages_unanswered), (0, 0));
    assert!(totals.messages_answered >= 8);
}

#[test]
fn without_answers_messages_go_out_by_schedule() {
    let server = Server::start(|mut stream, _| while receive(&mut stream).is_some() {});
    let (summary, _) =
        run(request(server.address(), 3).with(|scenario| scenario.messages.expect = Expect::None));
    let totals = summary.totals;
    // One message per 20 ms for 300 ms after the ramp, and one at the start.
    assert!(totals.messages_due >= 3 * 15, "{totals:?}");
    assert_eq!((totals.messages_answered, totals.message_timeouts, totals.messages_unanswered), (0, 0, 0));
    assert_eq!(totals.bytes_sent, totals.messages_sent * 9);
}

#[test]
fn silent_connections_send_nothing() {
    let server = Server::echo();
    let (summary, _) = run(request(server.address(), 10).with(|scenario| scenario.messages.every = SILENT));
    assert_eq!((summary.totals.bytes_sent, summary.totals.messages_sent), (0, 0));
    assert_eq!((summary.totals.connected_first, summary.totals.closed), (10, 10));
}

#[test]
fn a_payload_larger_than_the_socket_takes_is_sent_in_full() {
    let server = Server::start(|mut stream, _| {
        // The server reads late and slowly, so that the client's socket fills up.
        let mut pending = 0;
        while let Some(piece) = receive(&mut stream) {
            pending += piece.len();
            while pending >= 65_536 {
                pending -= 65_536;
                send(&mut stream, "x".repeat(65_536).as_bytes());
            }
        }
    });
    let request = request(server.address(), 2).with(|scenario| {
        scenario.messages.payload = vec![b'x'; 65_536].into();
    });
    let totals = run(request.until(|totals| totals.messages_answered >= 2)).0.totals;
    assert_eq!((totals.messages_wrong, totals.messages_unanswered, totals.lost), (0, 0, 0));
    assert!(totals.messages_answered >= 2);
    assert_eq!(totals.bytes_sent, totals.messages_sent * 65_536);
}
