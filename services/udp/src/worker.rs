//! One I/O thread: receives packets on a socket and answers them.
//!
//! Readiness is edge-triggered: the socket is read until a batch shows that it is empty. Sending blocks until there is
//! room in the socket's send buffer (up to the write time-out); meanwhile requests wait in the kernel's queue, and
//! those that do not fit are dropped and counted.

use std::io;
use std::net::{SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use protocol::{Command, reply};
use service::datagrams::{BATCH, Datagram, Inbound, Outbound, Peer, Sent};
use service::mailbox::Mailbox;
use service::{Phase, Readiness, Shutdown};
use tracing::{info, warn};

use crate::amplification;
use crate::backend::{Backend, Completion, Request, Work};
use crate::metrics::{CommandName, Metrics, Tally};
use crate::settings::Settings;

/// Batches per turn of the loop, before the mailbox is checked.
const BATCHES_PER_TURN: usize = 16;
/// If this many arrived at once, more have usually arrived by the time they are answered: the socket is read again
/// without waiting for an edge, which saves a system call. With fewer, the extra read would be wasted.
const BUSY: usize = 8;
/// A trailing line end does not count.
const LINE_END_BYTES: usize = 2;

const SOCKET: Token = Token(0);
pub(crate) const MAILBOX: Token = Token(1);

/// State shared by all workers of a server.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) mailboxes: Vec<Arc<Mailbox<Completion>>>,
    pub(crate) backend: Backend,
    pub(crate) shutdown: Shutdown,
    pub(crate) readiness: Readiness,
}

/// See the module.
pub(crate) struct Worker {
    poll: Poll,
    socket: UdpSocket,
    /// This worker's place among [`Shared::mailboxes`].
    number: usize,
    shared: Arc<Shared>,
    tally: Tally,
    /// There may be more to read.
    readable: bool,
    /// Requests with the backend.
    awaited: usize,
    completions: Vec<Completion>,
    /// The end of the drain.
    ends: Option<Instant>,
}

