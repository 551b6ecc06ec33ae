//! One I/O thread: a poller and its connections.
//!
//! Registration is edge-triggered: after an edge, a connection is read until a read comes back short; writability is
//! watched only after a write would have blocked. One read buffer and one reply buffer serve all connections; a
//! connection owns memory only while part of a line or reply is pending.
//!
//! A connection's commands wait while one of them is with a backend (to keep replies in order) and while output is
//! queued (to bound the queue). Other connections are not affected.
//!
//! There are no timers: each turn of the loop asks what is due ([`Worker::timeout`]), and lists hold only the
//! connections for which something is due.

mod accept;
mod broadcast;
mod connection;
mod drain;
mod input;
mod outbound;
mod output;
mod shed;
mod timers;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::{Events, Poll, Token};
use service::{Phase, Readiness, Shutdown, listen};
use slab::Slab;

use self::accept::Acceptor;
use self::broadcast::Pass;
use self::connection::{Connection, Life};
use self::drain::Drain;
use crate::backend::Backend;
use crate::inbox::{Inbox, News};
use crate::metrics::{CloseReason, Metrics, Tally};
use crate::request::Handle;
use crate::roster::Roster;
use crate::settings::{READ_BUFFER_BYTES, Settings};

/// Replies of one pass are written when they reach this size, and at the end of the pass.
const REPLY_BUFFER_BYTES: usize = 16 * 1024;
/// Reads per connection and turn; the rest waits until the others have been served.
const READS_PER_TURN: usize = 4;
const EVENTS_PER_TURN: usize = 1024;

const LISTENER: Token = Token(usize::MAX);
pub(crate) const INBOX: Token = Token(usize::MAX - 1);

/// State shared by all workers of a server.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) roster: Arc<Roster>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) inboxes: Vec<Arc<Inbox>>,
    pub(crate) backend: Backend,
    pub(crate) shutdown: Shutdown,
    pub(crate) readiness: Readiness,
    /// The answer to `WHERE`.
    pub(crate) server_id: String,
}

/// See the module.
pub(crate) struct Worker {
    poll: Poll,
    /// This worker's place among [`Shared::inboxes`].
    number: usize,
    shared: Arc<Shared>,
    /// Only in the first worker, which accepts for all.
    acceptor: Option<Acceptor>,
    connections: Slab<Connection>,
    generation: u32,
    buffers: Buffers,
    tally: Tally,
    clock: Clock,
    news: Vec<News>,
    /// Connections that had more to read than a turn allows.
    again: Vec<Handle>,
    /// The broadcast being written, to some connections per turn.
    pass: Option<Pass>,
    /// The turn's share was used up before all broadcasts were written.
    broadcasts_wait: bool,
    lists: Lists,
    drain: Drain,
}

struct Buffers {
    read: Box<[u8]>,
    replies: Vec<u8>,
}

/// Connections with something due later.
#[derive(Default)]
struct Lists {
    /// With queued output.
    stalled: Vec<Handle>,
    /// Sent a packet above the limit and are not quiet yet.
    noisy: Vec<Handle>,
    /// The sending side is (about to be) closed; dropped at the given time.
    lingering: VecDeque<(Instant, Handle)>,
    /// Told to reconnect elsewhere; closed at the given time.
    shed: VecDeque<(Instant, Handle)>,
    next_stall_check: Option<Instant>,
    next_quiet_check: Option<Instant>,
    next_idle_check: Option<Instant>,
}

/// The time of a turn, read once.
#[derive(Debug, Clone, Copy)]
struct Clock {
    origin: Instant,
    now: Instant,
}

impl Clock {
    fn start() -> Self {
        let now = clock::now();
        Self { origin: now, now }
    }

    fn tick(&mut self) {
        self.now = clock::now();
    }

    /// Milliseconds since the start, wrapping after 49 days: four bytes per connection are enough for ages, which
    /// are compared by wrapping subtraction.
    #[inline]
    fn millis(self) -> u32 {
        self.now.duration_since(self.origin).as_millis() as u32
    }

    fn age(self, since_ms: u32) -> Duration {
        Duration::from_millis(self.millis().wrapping_sub(since_ms).into())
    }
}

