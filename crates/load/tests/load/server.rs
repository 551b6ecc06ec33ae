//! Servers that serve each connection with one function, and runs against them.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use load::{Control, Identify, Options};
use platform::event::{Counters, EventKind, LoadSummary};
use scenario::{Every, Hold, Payload, Reconnect, Scenario};

/// A server on its own port. Dropping it stops accepting.
pub(crate) struct Server {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    stopping: Arc<AtomicBool>,
    acceptor: Option<thread::JoinHandle<()>>,
}

impl Server {
    /// Serves each connection with `serve`, which gets the number of earlier connections.
    pub(crate) fn start(serve: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (accepted, stopping) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, stop, serve) = (Arc::clone(&accepted), Arc::clone(&stopping), Arc::new(serve));
        let acceptor = thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Acquire) {
                    break;
                }
                let (stream, serve) = (stream.unwrap(), Arc::clone(&serve));
                let number = counter.fetch_add(1, Ordering::AcqRel);
                thread::spawn(move || serve(stream, number));
            }
        });
        Self { address, accepted, stopping, acceptor: Some(acceptor) }
    }

    pub(crate) fn echo() -> Self {
        Self::start(|mut stream, _| {
            while let Some(request) = receive(&mut stream) {
                send(&mut stream, &request);
            }
        })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Acquire) as u64
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // Wakes the acceptor, which waits for one more.
        let _ = TcpStream::connect(self.address);
        self.acceptor.take().unwrap().join().unwrap();
    }
}

/// The bytes of one read; `None` at the end.
pub(crate) fn receive(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 64 * 1024];
    match stream.read(&mut buffer) {
        Ok(0) | Err(_) => None,
        Ok(read) => {
            buffer.truncate(read);
            Some(buffer)
        }
    }
}

/// Sends, even if the client is gone.
pub(crate) fn send(stream: &mut TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes);
}

/// Waits until the client is gone.
pub(crate) fn wait_for_end(stream: &mut TcpStream) {
    while receive(stream).is_some() {}
}

/// A scenario and the options to run it with.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) scenario: Scenario,
    pub(crate) options: Options,
    until: Option<fn(&Counters) -> bool>,
}

/// After this many looks, one per second, a load stops waiting for its condition.
const LOOKS: u32 = 60;

impl Load {
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Scenario)) -> Self {
        change(&mut self.scenario);
        self
    }

    /// Lasts until its counts meet the condition, not for a fixed time, so a busy machine is no problem.
    pub(crate) fn until(mut self, are_so: fn(&Counters) -> bool) -> Self {
        self.scenario.phases.hold = in_all(Duration::from_hours(1));
        self.until = Some(are_so);
        self
    }

    pub(crate) fn options(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.options);
        self
    }
}

/// A load of `connections` that open at once and send every 20 ms for 300 ms. They do not reconnect.
pub(crate) fn request(target: SocketAddr, connections: u64) -> Load {
    let mut scenario = Scenario::default();
    scenario.phases.ramp.connections = connections;
    scenario.phases.ramp.rate = "1ms".parse().unwrap();
    scenario.messages.every = Some(Every::Interval(Duration::from_millis(20)));
    scenario.phases.hold.after_ramp = Some(Duration::from_millis(300));
    scenario.reconnect.never = true;
    let options = Options { targets: vec![target], identify: Identify::Never, ..Options::default() };
    Load { scenario, options, until: None }
}

/// Reconnects almost at once.
pub(crate) fn soon() -> Reconnect {
    Reconnect {
        delay: Some(Duration::from_millis(20)),
        jitter: Some(Duration::from_millis(10)),
        ..Reconnect::default()
    }
}

pub(crate) fn after_ramp(length: Duration) -> Hold {
    Hold { from_first_connect: None, after_ramp: Some(length) }
}

pub(crate) fn in_all(length: Duration) -> Hold {
    Hold { from_first_connect: Some(length), after_ramp: None }
}

pub(crate) fn payload(text: &str) -> Payload {
    text.parse().unwrap()
}

pub(crate) const SILENT: Option<Every> = Some(Every::Never);

/// Runs a load, and returns its summary and all events.
#[expect(clippy::needless_pass_by_value, reason = "made for this run")]
pub(crate) fn run(load: Load) -> (LoadSummary, Vec<EventKind>) {
    run_under(&load, &Control::new(), |_| {})
}

/// The same, and passes each event on as it comes.
pub(crate) fn run_under(
    load: &Load,
    control: &Control,
    mut look: impl FnMut(&EventKind),
) -> (LoadSummary, Vec<EventKind>) {
    load.scenario.validate().unwrap();
    let (mut events, mut looks) = (Vec::new(), 0);
    let mut sink = |event| {
        look(&event);
        if let EventKind::LoadTick(tick) = &event {
            looks += 1;
            let is_over = load.until.is_some_and(|are_so| are_so(&tick.totals) || looks > LOOKS);
            // A second stop would cut off outstanding messages.
            if is_over && !control.is_stopped() {
                control.stop();
            }
        }
        events.push(event);
    };
    let summary = load::run(&load.scenario, &load.options, control, &mut sink).unwrap();
    check(&summary, load.scenario.expects_answers());
    (summary, events)
}

/// Checks what holds for every run: counts are disjoint and add up.
fn check(summary: &LoadSummary, answers: bool) {
    let totals = &summary.totals;
    assert_eq!(
        totals.attempted,
        totals.connected
            + totals.refused * u64::from(!summary.plan.is_udp())
            + totals.connect_timeouts
            + totals.connect_errors
            + totals.connects_cut_off,
        "every attempt ended in one way: {totals:?}"
    );
    assert_eq!(
        totals.connected,
        totals.eof
            + totals.eof_after_notice
            + totals.reset
            + totals.closed
            + totals.given_up
            + totals.protocol_errors,
        "every connection ended in one way: {totals:?}"
    );
    assert_eq!(totals.connected, totals.connected_first + totals.reconnected, "{totals:?}");
    assert_eq!(totals.messages_due, totals.messages_sent + totals.messages_never_sent, "{totals:?}");
    assert_eq!(totals.messages_unanswered, totals.message_timeouts + totals.messages_cut_off, "{totals:?}");
    let ended = totals.messages_answered + totals.messages_wrong + totals.messages_unanswered;
    assert_eq!(
        ended,
        if answers { totals.messages_sent } else { 0 },
        "every message came to an end: {totals:?}"
    );
    assert_eq!(summary.message.count, totals.messages_answered, "{totals:?}");
    assert_eq!(summary.lateness.count, totals.messages_sent, "{totals:?}");
    let connects = if summary.plan.is_udp() { 0 } else { totals.connected };
    assert_eq!(summary.connect.count, connects, "{totals:?}");
    let in_buckets: u64 = summary.message_histogram.iter().map(|bucket| bucket.count).sum();
    assert_eq!(in_buckets, summary.message.count);
}
