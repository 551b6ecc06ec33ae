//! One event loop.
//!
//! Per turn: replies of replicas, sent to their clients together; then packets of clients; then expired sessions. With
//! nothing to do, it sleeps until the longest idle session is due.

use std::io;
use std::net::{SocketAddrV4, SocketAddrV6, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use balance::Policy;
use mio::{Events, Interest, Poll, Token, Waker};
use service::Phase;
use service::datagrams::{BATCH, Inbound, Peer};

use super::LINGER;
use super::ledger::Ledger;
use super::relay::{Limits, Relay};
use super::router::Router;
use crate::tcp::worker::Context;

const WAKER: Token = Token(usize::MAX);
const FIRST_LISTENER: usize = usize::MAX - 1;

/// Events taken from the kernel at once.
const EVENTS: usize = 1024;

/// Batches taken from one listener before replicas get their turn.
const BATCHES: usize = 4;

/// Bytes reserved for each packet: more than any has. Not a power of two, so that the starts of all packets of a batch
/// do not share a few sets of the processor's caches.
const PACKET_BYTES: usize = 65_536 + 320;

/// Sessions end at most this late, so that many that end one after another do not each cost a turn.
const SWEEP: Duration = Duration::from_secs(1);

/// Settings of a worker.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) limits: Limits,
    pub(crate) policy: Policy,
    /// Maximum number of sessions of one replica.
    pub(crate) circuit_max: u64,
    /// How long sessions may continue after a drain starts.
    pub(crate) drain_timeout: Duration,
    /// Somebody else keeps the sockets, and a successor will read them.
    pub(crate) succeeded: bool,
    pub(crate) ledger: Option<Ledger>,
}

/// One event loop with its sessions.
#[derive(Debug)]
pub(crate) struct Worker {
    poll: Poll,
    sockets: Vec<UdpSocket>,
    context: Context,
    plan: Plan,
}

impl Worker {
    pub(crate) fn new(sockets: Vec<UdpSocket>, context: Context, plan: Plan) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        context.shutdown.subscribe(move |_| {
            // Fails only if the poll is gone, and then so is the worker.
            let _ = waker.wake();
        });
        Ok(Self { poll, sockets, context, plan })
    }

    /// Runs until the drain is over: all sessions ended, its time is up, or it was forced.
    pub(crate) fn run(self) -> io::Result<()> {
        // All are of one family, see `sockets`.
        if self.sockets.first().is_some_and(|socket| socket.local_addr().is_ok_and(|own| own.is_ipv4())) {
            self.run_for::<SocketAddrV4>()
        } else {
            self.run_for::<SocketAddrV6>()
        }
    }

    fn run_for<P: Peer>(self) -> io::Result<()> {
        let Self { mut poll, sockets, context, plan } = self;
        let mut turns = Turns::<P>::new(&poll, sockets, &context, plan)?;
        let mut events = Events::with_capacity(EVENTS);
        while !turns.is_done(&poll)? {
            match poll.poll(&mut events, turns.timeout(clock::now())) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            context.stats.turns.increment();
            turns.turn(&events, clock::now());
        }
        turns.relay.cut();
        Ok(())
    }
}

/// Created on the worker's own thread, because the memory for batches cannot be sent to another one.
struct Turns<'a, P: Peer> {
    context: &'a Context,
    listeners: Vec<Listener>,
    inbound: Inbound<P>,
    relay: Relay<P>,
    drain_timeout: Duration,
    succeeded: bool,
    drain_ends: Option<Instant>,
    sweep: Duration,
}

/// A socket that clients send to.
struct Listener {
    /// Registered with the poll; packets are read from the original.
    watched: mio::net::UdpSocket,
    /// It may hold packets. Events are edge-triggered, so this outlives them.
    waiting: bool,
}