impl Worker {
    pub(crate) fn new(
        poll: Poll,
        number: usize,
        shared: Arc<Shared>,
        listener: Option<std::net::TcpListener>,
    ) -> io::Result<Self> {
        let acceptor = listener.map(|listener| Acceptor::new(listener, poll.registry())).transpose()?;
        let clock = Clock::start();
        Ok(Self {
            poll,
            number,
            acceptor,
            connections: Slab::new(),
            generation: 0,
            buffers: Buffers {
                read: vec![0; READ_BUFFER_BYTES].into_boxed_slice(),
                replies: Vec::with_capacity(REPLY_BUFFER_BYTES + READ_BUFFER_BYTES),
            },
            tally: Tally::default(),
            clock,
            news: Vec::new(),
            again: Vec::new(),
            pass: None,
            broadcasts_wait: false,
            lists: Lists {
                next_idle_check: Some(clock.now + shared.settings.idle_check),
                ..Lists::default()
            },
            drain: Drain::NotBegun,
            shared,
        })
    }

    /// Serves connections until the drain is over or the end is forced.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        // The phase may have changed before the waker was registered.
        self.follow_shutdown();
        while !self.is_done() {
            let timeout = self.timeout();
            if let Err(error) = self.poll.poll(&mut events, timeout) {
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                return Err(error);
            }
            self.clock.tick();
            self.turn(&events);
            self.tally.settle(&self.shared.metrics);
        }
        self.end();
        Ok(())
    }

    fn turn(&mut self, events: &Events) {
        for event in events {
            match event.token() {
                LISTENER => self.listener_ready(),
                INBOX => self.read_inbox(),
                Token(index) => self.connection_ready(index, event),
            }
        }
        self.accept();
        self.resume_again();
        self.broadcast();
        self.fire_timers();
    }

    fn connection_ready(&mut self, index: usize, event: &Event) {
        // An event of a connection that ended in this turn may hit its successor at the same index. That is harmless:
        // reads and writes do nothing.
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        connection.note_event(event);
        if connection.is_broken(event) {
            return self.close(index, CloseReason::Reset);
        }
        if event.is_writable() && !self.flush(index) {
            return;
        }
        self.drive(index);
    }

    fn read_inbox(&mut self) {
        let mut news = std::mem::take(&mut self.news);
        self.shared.inboxes[self.number].take(&mut news);
        for item in news.drain(..) {
            match item {
                News::Connection(stream, client) => self.adopt(stream, client),
                News::Done(completion) => self.complete(completion),
                News::AcceptingEnded => self.begin_notices(),
                News::Shed(count, answer) => {
                    // The client that asked may be gone.
                    let _ = answer.send(self.shed(count));
                }
            }
        }
        // Keeps its capacity for next time.
        self.news = news;
        self.follow_shutdown();
    }

    fn resume_again(&mut self) {
        for handle in std::mem::take(&mut self.again) {
            if let Some(index) = self.find(handle) {
                self.connections[index].queued_again = false;
                self.drive(index);
            }
        }
    }

    /// The index of a connection, if it is still the one the handle was made for.
    fn find(&self, handle: Handle) -> Option<usize> {
        let index = handle.index as usize;
        self.connections
            .get(index)
            .filter(|connection| connection.generation == handle.generation)
            .map(|_| index)
    }

    /// Ends a connection at once.
    fn close(&mut self, index: usize, reason: CloseReason) {
        let connection = self.connections.remove(index);
        // A closing connection keeps its reason.
        let reason = match connection.life {
            Life::Open => reason,
            Life::Closing(first) | Life::Lingering(first) => first,
        };
        if let Some(place) = connection.place {
            self.shared.roster.leave(place);
        }
        match reason {
            CloseReason::Reset => {}
            CloseReason::Slow => listen::reset_on_close(&connection.stream),
            // It may not read what the kernel still holds for it.
            _ => listen::give_up_after(&connection.stream, self.shared.settings.write_timeout),
        }
        self.tally.closed(reason);
        if let Some(acceptor) = &mut self.acceptor {
            acceptor.room_again();
        }
    }

    fn is_done(&self) -> bool {
        self.shared.shutdown.phase() == Phase::Forced
            || (self.drain.accepting_ended() && self.connections.is_empty())
    }

    fn end(&mut self) {
        let left: Vec<usize> = self.connections.iter().map(|(index, _)| index).collect();
        for index in left {
            self.close(index, CloseReason::Forced);
        }
        self.tally.settle(&self.shared.metrics);
    }
}
