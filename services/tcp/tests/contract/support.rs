//! Servers and clients for the tests.

mod client;
mod kafka;

pub(crate) use fixtures::{DEADLINE, Memcached, Running, eventually};
use service::Shutdown;
use service::settings::Host;
use tcp::{Server, Settings};

pub(crate) use self::client::Client;
pub(crate) use self::kafka::Kafka;

/// Settings for a server on free ports of the loopback address, with time limits that allow for a busy machine.
pub(crate) fn settings() -> Settings {
    Settings { host: Host::LOOPBACK, port: 0, admin_port: 0, cache_timeout: DEADLINE, ..Settings::default() }
}

/// Starts a server and waits until it is ready.
#[track_caller]
pub(crate) fn start(settings: Settings) -> Running {
    let shutdown = Shutdown::new();
    let server = Server::bind(settings, shutdown.clone()).expect("the server starts");
    let addresses = (server.address(), server.admin_address());
    Running::start(addresses, server.readiness().clone(), shutdown, || server.run())
}

/// Clients of a running server.
pub(crate) trait Connect {
    fn client(&self) -> Client;
}

impl Connect for Running {
    #[track_caller]
    fn client(&self) -> Client {
        Client::connect(self.address)
    }
}
