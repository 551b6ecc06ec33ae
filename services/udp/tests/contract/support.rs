//! Servers and peers for the tests.

mod peer;

pub(crate) use fixtures::{DEADLINE, Memcached, Running, eventually};
use service::Shutdown;
use service::settings::Host;
use udp::{Server, Settings};

pub(crate) use self::peer::Peer;

/// Settings for a server on free ports of the loopback address, with time limits that allow for a busy machine.
pub(crate) fn settings() -> Settings {
    Settings { host: Host::LOOPBACK, port: 0, admin_port: 0, cache_timeout: DEADLINE, ..Settings::default() }
}

/// Starts a server and waits until it is ready.
#[track_caller]
pub(crate) fn start(settings: Settings) -> Running {
    let shutdown = Shutdown::new();
    run(Server::bind(settings, shutdown.clone()).expect("the server starts"), shutdown)
}

/// The same with a memcached, after the server has reached it.
#[track_caller]
pub(crate) fn start_with(memcached: &Memcached) -> Running {
    let server = start(Settings { cache: Some(memcached.settings()), ..settings() });
    server.expect_all_well();
    server
}

/// Runs a bound server.
#[track_caller]
pub(crate) fn run(server: Server, shutdown: Shutdown) -> Running {
    let addresses = (server.address(), server.admin_address());
    Running::start(addresses, server.readiness().clone(), shutdown, || server.run())
}

/// Peers of a running server.
pub(crate) trait Connect {
    fn peer(&self) -> Peer;
}

impl Connect for Running {
    #[track_caller]
    fn peer(&self) -> Peer {
        Peer::of(self.address)
    }
}
