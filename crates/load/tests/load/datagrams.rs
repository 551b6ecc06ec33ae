//! Datagrams: every fate of a message is counted, exactly.

use std::{
    collections::HashMap,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use platform::event::{Counters, EventKind};
use scenario::{Every, Expect, Profile, Protocol, Reconnect, Scenario, Stage};

use crate::{
    processes::{process, worker_program},
    server::{self, Load, after_ramp, in_all, payload, run},
};

/// A server on its own port, whose answers come from a function. Dropping it ends it.
struct Server {
    address: SocketAddr,
    received: Arc<AtomicU64>,
    stopping: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    /// `serve` is called for each datagram, with its number and the function that sends an answer.
    fn start(mut serve: impl FnMut(u64, &[u8], SocketAddr, &dyn Fn(&[u8])) + Send + 'static) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let (received, stopping) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, stop) = (Arc::clone(&received), Arc::clone(&stopping));
        let thread = thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).unwrap();
                if stop.load(Ordering::Acquire) {
                    return;
                }
                let number = counter.fetch_add(1, Ordering::AcqRel);
                serve(number, &buffer[..length], from, &|answer| {
                    // The client may be gone.
                    let _ = socket.send_to(answer, from);
                });
            }
        });
        Self { address, received, stopping, thread: Some(thread) }
    }

    /// Answers like our own service: without `msg:`.
    fn ours() -> Self {
        Self::start(|_, datagram, _, answer| answer(&datagram[4..]))
    }

    fn received(&self) -> u64 {
        self.received.load(Ordering::Acquire)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"end", self.address).unwrap();
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Longer than a busy machine takes for an answer.
const PATIENT: Duration = Duration::from_secs(30);

/// Peers that send every 5 ms for 300 ms.
fn request(server: &Server, peers: u64) -> Load {
    server::request(server.address, peers).with(|scenario| {
        scenario.protocol = Protocol::Udp;
        scenario.messages.every = Some(Every::Interval(Duration::from_millis(5)));
        scenario.messages.timeout = Some(PATIENT);
        scenario.reconnect = Reconnect::default();
    })
}

/// Only the expected things went wrong.
fn only(totals: &Counters, expected: &[(&str, u64)]) {
    let named = [
        ("unanswered", totals.messages_unanswered),
        ("wrong", totals.messages_wrong),
        ("duplicated", totals.messages_duplicated),
        ("reordered", totals.messages_reordered),
        ("overdue", totals.messages_overdue),
        ("stray", totals.messages_stray),
        ("drops", totals.receive_drops),
        ("refused", totals.refused),
        ("errors", totals.connect_errors),
    ];
    for (name, seen) in named {
        let wanted = expected.iter().find(|(known, _)| *known == name).map_or(0, |(_, wanted)| *wanted);
        assert_eq!(seen, wanted, "{name}: {totals:?}");
    }
}

#[test]
fn every_message_is_answered_by_our_server() {
    let server = Server::ours();
    let (summary, events) = run(request(&server, 8));
    let totals = summary.totals;
    only(&totals, &[]);
    assert_eq!((totals.connected_first, totals.closed, summary.open_max), (8, 8, 8));
    assert!(totals.messages_due >= 8 * 55, "one per 5 ms: {totals:?}");
    assert_eq!((totals.messages_sent, totals.messages_answered), (server.received(), server.received()));
    assert_eq!(totals.lost, 0);
    assert!(summary.shares.is_empty(), "datagrams are not asked who serves them");
    let ramp = events.iter().any(|event| matches!(event, EventKind::RampDone { open: 8, .. }));
    assert!(ramp, "{events:?}");
}

#[test]
fn unanswered_messages_are_lost() {
    let dropped = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&dropped);
    let server = Server::start(move |number, datagram, _, answer| {
        if number % 5 == 3 {
            counter.fetch_add(1, Ordering::AcqRel);
        } else {
            answer(&datagram[4..]);
        }
    });
    let load =
        request(&server, 8).with(|scenario| scenario.messages.timeout = Some(Duration::from_millis(500)));
    let totals = run(load).0.totals;
    let dropped = dropped.load(Ordering::Acquire);
    // Answers that a busy machine sends too late are overdue.
    let (lost, overdue) = (totals.message_timeouts, totals.messages_overdue);
    only(&totals, &[("unanswered", lost), ("overdue", overdue)]);
    assert!(dropped >= 8 && lost == dropped + overdue, "{dropped} dropped: {totals:?}");
    assert_eq!(totals.datagrams_lost(), lost);
}

