//! Accepts connections, up to the limit on open files.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use rustix::io::Errno;
use tracing::{error, warn};

use super::connection::Connection;
use super::{LISTENER, Worker};
use crate::inbox::News;

/// Accepts per turn; the rest wait until the connections have been served.
const ACCEPTS_PER_TURN: usize = 256;
/// Accepting is retried after this if no connection ends sooner.
const PAUSE: Duration = Duration::from_millis(100);
/// Open files reserved for the admin port, the backends and the unforeseen.
const FILES_RESERVED: u64 = 256;

/// The listener and whether it is polled.
pub(super) struct Acceptor {
    listener: TcpListener,
    connections_max: usize,
    /// There may be connections to accept.
    ready: bool,
    /// Until then, out of open files.
    paused_until: Option<Instant>,
    /// The current shortage has been logged.
    shortage_told: bool,
    /// The worker that gets the next connection.
    next_worker: usize,
}

impl Acceptor {
    pub(super) fn new(listener: std::net::TcpListener, registry: &Registry) -> io::Result<Self> {
        let mut listener = TcpListener::from_std(listener);
        registry.register(&mut listener, LISTENER, Interest::READABLE)?;
        let connections_max = connections_max(service::limits::raise_open_files());
        Ok(Self {
            listener,
            connections_max,
            ready: true,
            paused_until: None,
            shortage_told: false,
            next_worker: 0,
        })
    }

    /// A connection has ended: there is room for another one.
    pub(super) fn room_again(&mut self) {
        self.paused_until = None;
    }

    /// When to try accepting, if at all.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        self.ready.then(|| self.paused_until.unwrap_or(now))
    }
}

/// How many connections the limit on open files allows.
fn connections_max(open_files: u64) -> usize {
    usize::try_from(open_files - FILES_RESERVED.min(open_files / 4)).unwrap_or(usize::MAX)
}

impl Worker {
    pub(super) fn listener_ready(&mut self) {
        if let Some(acceptor) = &mut self.acceptor {
            acceptor.ready = true;
        }
    }

    /// Accepts pending connections, as far as this turn and the limit allow.
    pub(super) fn accept(&mut self) {
        for _ in 0..ACCEPTS_PER_TURN {
            if !self.accept_one() {
                return;
            }
        }
    }

    /// Whether to continue.
    fn accept_one(&mut self) -> bool {
        let open = self.shared.roster.len();
        let Some(acceptor) = &mut self.acceptor else {
            return false;
        };
        if !acceptor.ready || acceptor.paused_until.is_some_and(|until| until > self.clock.now) {
            return false;
        }
        if open >= acceptor.connections_max {
            self.pause_accepting("the limit on open files is reached");
            return false;
        }
        match acceptor.listener.accept() {
            Ok((stream, client)) => {
                let worker = acceptor.next_worker;
                acceptor.next_worker = (worker + 1) % self.shared.inboxes.len();
                self.assign(worker, stream, client);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                acceptor.ready = false;
                acceptor.paused_until = None;
                acceptor.shortage_told = false;
                false
            }
            Err(error) if is_the_clients(&error) => true,
            Err(error) => {
                self.pause_accepting(&error.to_string());
                false
            }
        }
    }

    fn pause_accepting(&mut self, reason: &str) {
        let Some(acceptor) = &mut self.acceptor else {
            return;
        };
        acceptor.paused_until = Some(self.clock.now + PAUSE);
        // Once per shortage, not for each connection that ends and makes room for another.
        if !std::mem::replace(&mut acceptor.shortage_told, true) {
            warn!(reason, connections = self.connections.len(), "accepting paused");
            self.tally.accept_pauses += 1;
        }
    }

    fn assign(&mut self, worker: usize, stream: TcpStream, client: SocketAddr) {
        if worker == self.number {
            self.adopt(stream, client);
        } else {
            self.shared.inboxes[worker].tell(News::Connection(stream, client));
        }
    }

    /// Takes a new connection.
    pub(super) fn adopt(&mut self, stream: TcpStream, client: SocketAddr) {
        // Use the IPv4 address of an IPv4 client on a dual-stack listener.
        let client = SocketAddr::new(client.ip().to_canonical(), client.port());
        self.generation = self.generation.wrapping_add(1);
        let place = self.shared.roster.enter(client);
        let entry = self.connections.vacant_entry();
        let index = entry.key();
        let connection =
            entry.insert(Connection::new(stream, client, self.generation, place, self.clock.millis()));
        self.tally.opened += 1;
        if let Err(error) =
            self.poll.registry().register(&mut connection.stream, Token(index), Interest::READABLE)
        {
            error!(%error, %client, "cannot watch a connection");
            return self.close(index, crate::metrics::CloseReason::Reset);
        }
        if let Some(greeting) = self.shared.settings.dialect.greeting() {
            let result = connection.send(greeting, self.clock, &mut self.tally);
            if !self.sent(index, &result) {
                return;
            }
        }
        self.notice_latecomer(index);
    }

    /// Accepts what the kernel has queued, then closes the listener.
    pub(super) fn end_accepting(&mut self) {
        self.listener_ready();
        while self.accept_one() {}
        self.acceptor = None;
        for (number, inbox) in self.shared.inboxes.iter().enumerate() {
            if number != self.number {
                Arc::clone(inbox).tell(News::AcceptingEnded);
            }
        }
        self.begin_notices();
    }
}

/// The connection broke before it was accepted; the next one is not affected.
fn is_the_clients(error: &io::Error) -> bool {
    let theirs = [
        Errno::CONNABORTED,
        Errno::INTR,
        Errno::PROTO,
        Errno::NETDOWN,
        Errno::HOSTUNREACH,
        Errno::NETUNREACH,
    ];
    Errno::from_io_error(error).is_some_and(|errno| theirs.contains(&errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_open_files_are_reserved() {
        assert_eq!(connections_max(20_000), 19_744);
        assert_eq!(connections_max(64), 48);
    }

    #[test]
    fn running_out_of_files_is_not_the_clients_fault() {
        assert!(is_the_clients(&Errno::CONNABORTED.into()));
        assert!(!is_the_clients(&Errno::MFILE.into()));
        assert!(!is_the_clients(&Errno::NFILE.into()));
    }
}
