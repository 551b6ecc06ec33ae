//! Handles packets: which session they belong to, and where that session goes. [`ends`]: when it ends.

mod ends;

use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Interest, Registry, Token};
use nix::errno::Errno;
use service::datagrams::{BATCH, Datagram, Peer};

use super::ledger::{Ledger, Visitor};
use super::replies::Replies;
use super::router::Router;
use super::table::{Flow, Rank, Session, Table};
use super::upstream;
use crate::cluster::backend::Backend;
use crate::shortages::Shortage;
use crate::stats::Stats;

/// Reads from one replica's socket before others get their turn.
const ROUNDS: usize = 4;

/// Settings for the sessions of one worker.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Source address of sockets to replicas.
    pub(crate) source: Option<IpAddr>,
    /// Maximum number of sockets to replicas, including those of sessions that left.
    pub(crate) sessions_max: usize,
    pub(crate) idle_timeout: Duration,
}

/// Why a packet is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unserved {
    /// An answer to it would come back as another packet.
    Loop,
    /// It has no session and cannot get one.
    NoSession,
}

/// The sessions of one loop, whose clients are all of one address family.
pub(super) struct Relay<P: Peer> {
    pub(super) listeners: Vec<UdpSocket>,
    addresses: Vec<SocketAddr>,
    table: Table,
    router: Router,
    ledger: Option<Ledger>,
    replies: Replies<P>,
    registry: Registry,
    stats: Arc<Stats>,
    limits: Limits,
    /// Whether to try segmented messages to replicas.
    segments: bool,
    /// False during a drain: clients without a session get none.
    takes_new: bool,
    /// Sessions whose replica may have sent more.
    again: Vec<usize>,
    /// The packets of a batch by client; kept to reuse its memory.
    order: Vec<(SocketAddr, usize)>,
}

impl<P: Peer> Relay<P> {
    pub(super) fn new(
        listeners: Vec<UdpSocket>,
        registry: Registry,
        router: Router,
        ledger: Option<Ledger>,
        stats: Arc<Stats>,
        limits: Limits,
    ) -> std::io::Result<Self> {
        let addresses = listeners.iter().map(UdpSocket::local_addr).collect::<Result<_, _>>()?;
        Ok(Self {
            listeners,
            addresses,
            table: Table::new(),
            router,
            ledger,
            replies: Replies::new(),
            registry,
            stats,
            limits,
            segments: true,
            takes_new: true,
            again: Vec::new(),
            order: Vec::with_capacity(BATCH),
        })
    }

    /// Number of sessions with a client.
    pub(super) fn clients(&self) -> usize {
        self.table.clients()
    }

    /// From now on only clients that have a session are served.
    pub(super) fn take_no_new(&mut self) {
        self.takes_new = false;
    }

    /// True if some replica may have sent more without a new event.
    pub(super) fn can_continue(&self) -> bool {
        !self.again.is_empty()
    }