impl<'a, P: Peer> Turns<'a, P> {
    fn new(poll: &Poll, sockets: Vec<UdpSocket>, context: &'a Context, plan: Plan) -> io::Result<Self> {
        let mut listeners = Vec::with_capacity(sockets.len());
        for (index, socket) in sockets.iter().enumerate() {
            let mut watched = mio::net::UdpSocket::from_std(socket.try_clone()?);
            poll.registry().register(&mut watched, Token(FIRST_LISTENER - index), Interest::READABLE)?;
            listeners.push(Listener { watched, waiting: false });
        }
        let sweep = SWEEP.min(plan.limits.idle_timeout / 8);
        let relay = Relay::new(
            sockets,
            poll.registry().try_clone()?,
            Router::new(Arc::clone(&context.cluster), plan.policy, plan.circuit_max),
            plan.ledger,
            Arc::clone(&context.stats),
            plan.limits,
        )?;
        Ok(Self {
            context,
            listeners,
            inbound: Inbound::new(PACKET_BYTES),
            relay,
            drain_timeout: plan.drain_timeout,
            succeeded: plan.succeeded,
            drain_ends: None,
            sweep,
        })
    }

    fn turn(&mut self, events: &Events, now: Instant) {
        for event in events {
            let Token(token) = event.token();
            if event.token() == WAKER {
                continue;
            }
            match FIRST_LISTENER.checked_sub(token).and_then(|index| self.listeners.get_mut(index)) {
                Some(listener) => listener.waiting = true,
                None => self.relay.take_replies(token, now),
            }
        }
        self.relay.go_on(now);
        self.relay.send_replies();
        for index in 0..self.listeners.len() {
            self.take_packets(index, now);
        }
        self.relay.expire(now);
    }

    fn take_packets(&mut self, index: usize, now: Instant) {
        for _ in 0..BATCHES {
            if !self.listeners[index].waiting {
                return;
            }
            match self.inbound.receive(&self.relay.listeners[index]) {
                Ok(count) => {
                    self.listeners[index].waiting = count == BATCH;
                    self.relay.forward(index, self.inbound.datagrams(), now);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.listeners[index].waiting = false;
                    if error.kind() != io::ErrorKind::WouldBlock {
                        tracing::warn!(%error, "cannot read clients' packets");
                    }
                }
            }
        }
    }

    /// Follows the phase of the shutdown; true if the loop should end.
    fn is_done(&mut self, poll: &Poll) -> io::Result<bool> {
        let now = clock::now();
        Ok(match self.context.shutdown.phase() {
            Phase::Running => false,
            Phase::Draining => match self.drain_ends {
                None => {
                    self.begin_drain(poll, now)?;
                    self.relay.clients() == 0
                }
                Some(drain_ends) => self.relay.clients() == 0 || drain_ends <= now,
            },
            Phase::Forced => true,
        })
    }

    /// A successor reads what arrives from now on and finds the sessions' replicas in the ledger: this worker only
    /// waits for replies in flight. Without a successor, sessions continue until they end.
    fn begin_drain(&mut self, poll: &Poll, now: Instant) -> io::Result<()> {
        tracing::info!(sessions = self.relay.clients(), "draining: accepting no new sessions");
        self.relay.take_no_new();
        let mut drain = self.drain_timeout;
        if self.succeeded {
            drain = drain.min(LINGER);
            for mut listener in self.listeners.drain(..) {
                poll.registry().deregister(&mut listener.watched)?;
            }
        }
        self.drain_ends = Some(now + drain);
        Ok(())
    }

    /// How long to sleep; forever if only an event can bring work.
    fn timeout(&self, now: Instant) -> Option<Duration> {
        if self.relay.can_continue() || self.listeners.iter().any(|listener| listener.waiting) {
            return Some(Duration::ZERO);
        }
        let due = [self.relay.next_due().map(|due| due + self.sweep), self.drain_ends];
        due.into_iter().flatten().min().map(|due| due.saturating_duration_since(now))
    }
}
