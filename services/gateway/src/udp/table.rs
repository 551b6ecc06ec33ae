//! The sessions of one loop: found by their client, ordered by how long they have been idle.
//!
//! Three lists run through the slab, each with the longest idle session first, so that sessions that are due or must
//! make room are found without a search and without a timer per session.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use mio::net::UdpSocket;
use slab::Slab;

use crate::cluster::backend::Backend;

/// The key of a session: a client at one of the loop's sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Flow {
    pub(super) client: SocketAddr,
    /// The loop's socket that it sends to and must be answered from.
    pub(super) listener: usize,
}

/// A session's value when room is needed; the first rank makes room first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rank {
    /// It moved to another replica and only waits for replies in flight.
    Left,
    /// Its client was not heard again after a reply; it may be forged.
    Fresh,
    /// Its client was heard again.
    Proven,
}

impl Rank {
    const ALL: [Self; 3] = [Self::Left, Self::Fresh, Self::Proven];
}

/// One client at one replica.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) flow: Flow,
    pub(super) backend: Arc<Backend>,
    pub(super) socket: UdpSocket,
    rank: Rank,
    /// When it last had a packet, or left.
    last: Instant,
    links: Links,
    /// Its replica has answered.
    pub(super) answered: bool,
    /// Its replica refused a packet: nobody listens there.
    pub(super) refused: bool,
    /// The router's generation in which its replica was last eligible.
    pub(super) checked: u64,
    /// When it was last written to the ledger.
    pub(super) recorded: Option<Instant>,
}

impl Session {
    pub(super) fn new(flow: Flow, backend: Arc<Backend>, socket: UdpSocket, rank: Rank) -> Self {
        Self {
            flow,
            backend,
            socket,
            rank,
            last: clock::now(),
            links: Links::default(),
            answered: rank == Rank::Proven,
            refused: false,
            checked: 0,
            recorded: None,
        }
    }

    pub(super) fn rank(&self) -> Rank {
        self.rank
    }
}

/// Neighbours in a list.
#[derive(Debug, Clone, Copy, Default)]
struct Links {
    before: Option<usize>,
    after: Option<usize>,
}

/// The ends of a list: longest idle and last used.
#[derive(Debug, Clone, Copy, Default)]
struct Ends {
    first: Option<usize>,
    last: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Table {
    slab: Slab<Session>,
    keys: HashMap<Flow, usize>,
    lists: [Ends; 3],
}

impl Table {
    pub(super) fn new() -> Self {
        Self { slab: Slab::new(), keys: HashMap::new(), lists: [Ends::default(); 3] }
    }

    /// Number of sockets to replicas, including sessions that left.
    pub(super) fn len(&self) -> usize {
        self.slab.len()
    }

    /// Number of sessions with a client.
    pub(super) fn clients(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn find(&self, flow: Flow) -> Option<usize> {
        self.keys.get(&flow).copied()
    }

    pub(super) fn get_mut(&mut self, key: usize) -> Option<&mut Session> {
        self.slab.get_mut(key)
    }

    /// The next session's key.
    pub(super) fn vacant_key(&self) -> usize {
        self.slab.vacant_key()
    }

    /// Adds a session, which belongs to its client from now on.
    pub(super) fn insert(&mut self, session: Session, now: Instant) -> usize {
        let (flow, rank) = (session.flow, session.rank);
        let key = self.slab.insert(session);
        self.keys.insert(flow, key);
        self.append(key, rank, now);
        key
    }

    /// Notes that a session had a packet.
    pub(super) fn touch(&mut self, key: usize, now: Instant) {
        if let Some(session) = self.slab.get(key).filter(|session| session.last < now) {
            let rank = session.rank;
            // A packet does not prolong a session that left.
            if rank != Rank::Left {
                self.place(key, rank, now);
            }
        }
    }

    /// Notes that a session's client was heard again.
    pub(super) fn prove(&mut self, key: usize, now: Instant) {
        self.place(key, Rank::Proven, now);
    }

    /// Detaches a session from its client, but keeps listening to its replica.
    pub(super) fn leave(&mut self, key: usize, now: Instant) {
        if let Some(session) = self.slab.get(key) {
            self.keys.remove(&session.flow);
            self.place(key, Rank::Left, now);
        }
    }

    pub(super) fn remove(&mut self, key: usize) -> Option<Session> {
        if !self.slab.contains(key) {
            return None;
        }
        self.detach(key);
        let session = self.slab.remove(key);
        if session.rank != Rank::Left {
            self.keys.remove(&session.flow);
        }
        Some(session)
    }

    /// The session to evict for another one.
    pub(super) fn least_worth(&self) -> Option<usize> {
        Rank::ALL.into_iter().find_map(|rank| self.lists[rank as usize].first)
    }

    /// The longest idle session of `rank`, and since when.
    pub(super) fn longest_idle(&self, rank: Rank) -> Option<(usize, Instant)> {
        let key = self.lists[rank as usize].first?;
        self.slab.get(key).map(|session| (key, session.last))
    }

    fn place(&mut self, key: usize, rank: Rank, now: Instant) {
        if self.slab.contains(key) {
            self.detach(key);
            self.append(key, rank, now);
        }
    }

    fn detach(&mut self, key: usize) {
        let (rank, links) = (self.slab[key].rank, self.slab[key].links);
        let ends = &mut self.lists[rank as usize];
        match links.before {
            Some(before) => self.slab[before].links.after = links.after,
            None => ends.first = links.after,
        }
        match links.after {
            Some(after) => self.slab[after].links.before = links.before,
            None => ends.last = links.before,
        }
    }

    fn append(&mut self, key: usize, rank: Rank, now: Instant) {
        let ends = &mut self.lists[rank as usize];
        let before = ends.last.replace(key);
        match before {
            Some(before) => self.slab[before].links.after = Some(key),
            None => ends.first = Some(key),
        }
        let session = &mut self.slab[key];
        session.links = Links { before, after: None };
        session.rank = rank;
        session.last = now;
    }
}

#[cfg(test)]
mod tests;
