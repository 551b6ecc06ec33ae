//! No coordinated omission: messages due during a stall show the stall.

use std::{
    sync::{Arc, Barrier},
    thread,
    time::Duration,
};

use scenario::Every;

use crate::server::{Server, after_ramp, receive, request, run, send};

/// A server that answers at once, but stops for a second before its third answer. A closed-loop client would see one
/// slow message; twenty were due meanwhile, and each of them waited.
#[test]
fn a_stall_shows_in_every_message_that_was_due_meanwhile() {
    let server = Server::start(|mut stream, _| {
        let mut answered = 0;
        while receive(&mut stream).is_some() {
            if answered == 2 {
                #[expect(clippy::disallowed_methods, reason = "the stall is what is tested")]
                thread::sleep(Duration::from_secs(1));
            }
            send(&mut stream, b"12345");
            answered += 1;
        }
    });
    let request = request(server.address(), 1).with(|scenario| {
        scenario.messages.every = Some(Every::Interval(Duration::from_millis(50)));
        scenario.phases.hold = after_ramp(Duration::from_secs(3));
    });
    let (summary, _) = run(request);
    let slow: u64 = summary
        .message_histogram
        .iter()
        .filter(|bucket| bucket.up_to_us > 500_000)
        .map(|bucket| bucket.count)
        .sum();
    assert!(slow >= 9, "of the 20 due during the second, the ones in its first half: {summary:?}");
    assert!(summary.message.max_us >= 950_000, "{:?}", summary.message);
    assert!(summary.totals.messages_late >= 18, "{:?}", summary.totals);
    // None was skipped: one per 50 ms for 3 s, except those that the close cut off.
    assert!(summary.totals.messages_due >= 50, "{:?}", summary.totals);
}

/// A message is never sent while another is outstanding: the server sees one at a time.
#[test]
fn messages_of_a_connection_do_not_overlap() {
    let server = Server::start(|mut stream, _| {
        while let Some(request) = receive(&mut stream) {
            assert_eq!(request, b"msg:12345", "one message per read, however slow the answers are");
            #[expect(clippy::disallowed_methods, reason = "answers that take longer than the interval")]
            thread::sleep(Duration::from_millis(45));
            send(&mut stream, b"12345");
        }
    });
    let totals = run(request(server.address(), 2).until(|totals| totals.messages_late > 0)).0.totals;
    assert_eq!((totals.messages_wrong, totals.messages_unanswered), (0, 0));
    assert!(totals.messages_late > 0);
}

/// Connections start on schedule even if no earlier one was answered.
#[test]
fn the_ramp_does_not_wait_for_answers() {
    let everybody = Arc::new(Barrier::new(20));
    let server = Server::start(move |mut stream, _| {
        receive(&mut stream).unwrap();
        // The server answers only after all twenty have asked.
        everybody.wait();
        send(&mut stream, b"12345");
        while receive(&mut stream).is_some() {
            send(&mut stream, b"12345");
        }
    });
    let totals = run(request(server.address(), 20)).0.totals;
    assert_eq!((totals.connected_first, totals.messages_unanswered, totals.lost), (20, 0, 0));
}
