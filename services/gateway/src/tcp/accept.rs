//! Accepts connections from the listeners, and pauses when there is no room for more.
//!
//! A paused listener is not closed: connections wait in the kernel's queue. Accepting resumes when a session of this
//! worker ends, and is retried after [`RETRY`] in case other workers or processes freed something. A failed accept is
//! never retried at once, so running out of open files costs no CPU.

use std::io;
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::{Interest, Registry, Token};

use super::sessions::Sessions;
use crate::pace::Pace;
use crate::shortages::Shortage;
use crate::upstream::lacks_resources;

/// Connections accepted in one go before sessions get their turn.
const BATCH: usize = 64;

/// How long a pause lasts if nothing ends it sooner.
const RETRY: Duration = Duration::from_millis(100);

/// The listeners of one worker.
#[derive(Debug)]
pub(super) struct Acceptor {
    listeners: Vec<Listener>,
    paused_until: Option<Instant>,
    /// Nothing was accepted since accepting paused, so that a long pause is counted once.
    stuck: bool,
    pace: Option<Pace>,
    /// The accept rate caused the pause.
    waits_for_turn: bool,
}

#[derive(Debug)]
struct Listener {
    socket: TcpListener,
    token: Token,
    /// Its queue may hold connections. Events are edge-triggered, so this outlives them.
    waiting: bool,
}

impl Acceptor {
    /// Registers `listeners` under the tokens `first`, `first - 1`, …
    pub(super) fn new(
        listeners: Vec<std::net::TcpListener>,
        registry: &Registry,
        first: Token,
        pace: Option<Pace>,
    ) -> io::Result<Self> {
        let mut registered = Vec::with_capacity(listeners.len());
        for (index, listener) in listeners.into_iter().enumerate() {
            let token = Token(first.0 - index);
            let mut socket = TcpListener::from_std(listener);
            registry.register(&mut socket, token, Interest::READABLE)?;
            registered.push(Listener { socket, token, waiting: false });
        }
        let (paused_until, stuck, waits_for_turn) = (None, false, false);
        Ok(Self { listeners: registered, paused_until, stuck, pace, waits_for_turn })
    }

    /// Handles an event; false if it is not for a listener.
    pub(super) fn event(&mut self, token: Token) -> bool {
        let Some(listener) = self.listeners.iter_mut().find(|listener| listener.token == token) else {
            return false;
        };
        listener.waiting = true;
        true
    }

    /// True if there is something to accept and accepting is not paused.
    pub(super) fn ready(&self) -> bool {
        self.paused_until.is_none() && self.listeners.iter().any(|listener| listener.waiting)
    }

    /// The latest end of a pause.
    pub(super) fn paused_until(&self) -> Option<Instant> {
        self.paused_until
    }

    /// Ends a pause.
    pub(super) fn resume(&mut self) {
        if self.paused_until.take().is_some() {
            // Connections that arrived meanwhile have used up their edge.
            self.listeners.iter_mut().for_each(|listener| listener.waiting = true);
        }
    }

    /// Accepts a batch of connections.
    pub(super) fn take(&mut self, now: Instant, sessions: &mut Sessions) {
        for listener in &mut self.listeners {
            for _ in 0..BATCH {
                if !listener.waiting {
                    break;
                }
                if !sessions.have_room() {
                    return self.pause(Shortage::Connections, now, sessions);
                }
                if let Some(turn) = self.pace.as_ref().and_then(|pace| pace.wait_until(now)) {
                    (self.paused_until, self.waits_for_turn) = (Some(turn), true);
                    return;
                }
                match listener.socket.accept() {
                    Ok((client, _)) => {
                        self.stuck = false;
                        if let Some(pace) = &mut self.pace {
                            pace.took(now);
                            if std::mem::take(&mut self.waits_for_turn) {
                                sessions.stats().delayed.increment();
                            }
                        }
                        sessions.open(client, now);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        (listener.waiting, self.waits_for_turn) = (false, false);
                    }
                    Err(error) if lacks_resources(&error) => {
                        return self.pause(Shortage::Resources, now, sessions);
                    }
                    // This connection broke before it was accepted; the next one may be fine.
                    Err(_) => {}
                }
            }
        }
    }

    fn pause(&mut self, shortage: Shortage, now: Instant, sessions: &Sessions) {
        self.paused_until = Some(now + RETRY);
        sessions.stats().shortages.paused(shortage, self.stuck, now);
        self.stuck = true;
    }

    /// Stops listening. If the gateway alone has the listeners (`last_call`), queued connections would be reset, so
    /// they are accepted first; listeners that somebody else keeps have a successor.
    pub(super) fn close(&mut self, last_call: bool, now: Instant, sessions: &mut Sessions) {
        for listener in self.listeners.drain(..) {
            while last_call && sessions.have_room() {
                let Ok((client, _)) = listener.socket.accept() else {
                    break;
                };
                sessions.open(client, now);
            }
        }
        self.paused_until = None;
    }
}
