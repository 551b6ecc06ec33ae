//! Servers whose every connection is served by one function, and the runs against them.

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

use load::{Control, Identify, LoadDuration, Options, Plan, Reconnect, Request};
use platform::event::{EventKind, LoadSummary};

/// A server on a port of its own. Dropped, it accepts no more.
pub(crate) struct Server {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    stopping: Arc<AtomicBool>,
    acceptor: Option<thread::JoinHandle<()>>,
}

impl Server {
    /// Serves each connection with `serve`, which is told how many came before it.
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
        // The acceptor waits for one more.
        let _ = TcpStream::connect(self.address);
        self.acceptor.take().unwrap().join().unwrap();
    }
}

/// What one read returns; `None` at the end.
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

/// Sends, whether or not the client is still there.
pub(crate) fn send(stream: &mut TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes);
}

/// Waits until the client is gone.
pub(crate) fn wait_for_end(stream: &mut TcpStream) {
    while receive(stream).is_some() {}
}

/// A plan of `connections` that open at once and send every 20 ms for 300 ms. Nobody comes back.
pub(crate) fn request(target: SocketAddr, connections: u64) -> Request {
    Request {
        targets: vec![target.to_string()],
        connections: Some(connections),
        rate: Some("1ms".parse().unwrap()),
        every: Some(Duration::from_millis(20)),
        duration: Some(LoadDuration::FromRampEnd(Duration::from_millis(300))),
        reconnect: Some(Reconnect::Never),
        identify: Some(Identify::Never),
        ..Request::default()
    }
}

/// Comes back at once, nearly.
pub(crate) fn soon() -> Reconnect {
    Reconnect::After { delay: Duration::from_millis(20), jitter: Duration::from_millis(10) }
}

/// Runs what was asked for, and returns its summary and all events.
pub(crate) fn run(request: Request) -> (LoadSummary, Vec<EventKind>) {
    run_with(&request.resolve(None).unwrap(), &Options::default())
}

pub(crate) fn run_with(plan: &Plan, options: &Options) -> (LoadSummary, Vec<EventKind>) {
    let mut events = Vec::new();
    let summary = load::run(plan, options, &Control::new(), &mut |event| events.push(event)).unwrap();
    check(&summary);
    (summary, events)
}

/// What holds for every run.
fn check(summary: &LoadSummary) {
    let totals = &summary.totals;
    assert_eq!(
        totals.connected,
        totals.eof + totals.eof_after_notice + totals.reset + totals.closed + totals.given_up,
        "every connection ended in one way: {totals:?}"
    );
    assert_eq!(totals.connected, totals.connected_first + totals.reconnected, "{totals:?}");
    assert_eq!(
        totals.messages_sent,
        totals.messages_answered + totals.messages_wrong + totals.messages_unanswered,
        "every message came to an end, {totals:?}"
    );
    let (measured, connects) = if summary.plan.is_udp() {
        (totals.messages_answered, 0)
    } else {
        (totals.messages_answered + totals.message_timeouts, totals.connected)
    };
    assert_eq!(summary.message.count, measured, "{totals:?}");
    assert_eq!(summary.lateness.count, totals.messages_sent, "{totals:?}");
    assert_eq!(summary.connect.count, connects, "{totals:?}");
    let in_buckets: u64 = summary.message_histogram.iter().map(|bucket| bucket.count).sum();
    assert_eq!(in_buckets, summary.message.count);
}