#[test]
fn duplicates_are_counted_and_answer_nothing() {
    let server = Server::start(|number, datagram, _, answer| {
        let times = if number % 3 == 0 { 3 } else { 1 };
        (0..times).for_each(|_| answer(&datagram[4..]));
    });
    let totals = run(request(&server, 4)).0.totals;
    let received = server.received();
    only(&totals, &[("duplicated", 2 * received.div_ceil(3))]);
    assert_eq!(totals.messages_answered, received);
}

/// The second message of each pair is answered first.
#[test]
fn overtaken_answers_count_as_reordered() {
    let overtaken = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&overtaken);
    let mut waiting: HashMap<SocketAddr, Vec<u8>> = HashMap::new();
    let server = Server::start(move |_, datagram, from, answer| match waiting.remove(&from) {
        Some(earlier) => {
            counter.fetch_add(1, Ordering::AcqRel);
            answer(&datagram[4..]);
            answer(&earlier);
        }
        None => {
            waiting.insert(from, datagram[4..].to_vec());
        }
    });
    let totals = run(request(&server, 3)).0.totals;
    let overtaken = overtaken.load(Ordering::Acquire);
    // A peer's last message may lack the second one that triggers its answer.
    only(&totals, &[("reordered", overtaken), ("unanswered", server.received() - 2 * overtaken)]);
    assert!(overtaken >= 8, "{overtaken}");
}

#[test]
fn an_answer_after_its_time_out_is_overdue() {
    let (mut waiting, mut since) = (Vec::new(), None);
    let server = Server::start(move |number, datagram, _, answer| {
        // The first five are answered long after their time-out, together with a later message.
        if number < 5 {
            waiting.push(datagram[4..].to_vec());
            since = Some(clock::now());
            return;
        }
        answer(&datagram[4..]);
        if since.is_some_and(|since| since.elapsed() > Duration::from_secs(1)) {
            waiting.drain(..).for_each(|earlier| answer(&earlier));
        }
    });
    let request = request(&server, 1).with(|scenario| {
        scenario.messages.timeout = Some(Duration::from_millis(200));
        scenario.phases.hold = after_ramp(Duration::from_secs(2));
    });
    let totals = run(request).0.totals;
    // On a busy machine others may time out, too; all are answered eventually.
    let overdue = totals.messages_overdue;
    only(&totals, &[("unanswered", overdue), ("overdue", overdue)]);
    assert!(overdue >= 5, "{totals:?}");
}

#[test]
fn unrequested_answers_are_stray_and_other_bytes_are_wrong() {
    let server = Server::start(|number, datagram, _, answer| match number {
        1 => answer(b"error: who are you?"),
        2 => answer(&datagram[4..datagram.len() - 1]),
        _ => answer(&datagram[4..]),
    });
    let totals = run(request(&server, 2)).0.totals;
    only(&totals, &[("stray", 1), ("wrong", 1), ("unanswered", 1)]);
}

/// A foreign server gets the payload unchanged.
#[test]
fn a_payload_without_numbers_is_answered_in_order() {
    let server = Server::start(|number, datagram, _, answer| {
        assert_eq!(datagram, b"ping");
        if number != 7 {
            answer(datagram);
        }
    });
    let (summary, _) = run(request(&server, 1).with(|scenario| scenario.messages.payload = payload("ping")));
    only(&summary.totals, &[("unanswered", 1)]);
    assert_eq!(summary.totals.messages_answered, server.received() - 1);
}

#[test]
fn messages_without_expected_answers_are_still_sent() {
    let server = Server::start(|_, _, _, _| {});
    let totals = run(request(&server, 2).with(|scenario| scenario.messages.expect = Expect::None)).0.totals;
    only(&totals, &[]);
    assert!(totals.messages_due >= 110, "{totals:?}");
    assert_eq!((totals.messages_answered, totals.messages_unanswered), (0, 0));
}

