//! All sessions of one worker: opens them, lets them move, and counts how they end.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::Registry;
use mio::event::Event;
use mio::net::TcpStream;
use slab::Slab;

use super::connects::{Connects, Pending};
use super::flow::Shared;
use super::session::{Direction, Session, Side, Step, Turn, from_token};
use crate::cluster::Cluster;
use crate::cluster::backend::Backend;
use crate::router::Router;
use crate::shortages::Shortage;
use crate::stats::Stats;
use crate::upstream::{self, Follows};

/// Settings for the sessions of all workers.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Source address of upstream connections.
    pub(crate) source: Option<IpAddr>,
    /// Maximum number of client connections of all workers together.
    pub(crate) connections_max: usize,
    pub(crate) connect_timeout: Duration,
    /// How long a side may leave pending data unread; `None`: forever.
    pub(crate) stall_timeout: Option<Duration>,
    /// Maximum silence of a session; `None`: no limit.
    pub(crate) tunnel_timeout: Option<Duration>,
    /// Pipes for bulk data of one worker; each takes two open files.
    pub(crate) pipes_max: usize,
}

/// Sweeps per tunnel time-out: a session that falls silent is closed at most an eighth of it late.
const SWEEPS: u8 = 8;

/// How a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    InOrder,
    Reset,
    /// Its backend could not be reached and no longer counts it.
    Unreached(Shortage),
}

impl Limits {
    fn sweep_after(&self, now: Instant) -> Option<Instant> {
        self.tunnel_timeout.map(|timeout| now + timeout / u32::from(SWEEPS))
    }
}

#[derive(Debug)]
pub(super) struct Sessions {
    registry: Registry,
    slab: Slab<Session>,
    router: Router,
    cluster: Arc<Cluster>,
    stats: Arc<Stats>,
    limits: Limits,
    shared: Shared,
    connects: Connects,
    /// When the next sweep for silent sessions is due; `None`: there is nothing to find.
    next_sweep: Option<Instant>,
    /// Flows that yielded to others and can continue.
    again: Vec<(usize, Direction)>,
    serial: u32,
    /// The last failed connect, and why it failed.
    cause: String,
    /// A session has ended since the last check.
    ended: bool,
}