impl Worker {
    pub(crate) fn new(poll: Poll, socket: UdpSocket, number: usize, shared: Arc<Shared>) -> io::Result<Self> {
        poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), SOCKET, Interest::READABLE)?;
        Ok(Self {
            poll,
            socket,
            number,
            shared,
            tally: Tally::default(),
            readable: false,
            awaited: 0,
            completions: Vec::new(),
            ends: None,
        })
    }

    /// Answers until the drain is over or the end is forced.
    pub(crate) fn run(self) -> io::Result<()> {
        if self.socket.local_addr()?.is_ipv4() {
            self.serve::<SocketAddrV4>()
        } else {
            self.serve::<SocketAddrV6>()
        }
    }

    fn serve<P: Peer>(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(8);
        // One byte more than the longest packet with its line end, to detect packets that are too long.
        let mut inbound = Inbound::<P>::new(self.shared.settings.packet_bytes_max + LINE_END_BYTES + 1);
        let mut outbound = Outbound::new();
        loop {
            // The phase may have changed before the mailbox was registered.
            self.follow_shutdown();
            if self.is_done() {
                break;
            }
            if let Err(error) = self.poll.poll(&mut events, self.timeout()) {
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                return Err(error);
            }
            self.readable |= events.iter().any(|event| event.token() == SOCKET);
            self.answer_waiting(&mut inbound, &mut outbound);
            self.send_completions(&mut outbound);
            self.tally.settle(&self.shared.metrics);
        }
        if self.shared.shutdown.phase() != Phase::Forced {
            // Answer what arrived before the end.
            self.readable = true;
            self.answer_waiting(&mut inbound, &mut outbound);
            self.tally.settle(&self.shared.metrics);
        }
        Ok(())
    }

    fn answer_waiting<P: Peer>(&mut self, inbound: &mut Inbound<P>, outbound: &mut Outbound<P>) {
        for _ in 0..BATCHES_PER_TURN {
            if !self.readable {
                break;
            }
            self.answer_batch(inbound, outbound);
        }
    }

    fn answer_batch<P: Peer>(&mut self, inbound: &mut Inbound<P>, outbound: &mut Outbound<P>) {
        match inbound.receive(&self.socket) {
            // Later packets bring their own edge.
            Ok(received) => self.readable = received >= BUSY,
            Err(error) => {
                self.readable = error.kind() == io::ErrorKind::Interrupted;
                if !self.readable && error.kind() != io::ErrorKind::WouldBlock {
                    warn!(%error, "cannot receive");
                }
                return;
            }
        }
        let mut replies = outbound.batch();
        for datagram in inbound.datagrams() {
            self.tally.received += 1;
            self.tally.received_bytes += datagram.bytes.len() as u64;
            if let Some(reply) = self.answer(datagram) {
                debug_assert!(reply.len() <= amplification::unproven(datagram.bytes.len()));
                // There are no more replies than requests.
                let _fits = replies.push(reply, datagram.peer);
            }
        }
        let sent = replies.send(&self.socket);
        self.count(sent);
    }

    /// The reply, if it is known at once.
    #[inline]
    fn answer<'a, P: Peer>(&mut self, datagram: Datagram<'a, P>) -> Option<&'a [u8]> {
        let packet = without_line_end(datagram.bytes);
        if datagram.truncated || packet.len() > self.shared.settings.packet_bytes_max {
            self.tally.too_long += 1;
            return Some(reply::PACKET_TOO_LONG);
        }
        match Command::parse(packet) {
            Ok(Command::Message(content)) => {
                self.tally.command(CommandName::Message);
                Some(content)
            }
            Ok(Command::Store { token, key, value }) => {
                self.tally.command(CommandName::Store);
                self.submit(datagram, Work::Store { token, key: key.into(), value: value.into() })
            }
            Ok(Command::Fetch { token, key }) => {
                self.tally.command(CommandName::Fetch);
                self.submit(datagram, Work::Fetch { token, key: key.into() })
            }
            // A command that only `tcp` has, well-formed or not.
            Err(_) if packet.starts_with(b"brd") => self.ignore(),
            Ok(_) => self.ignore(),
            Err(rejection) => {
                self.tally.command(CommandName::Refused);
                Some(rejection.brief().as_bytes())
            }
        }
    }

    fn ignore(&mut self) -> Option<&'static [u8]> {
        self.tally.unknown += 1;
        None
    }

    /// Hands work to the backend; answers at once if there is none.
    fn submit<P: Peer>(&mut self, datagram: Datagram<'_, P>, work: Work) -> Option<&'static [u8]> {
        let (worker, peer, bytes) = (self.number, datagram.peer.address(), datagram.bytes.len());
        let request = Request { worker, peer, bytes, received: clock::now(), work };
        match self.shared.backend.submit(request) {
            Ok(()) => {
                self.awaited += 1;
                None
            }
            Err(refusal) => Some(refusal),
        }
    }

    /// Sends the backend's answers.
    fn send_completions<P: Peer>(&mut self, outbound: &mut Outbound<P>) {
        let mut completions = std::mem::take(&mut self.completions);
        self.shared.mailboxes[self.number].take(&mut completions);
        for chunk in completions.chunks(BATCH) {
            let mut replies = outbound.batch();
            for completion in chunk {
                // They arrived on this very socket, so they are of its family.
                if let Some(peer) = P::of(completion.peer) {
                    let _fits = replies.push(completion.reply.bytes(), peer);
                }
            }
            let sent = replies.send(&self.socket);
            self.count(sent);
        }
        self.awaited -= completions.len();
        completions.clear();
        // Keeps its capacity for next time.
        self.completions = completions;
    }

    fn count(&mut self, sent: Sent) {
        self.tally.answered += sent.datagrams;
        self.tally.sent_bytes += sent.bytes;
        self.tally.unsent += sent.failed;
    }

    fn follow_shutdown(&mut self) {
        if self.ends.is_none() && self.shared.shutdown.phase() == Phase::Draining {
            self.shared.readiness.draining();
            let timeout = self.shared.settings.sigterm_timeout;
            self.ends = Some(clock::now() + timeout);
            info!(worker = self.number, seconds = timeout.as_secs_f64(), "draining, still answering");
        }
    }

    /// The drain does not wait for packets, which may never stop, and waits for the backend no longer than a command
    /// may take.
    fn is_done(&self) -> bool {
        let now = clock::now();
        let drained = |ends| now >= ends && (self.awaited == 0 || now >= self.backend_ends(ends));
        self.shared.shutdown.phase() == Phase::Forced || self.ends.is_some_and(drained)
    }

    fn backend_ends(&self, ends: Instant) -> Instant {
        ends + self.shared.settings.cache_timeout
    }

    fn timeout(&self) -> Option<Duration> {
        if self.readable {
            return Some(Duration::ZERO);
        }
        let (ends, now) = (self.ends?, clock::now());
        let next = if now < ends { ends } else { self.backend_ends(ends) };
        Some(next.saturating_duration_since(now))
    }
}

fn without_line_end(bytes: &[u8]) -> &[u8] {
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    line.strip_suffix(b"\r").unwrap_or(line)
}
