//! One event loop.
//!
//! Per turn: events of sessions, then flows that yielded to others, then new connections (last, so that the key of a
//! session that ended in this turn is not reused within it), then what is due. With nothing to do, it sleeps without a
//! time-out.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use balance::Policy;
use mio::{Events, Poll, Token, Waker};
use service::{Phase, Shutdown};

use super::accept::Acceptor;
use super::sessions::{Limits, Sessions};
use crate::cluster::Cluster;
use crate::pace::Pace;
use crate::router::Router;
use crate::stats::Stats;

const WAKER: Token = Token(usize::MAX);
const FIRST_LISTENER: Token = Token(usize::MAX - 1);

/// Events taken from the kernel at once.
const EVENTS: usize = 1024;

/// State shared with the other parts of the gateway.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) shutdown: Shutdown,
}

/// Settings of a worker.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) limits: Limits,
    pub(crate) policy: Policy,
    /// Interval between accepts; `None`: no limit.
    pub(crate) accept_interval: Option<Duration>,
    /// Maximum number of sessions of one backend.
    pub(crate) circuit_max: u64,
    /// How long sessions may continue after a drain starts.
    pub(crate) drain_timeout: Duration,
    /// Nobody else keeps the listeners, so connections in their queues are accepted before they are closed.
    pub(crate) last_call: bool,
}

/// One event loop with its sessions.
#[derive(Debug)]
pub(crate) struct Worker {
    poll: Poll,
    acceptor: Acceptor,
    sessions: Sessions,
    context: Context,
    plan: Plan,
    drain_ends: Option<Instant>,
}

impl Worker {
    pub(crate) fn new(listeners: Vec<TcpListener>, context: Context, plan: Plan) -> io::Result<Self> {
        let poll = Poll::new()?;
        let pace = plan.accept_interval.map(Pace::new);
        let acceptor = Acceptor::new(listeners, poll.registry(), FIRST_LISTENER, pace)?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        context.shutdown.subscribe(move |_| {
            // Fails only if the poll is gone, and then so is the worker.
            let _ = waker.wake();
        });
        let sessions = Sessions::new(
            poll.registry().try_clone()?,
            Router::new(Arc::clone(&context.cluster), plan.policy, plan.circuit_max),
            Arc::clone(&context.cluster),
            Arc::clone(&context.stats),
            plan.limits.clone(),
        );
        Ok(Self { poll, acceptor, sessions, context, plan, drain_ends: None })
    }

    /// Runs until the drain is over: all sessions ended, its time is up, or it was forced.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        while !self.is_done() {
            let timeout = self.timeout();
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                result => result?,
            }
            self.context.stats.turns.increment();
            self.turn(&events, clock::now());
        }
        self.sessions.cut(clock::now());
        Ok(())
    }

    fn turn(&mut self, events: &Events, now: Instant) {
        for event in events {
            if event.token() != WAKER && !self.acceptor.event(event.token()) {
                self.sessions.event(event, now);
            }
        }
        self.sessions.go_on(now);
        if self.sessions.take_ended() || self.acceptor.paused_until().is_some_and(|until| until <= now) {
            self.acceptor.resume();
        }
        if self.acceptor.ready() {
            self.acceptor.take(now, &mut self.sessions);
        }
        self.sessions.time_out_connects(now);
        self.sessions.sweep(now);
    }

    /// Follows the phase of the shutdown; true if the loop should end.
    fn is_done(&mut self) -> bool {
        match self.context.shutdown.phase() {
            Phase::Running => false,
            Phase::Draining => {
                let now = clock::now();
                let drain_ends = *self.drain_ends.get_or_insert_with(|| {
                    self.acceptor.close(self.plan.last_call, now, &mut self.sessions);
                    tracing::info!(sessions = self.sessions.len(), "draining: accepting no new connections");
                    now + self.plan.drain_timeout
                });
                self.sessions.is_empty() || drain_ends <= now
            }
            Phase::Forced => true,
        }
    }

    /// How long to sleep; forever if only an event can bring work.
    fn timeout(&mut self) -> Option<Duration> {
        if self.acceptor.ready() || self.sessions.can_continue() {
            return Some(Duration::ZERO);
        }
        let due = [self.sessions.next_due(), self.acceptor.paused_until(), self.drain_ends];
        due.into_iter().flatten().min().map(|due| due.saturating_duration_since(clock::now()))
    }
}
