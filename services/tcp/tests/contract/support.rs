//! Servers, clients and backends for the tests.

mod client;
mod kafka;
mod memcached;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub(crate) use self::client::Client;
pub(crate) use self::kafka::Kafka;
pub(crate) use self::memcached::Memcached;
use service::settings::Host;
use service::{Readiness, Shutdown};
use tcp::{Server, Settings};

/// After so long a condition that is waited for counts as missed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A server that runs on a thread of its own and ends with the test.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) id: String,
    pub(crate) shutdown: Shutdown,
    pub(crate) readiness: Readiness,
    thread: Option<JoinHandle<Result<(), tcp::Error>>>,
}

/// Settings for a server on free ports of the loopback address.
pub(crate) fn settings() -> Settings {
    Settings { host: Host::LOOPBACK, port: 0, admin_port: 0, ..Settings::default() }
}

/// Starts a server and waits until it is ready.
pub(crate) fn start(settings: Settings) -> Running {
    let shutdown = Shutdown::new();
    let server = Server::bind(settings, shutdown.clone()).expect("the server starts");
    let running = Running {
        address: server.address(),
        admin: server.admin_address(),
        id: server.id().to_owned(),
        readiness: server.readiness().clone(),
        shutdown,
        thread: Some(std::thread::spawn(move || server.run())),
    };
    eventually("the server is ready", || running.readiness.is_ready());
    running
}

impl Running {
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// Status and body of a page of the admin port.
    pub(crate) fn page(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.admin).expect("the admin port answers");
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the admin port answers in full");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, body.to_owned())
    }

    /// The value of a metric, named with its labels.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let (_, text) = self.page("/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no metric {name} in\n{text}")).parse().expect("a number")
    }

    /// Waits for `run` to return.
    pub(crate) fn join(mut self) {
        let thread = self.thread.take().expect("joined once");
        eventually("the server ends", || thread.is_finished());
        thread.join().expect("no panic").expect("no error");
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.force();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.expect("no panic").expect("no error");
            }
        }
    }
}

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
        pause(Duration::from_millis(5));
    }
}

/// For what cannot be waited for: that something does *not* happen.
#[expect(clippy::disallowed_methods, reason = "the pace of polling, and the absence of events")]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