impl Sessions {
    pub(super) fn new(
        registry: Registry,
        router: Router,
        cluster: Arc<Cluster>,
        stats: Arc<Stats>,
        limits: Limits,
    ) -> Self {
        Self {
            registry,
            slab: Slab::new(),
            router,
            cluster,
            stats,
            shared: Shared::new(limits.pipes_max, limits.stall_timeout),
            connects: Connects::new(limits.connect_timeout),
            limits,
            next_sweep: None,
            again: Vec::new(),
            serial: 0,
            cause: String::new(),
            ended: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    /// True if some flow can continue without an event.
    pub(super) fn can_continue(&self) -> bool {
        !self.again.is_empty()
    }

    pub(super) fn stats(&self) -> &Stats {
        &self.stats
    }

    /// True if another connection fits.
    pub(super) fn have_room(&self) -> bool {
        self.stats.active() < self.limits.connections_max
    }

    /// True if a session ended since the last call.
    pub(super) fn take_ended(&mut self) -> bool {
        std::mem::take(&mut self.ended)
    }

    /// Gives a new client a backend. If there is none, closes the connection at once: making it wait would only shift
    /// the time-out to the client.
    pub(super) fn open(&mut self, client: TcpStream, now: Instant) {
        self.stats.connection_opened();
        // Many clients have sent something by now. Reading it here saves an event and a packet.
        let Ok(taken) = self.shared.read(&client) else {
            self.stats.reset.increment();
            return self.stats.connection_closed();
        };
        if let Err(shortage) = self.try_open(client, taken, now) {
            self.refused(shortage, now);
            self.stats.connection_closed();
        }
    }

    /// `taken`: how much the client has already sent, see [`Shared::read`].
    fn try_open(&mut self, client: TcpStream, taken: usize, now: Instant) -> Result<(), Shortage> {
        let mut backend = self.router.choose(None)?;
        let follows = Follows::of(taken > 0);
        let upstream = match self.connect(&backend, follows) {
            Ok(upstream) => upstream,
            Err(error) => {
                let shortage = self.connect_failed(&backend, &error, now);
                let upstream;
                (backend, upstream) = self.connect_elsewhere(&backend, shortage, follows, now)?;
                upstream
            }
        };
        let serial = self.next_serial();
        let entry = self.slab.vacant_entry();
        let key = entry.key();
        match Session::new(client, upstream, Arc::clone(&backend), serial, &self.registry, key) {
            Ok(session) => {
                entry.insert(session);
                self.next_sweep = self.next_sweep.or_else(|| self.limits.sweep_after(now));
                self.connects.began(Pending { key, serial }, now);
                if taken > 0 {
                    self.step(key, now, |session, turn| session.begin(taken, turn));
                }
                Ok(())
            }
            Err(error) => Err(self.connect_failed(&backend, &error, now)),
        }
    }

    fn refused(&self, shortage: Shortage, now: Instant) {
        let by_connect = !matches!(shortage, Shortage::NoEndpoint | Shortage::CircuitOpen);
        self.stats.shortages.refused(shortage, if by_connect { &self.cause } else { "" }, now);
    }

    fn next_serial(&mut self) -> u32 {
        self.serial = self.serial.wrapping_add(1);
        self.serial
    }

    /// The second and last try, at any backend except the failed one. If there is none, the first try's `shortage`
    /// remains the reason.
    fn connect_elsewhere(
        &mut self,
        failed: &Arc<Backend>,
        shortage: Shortage,
        follows: Follows,
        now: Instant,
    ) -> Result<(Arc<Backend>, TcpStream), Shortage> {
        let chosen = self.router.choose(Some(failed));
        let backend = chosen.map_err(|none| if none == Shortage::ConnectFailed { shortage } else { none })?;
        self.stats.retried.increment();
        match self.connect(&backend, follows) {
            Ok(upstream) => Ok((backend, upstream)),
            Err(error) => Err(self.connect_failed(&backend, &error, now)),
        }
    }

    fn connect(&self, backend: &Backend, follows: Follows) -> io::Result<TcpStream> {
        upstream::connect(backend.address, self.limits.source, follows, None).map(TcpStream::from_std)
    }

    fn connect_failed(&mut self, backend: &Arc<Backend>, error: &io::Error, now: Instant) -> Shortage {
        let shortage = upstream::shortage(error);
        self.cause = format!("connect to {} at {}: {error}", backend.name, backend.address);
        tracing::debug!("{}", self.cause);
        self.cluster.connect_failed(backend, shortage == Shortage::ConnectFailed, now);
        shortage
    }

    /// Handles an event of a session's socket.
    pub(super) fn event(&mut self, event: &Event, now: Instant) {
        let (key, side) = from_token(event.token());
        let failed = event.is_error();
        let closed = failed || event.is_read_closed() || event.is_write_closed();
        if side == Side::Backend && (failed || event.is_writable()) {
            self.step(key, now, |session, _| match session.check_connect() {
                Ok(_) => Step::Wait,
                Err(error) => Step::Unreachable(error),
            });
        }
        if event.is_writable() {
            self.step(key, now, |session, turn| {
                let direction = side.incoming();
                if session.waits_for_sink(direction) {
                    session.drive(direction, false, turn)
                } else {
                    Step::Wait
                }
            });
        }
        if event.is_readable() || closed {
            self.step(key, now, |session, turn| session.source_ready(side.outgoing(), closed, turn));
        }
        if failed {
            // The read above took the error, unless the flow waits for its sink and did not read.
            self.step(key, now, |session, _| match session.take_error(side) {
                Some(error) => Step::Reset(error.kind()),
                None => Step::Wait,
            });
        }
    }

    /// Continues flows that yielded to others.
    pub(super) fn go_on(&mut self, now: Instant) {
        for (key, direction) in std::mem::take(&mut self.again) {
            // If the session ended and its key was reused, this is one idle read of the new one.
            self.step(key, now, |session, turn| session.drive(direction, true, turn));
        }
    }

    /// Advances a session, if it still exists, and handles the outcome.
    fn step(&mut self, key: usize, now: Instant, make: impl FnOnce(&mut Session, &mut Turn<'_>) -> Step) {
        let Some(session) = self.slab.get_mut(key) else {
            return;
        };
        let mut turn = Turn { registry: &self.registry, shared: &mut self.shared, key };
        match make(session, &mut turn) {
            Step::Wait => {}
            Step::Again(direction) => self.again.push((key, direction)),
            Step::Ended => self.end(key, End::InOrder, now),
            Step::Reset(kind) => {
                if kind == io::ErrorKind::TimedOut {
                    self.stats.timed_out.increment();
                }
                self.end(key, End::Reset, now);
            }
            Step::Unreachable(error) => self.retry(key, &error, now),
        }
    }

    /// Moves a session whose backend could not be reached to another one, once.
    fn retry(&mut self, key: usize, error: &io::Error, now: Instant) {
        let Some(session) = self.slab.get(key) else { return };
        let (failed, retried) = (Arc::clone(session.backend()), session.retried());
        let follows = Follows::of(session.waits_for_sink(Direction::Up));
        let shortage = self.connect_failed(&failed, error, now);
        if retried {
            return self.end(key, End::Unreached(shortage), now);
        }
        match self.connect_elsewhere(&failed, shortage, follows, now) {
            Ok((backend, upstream)) => {
                let serial = self.next_serial();
                self.connects.began(Pending { key, serial }, now);
                self.step(key, now, |session, turn| {
                    session.switch(backend, upstream, serial, turn).unwrap_or_else(Step::Unreachable)
                });
            }
            Err(shortage) => self.end(key, End::Unreached(shortage), now),
        }
    }

    fn end(&mut self, key: usize, end: End, now: Instant) {
        let Some(session) = self.slab.try_remove(key) else {
            return;
        };
        match end {
            End::InOrder | End::Reset => session.backend().session_closed(),
            End::Unreached(shortage) => self.refused(shortage, now),
        }
        if end == End::Reset {
            self.stats.reset.increment();
            session.reset(&mut self.shared);
        } else {
            session.close(&mut self.shared);
        }
        self.stats.connection_closed();
        self.ended = true;
    }

    /// When the next connect may time out, or the next sweep is due.
    pub(super) fn next_due(&mut self) -> Option<Instant> {
        let slab = &self.slab;
        let connect = self.connects.next_due(|pending| {
            slab.get(pending.key)
                .is_none_or(|session| session.serial() != pending.serial || session.connected())
        });
        [connect, self.next_sweep].into_iter().flatten().min()
    }

    /// Closes sessions that have carried nothing for the tunnel time-out.
    pub(super) fn sweep(&mut self, now: Instant) {
        if self.next_sweep.is_none_or(|due| due > now) {
            return;
        }
        // One more than fit into the time-out: the first may come right after the last byte.
        let silent = |(key, session): (usize, &mut Session)| (session.sweep() > SWEEPS).then_some(key);
        let silent: Vec<usize> = self.slab.iter_mut().filter_map(silent).collect();
        for key in silent {
            self.stats.silent.increment();
            self.end(key, End::InOrder, now);
        }
        self.next_sweep = if self.slab.is_empty() { None } else { self.limits.sweep_after(now) };
    }

    /// Ends connects whose time is up.
    pub(super) fn time_out_connects(&mut self, now: Instant) {
        while let Some(pending) = self.connects.pop_due(now) {
            self.step(pending.key, now, |session, _| {
                if session.serial() != pending.serial {
                    return Step::Wait;
                }
                match session.check_connect() {
                    Ok(true) => Step::Wait,
                    Ok(false) => Step::Unreachable(io::ErrorKind::TimedOut.into()),
                    Err(error) => Step::Unreachable(error),
                }
            });
        }
    }

    /// Closes the remaining sessions at the end of a drain.
    pub(super) fn cut(&mut self, now: Instant) {
        let keys: Vec<usize> = self.slab.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.stats.cut.increment();
            self.end(key, End::InOrder, now);
        }
    }
}