    /// Forwards a batch of packets that arrived at `listener`, grouped by client.
    pub(super) fn forward<'a>(
        &mut self,
        listener: usize,
        datagrams: impl Iterator<Item = Datagram<'a, P>>,
        now: Instant,
    ) {
        let mut bodies = [&[][..]; BATCH];
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        for (index, (datagram, body)) in datagrams.zip(&mut bodies).enumerate() {
            *body = datagram.bytes;
            order.push((datagram.peer.address(), index));
        }
        self.stats.packets.received.add(order.len() as u64);
        // By client, and per client in the order of arrival.
        order.sort_unstable();
        for group in order.chunk_by(|one, other| one.0 == other.0) {
            let mut packets = [IoSlice::new(&[]); BATCH];
            for (packet, (_, index)) in packets.iter_mut().zip(group) {
                *packet = IoSlice::new(bodies[*index]);
            }
            self.pass_on(Flow { client: group[0].0, listener }, &packets[..group.len()], now);
        }
        self.order = order;
    }

    /// Forwards what one client sent.
    fn pass_on(&mut self, flow: Flow, packets: &[IoSlice<'_>], now: Instant) {
        let found = match self.table.find(flow) {
            Some(key) => Ok(self.settle(key, now)),
            None => self.open(flow, now),
        };
        let no_session =
            |rest: &[IoSlice<'_>], stats: &Stats| stats.packets.no_session.add(rest.len() as u64);
        let mut key = match found {
            Ok(key) => key,
            Err(Unserved::Loop) => return self.stats.packets.loops.add(packets.len() as u64),
            Err(Unserved::NoSession) => return no_session(packets, &self.stats),
        };
        let mut rest = packets;
        // Retry what its replica refused: at another one, or at the same one if there is no other.
        for _ in 0..2 {
            // It had to move and lost its place: no socket could be opened.
            let Some(session) = self.table.get_mut(key) else { return no_session(rest, &self.stats) };
            let passed = upstream::send(&session.socket, rest, &mut self.segments);
            session.backend.packets_passed_to(passed.packets, passed.bytes);
            let too_long = passed.done as u64 - passed.packets;
            dropped(session, too_long, &self.stats);
            rest = &rest[passed.done..];
            match passed.error {
                None => break,
                Some(error) if upstream::lacks_room(error) => break,
                Some(error) => {
                    tracing::debug!(backend = session.backend.name, %error, "packet refused");
                    session.refused = true;
                    key = self.settle(key, now);
                }
            }
        }
        match self.table.get_mut(key) {
            Some(session) => {
                dropped(session, rest.len() as u64, &self.stats);
                self.heard(key, now);
            }
            None => no_session(rest, &self.stats),
        }
    }

    /// Notes that a session's client was heard: it is not idle and, if it was answered before, proven to be real.
    fn heard(&mut self, key: usize, now: Instant) {
        let session = self.table.get_mut(key).filter(|session| session.rank() != Rank::Left);
        let Some(session) = session else { return };
        let proof = session.answered && session.rank() == Rank::Fresh;
        if let Some(ledger) = &mut self.ledger {
            let due = |at: Instant| now.saturating_duration_since(at) >= ledger.refresh_after();
            if proof || session.recorded.is_none_or(due) {
                session.recorded = Some(now);
                let visitor = visitor(&self.addresses, session.flow);
                ledger.record(visitor, session.backend.address, proof || session.rank() == Rank::Proven);
            }
        }
        if proof {
            self.table.prove(key, now);
        } else {
            self.table.touch(key, now);
        }
    }

    /// Makes sure that a session is at an eligible replica. Returns the session: a new one, or the same if there is no
    /// other replica.
    fn settle(&mut self, key: usize, now: Instant) -> usize {
        let generation = self.router.generation();
        let Some(session) = self.table.get_mut(key) else { return key };
        if session.checked == generation && !session.refused {
            return key;
        }
        session.checked = generation;
        if !session.refused && self.router.serves(&session.backend) {
            return key;
        }
        self.move_away(key, now).unwrap_or_else(|| {
            if let Some(session) = self.table.get_mut(key) {
                session.refused = false;
            }
            key
        })
    }

    fn move_away(&mut self, key: usize, now: Instant) -> Option<usize> {
        let session = self.table.get_mut(key)?;
        let (flow, rank, refused) = (session.flow, session.rank(), session.refused);
        let old = Arc::clone(&session.backend);
        let new = self.router.choose(Some(&old)).ok()?;
        // It leaves first, so that its old place is given up if room is needed.
        if refused {
            // Nothing more can come from there.
            self.table.remove(key);
            self.router.cluster().connect_failed(&old, true, now);
        } else {
            self.table.leave(key, now);
            old.session_closed();
        }
        self.stats.packets.moved.increment();
        tracing::debug!(from = old.name, to = new.name, client = %flow.client, "session moved");
        let Ok(socket) = self.connect(&new, now) else {
            self.stats.connection_closed();
            return None;
        };
        self.insert(flow, new, socket, rank, now).ok()
    }

    /// Begins a session.
    fn open(&mut self, flow: Flow, now: Instant) -> Result<usize, Unserved> {
        if !self.takes_new {
            return Err(Unserved::NoSession);
        }
        let visitor = visitor(&self.addresses, flow);
        if self.would_loop(visitor) {
            return Err(Unserved::Loop);
        }
        let known = self.ledger.as_mut().and_then(|ledger| ledger.recall(visitor));
        let backend = match known.and_then(|address| self.router.resume(address)) {
            Some(backend) => {
                self.stats.packets.resumed.increment();
                backend
            }
            None => self.choose(now)?,
        };
        let socket = self.connect(&backend, now)?;
        self.stats.connection_opened();
        self.insert(flow, backend, socket, Rank::Fresh, now)
    }

    /// The replica for a client that had none. If all are at their limit, evicts the longest idle session: otherwise a
    /// flood could lock out all clients for an idle time-out.
    fn choose(&mut self, now: Instant) -> Result<Arc<Backend>, Unserved> {
        let mut chosen = self.router.choose(None);
        if matches!(chosen, Err(Shortage::CircuitOpen)) && self.evict_client() {
            chosen = self.router.choose(None);
        }
        chosen.map_err(|shortage| {
            self.stats.shortages.refused(shortage, "", now);
            Unserved::NoSession
        })
    }

    /// An answer to such a packet would come back as a client's packet, and so would the answer to it.
    fn would_loop(&self, visitor: Visitor) -> bool {
        let Visitor { client, listener } = visitor;
        let own = client.port() == listener.port()
            && (client.ip() == listener.ip() || listener.ip().is_unspecified() && client.ip().is_loopback());
        own || client.port() == 0 || self.router.cluster().is_replica(client)
    }

    /// A socket to a replica that counts the session as its load. If opening it fails, the replica no longer counts it.
    fn connect(&mut self, backend: &Arc<Backend>, now: Instant) -> Result<mio::net::UdpSocket, Unserved> {
        while self.table.len() >= self.limits.sessions_max {
            self.evict();
        }
        let mut opened = upstream::open(backend.address, self.limits.source);
        if opened.as_ref().is_err_and(upstream::lacks_place) && self.evict() {
            opened = upstream::open(backend.address, self.limits.source);
        }
        opened.map_err(|error| {
            tracing::debug!(backend = backend.name, address = %backend.address, %error, "no socket");
            self.router.cluster().connect_failed(backend, upstream::blames_backend(&error), now);
            Unserved::NoSession
        })
    }

    fn insert(
        &mut self,
        flow: Flow,
        backend: Arc<Backend>,
        mut socket: mio::net::UdpSocket,
        rank: Rank,
        now: Instant,
    ) -> Result<usize, Unserved> {
        let token = Token(self.table.vacant_key());
        if let Err(error) = self.registry.register(&mut socket, token, Interest::READABLE) {
            tracing::warn!(%error, "cannot watch a session");
            self.router.cluster().connect_failed(&backend, false, now);
            self.stats.connection_closed();
            return Err(Unserved::NoSession);
        }
        let mut session = Session::new(flow, backend, socket, rank);
        session.checked = self.router.generation();
        Ok(self.table.insert(session, now))
    }

    /// Reads what a replica sent to a session's client.
    pub(super) fn take_replies(&mut self, key: usize, now: Instant) {
        for _ in 0..ROUNDS {
            let Some(session) = self.table.get_mut(key) else { return };
            let flow = session.flow;
            if !self.replies.has_room(flow.listener) {
                self.replies.send(&self.listeners, &self.stats.packets);
            }
            match self.replies.receive(session.socket.as_raw_fd(), flow) {
                Ok(received) => {
                    session.answered = true;
                    session.backend.packets_passed_from(received.packets, received.bytes);
                    session.backend.connect_succeeded();
                    self.table.touch(key, now);
                    if received.drained {
                        return;
                    }
                }
                Err(Errno::EAGAIN) => return,
                Err(Errno::EINTR) => {}
                // ICMP about an earlier packet. The client's next packet will handle it.
                Err(_) => session.refused = true,
            }
        }
        self.again.push(key);
    }

    /// Continues with replicas that yielded to others.
    pub(super) fn go_on(&mut self, now: Instant) {
        for key in std::mem::take(&mut self.again) {
            // If the session ended and its key was reused, this is one idle read of the new one.
            self.take_replies(key, now);
        }
    }

    /// Sends the replies that were taken.
    pub(super) fn send_replies(&mut self) {
        if !self.replies.is_empty() {
            self.replies.send(&self.listeners, &self.stats.packets);
        }
    }
}

fn visitor(addresses: &[SocketAddr], flow: Flow) -> Visitor {
    Visitor { client: flow.client, listener: addresses[flow.listener] }
}

fn dropped(session: &Session, packets: u64, stats: &Stats) {
    if packets > 0 {
        session.backend.packets_dropped(packets);
        stats.packets.unsent.add(packets);
    }
}
