//! Servers, peers and backends for the tests.

// The same as the tests of `tcp` have.
#[path = "../../../tcp/tests/contract/support/common.rs"]
mod common;
#[path = "../../../tcp/tests/contract/support/memcached.rs"]
mod memcached;
mod peer;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;

pub(crate) use self::common::{DEADLINE, eventually, metric};
pub(crate) use self::memcached::Memcached;
pub(crate) use self::peer::Peer;
use service::settings::Host;
use service::{Readiness, Shutdown};
use udp::{Server, Settings};

/// A server that runs on a thread of its own and ends with the test.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) shutdown: Shutdown,
    pub(crate) readiness: Readiness,
    thread: Option<JoinHandle<Result<(), udp::Error>>>,
}

/// Settings for a server on free ports of the loopback address.
pub(crate) fn settings() -> Settings {
    Settings { host: Host::LOOPBACK, port: 0, admin_port: 0, ..Settings::default() }
}

/// Starts a server and waits until it is ready.
pub(crate) fn start(settings: Settings) -> Running {
    let shutdown = Shutdown::new();
    run(Server::bind(settings, shutdown.clone()).expect("the server starts"), shutdown)
}

/// The same with a memcached, which it has reached.
pub(crate) fn start_with(memcached: &Memcached) -> Running {
    let server = start(Settings { cache: Some(memcached.settings()), ..settings() });
    eventually("memcached is reached", || server.page("/readyz") == (200, "ready\n".into()));
    server
}

/// Stores something as another client of memcached does.
pub(crate) fn put(memcached: &Memcached, key: &str, value: &str) {
    let settings = memcached.settings();
    let mut stream = TcpStream::connect((settings.host.as_str(), settings.port)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "set {key} 0 600 {}\r\n{value}\r\n", value.len()).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    assert_eq!(answer, "STORED\r\n");
}

/// Runs a server that is bound.
pub(crate) fn run(server: Server, shutdown: Shutdown) -> Running {
    let running = Running {
        address: server.address(),
        admin: server.admin_address(),
        readiness: server.readiness().clone(),
        shutdown,
        thread: Some(std::thread::spawn(move || server.run())),
    };
    eventually("the server is ready", || running.readiness.is_ready());
    running
}

impl Running {
    pub(crate) fn peer(&self) -> Peer {
        Peer::of(self.address)
    }

    /// Status and body of a page of the admin port.
    pub(crate) fn page(&self, path: &str) -> (u16, String) {
        common::page(self.admin, path)
    }

    /// Waits until a metric, named with its labels, has the value: counts are added up after the replies are sent.
    #[track_caller]
    pub(crate) fn expect_metric(&self, name: &str, value: u64) {
        eventually(&format!("{name} is {value}"), || metric(self.admin, name) == value);
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
