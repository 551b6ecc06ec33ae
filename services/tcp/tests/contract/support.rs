//! Servers, clients and backends for the tests.

mod client;
mod common;
mod kafka;
mod memcached;

use std::net::SocketAddr;
use std::thread::JoinHandle;

pub(crate) use self::client::Client;
pub(crate) use self::common::{DEADLINE, eventually, pause};
pub(crate) use self::kafka::Kafka;
pub(crate) use self::memcached::Memcached;
use service::settings::Host;
use service::{Readiness, Shutdown};
use tcp::{Server, Settings};

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
        common::page(self.admin, path)
    }

    /// The value of a metric, named with its labels.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        common::metric(self.admin, name)
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