/// Never more than a window is outstanding; messages due meanwhile are sent later and are late.
#[test]
fn a_window_bounds_what_is_outstanding() {
    let server = Server::start(|_, _, _, _| {});
    let silent = request(&server, 2).with(|scenario| {
        scenario.messages.window = Some(3);
        scenario.messages.timeout = Some(Duration::from_millis(200));
        scenario.phases.hold = after_ramp(Duration::from_secs(1));
    });
    let (summary, _) = run(silent);
    let totals = summary.totals;
    // Two peers with windows of three: the next window starts when the last one has timed out, after at least 200 ms.
    let received = server.received();
    only(&totals, &[("unanswered", received)]);
    let windows_max = summary.took_ms / 200 + 1;
    assert!(
        received.is_multiple_of(6) && (12..=6 * windows_max).contains(&received),
        "{received}, {summary:?}"
    );
    assert!(totals.messages_late >= received - 6, "all but the first ones: {totals:?}");
}

/// A window and no interval: each answer sends the next message.
#[test]
fn with_a_window_alone_answers_set_the_pace() {
    let server = Server::ours();
    let request = request(&server, 4).with(|scenario| {
        scenario.messages.window = Some(16);
        scenario.messages.every = None;
    });
    let (summary, _) = run(request);
    only(&summary.totals, &[]);
    assert!(summary.totals.messages_answered > 4 * 16, "{:?}", summary.totals);
    assert_eq!(summary.totals.messages_late, 0);
    assert_eq!(summary.plan.window, Some(16));
}

/// The stages of a profile give the exact number of messages that all peers send together.
#[test]
fn a_profile_sends_exactly_its_messages() {
    let server = Server::ours();
    let text = "name: burst
service: udp
protocol: udp
messages: { timeout: 30s }
phases:
  ramp: { connections: 7 }
  send: [{ from: 100/s, to: 3900/s, for: 300ms }, { at: 2000/s, for: 200ms }]";
    let burst = Scenario::parse(text, "burst.yaml").unwrap();
    let (summary, events) = run(request(&server, 1).with(|scenario| *scenario = burst));
    // What a busy machine has not answered when the load has closed is cut off.
    only(&summary.totals, &[("unanswered", summary.totals.messages_cut_off)]);
    // The last messages are due in the millisecond in which the load closes.
    assert!((995..=1000).contains(&summary.totals.messages_due), "{:?}", summary.totals);
    let stages: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            EventKind::PhaseStarted { phase, detail } if phase == "stage" => Some(detail.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(stages, ["100/s → 3900/s over 300ms", "2000/s for 200ms"]);
    assert_eq!(summary.plan.stages.len(), 2);
}

#[test]
fn an_unreachable_peer_is_reported_and_everything_is_lost() {
    let nobody = fixtures::nobody_for_datagrams();
    let server = Server::ours();
    let load = request(&server, 1)
        .with(|scenario| scenario.messages.timeout = Some(Duration::from_millis(200)))
        .options(|options| options.targets = vec![nobody]);
    let totals = run(load.until(|totals| totals.refused > 10)).0.totals;
    assert_eq!(totals.messages_answered, 0);
    assert_eq!(totals.message_timeouts, totals.messages_sent);
}

#[test]
fn worker_processes_share_the_peers() {
    let server = Server::ours();
    let load = request(&server, 5)
        .with(|scenario| {
            let length = Duration::from_millis(500);
            scenario.messages.every = None;
            scenario.phases.send = Profile::new(vec![Stage::steady("1000/s".parse().unwrap(), length)]);
            scenario.phases.hold = in_all(length);
        })
        .options(|options| {
            options.workers = Some(2);
            options.worker = Some(process(worker_program()));
        });
    let (summary, _) = run(load);
    // What a busy machine has not answered when the load has closed is cut off.
    only(&summary.totals, &[("unanswered", summary.totals.messages_cut_off)]);
    assert_eq!((summary.totals.connected_first, summary.totals.closed), (5, 5));
    assert!((490..=500).contains(&summary.totals.messages_due), "{:?}", summary.totals);
}
