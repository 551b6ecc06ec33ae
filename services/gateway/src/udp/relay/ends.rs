//! How sessions end: idle, to make room, and with their gateway.

use std::time::{Duration, Instant};

use service::datagrams::Peer;

use super::super::LINGER;
use super::super::table::Rank;
use super::Relay;

/// Why a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Idle,
    /// Another one needs its place.
    Evicted,
    /// Its gateway ends.
    Cut,
}

impl<P: Peer> Relay<P> {
    /// When the next session will end if nothing happens.
    pub(in super::super) fn next_due(&self) -> Option<Instant> {
        let due = |rank| Some(self.table.longest_idle(rank)?.1 + self.lifetime(rank));
        [Rank::Left, Rank::Fresh, Rank::Proven].into_iter().filter_map(due).min()
    }

    /// Ends sessions that have been idle for too long.
    pub(in super::super) fn expire(&mut self, now: Instant) {
        for rank in [Rank::Left, Rank::Fresh, Rank::Proven] {
            let lifetime = self.lifetime(rank);
            while let Some((key, last)) = self.table.longest_idle(rank)
                && last + lifetime <= now
            {
                self.end(key, End::Idle);
            }
        }
    }

    fn lifetime(&self, rank: Rank) -> Duration {
        if rank == Rank::Left { LINGER } else { self.limits.idle_timeout }
    }

    /// Makes room for one session; false if none can be evicted.
    pub(super) fn evict(&mut self) -> bool {
        let least_worth = self.table.least_worth();
        least_worth.inspect(|key| self.end(*key, End::Evicted)).is_some()
    }

    /// The same, but evicts only a session that counts as a replica's load.
    pub(super) fn evict_client(&mut self) -> bool {
        let ranks = [Rank::Fresh, Rank::Proven];
        let longest_idle = ranks.into_iter().find_map(|rank| self.table.longest_idle(rank));
        longest_idle.inspect(|(key, _)| self.end(*key, End::Evicted)).is_some()
    }

    /// Ends all sessions.
    pub(in super::super) fn cut(&mut self) {
        while let Some(key) = self.table.least_worth() {
            self.end(key, End::Cut);
        }
    }

    fn end(&mut self, key: usize, end: End) {
        let Some(session) = self.table.remove(key) else { return };
        // One that left was already counted.
        if session.rank() == Rank::Left {
            return;
        }
        match end {
            End::Idle => {
                self.stats.packets.expired.increment();
                session.backend.session_expired();
            }
            End::Evicted => {
                self.stats.packets.evicted.increment();
                session.backend.session_closed();
            }
            End::Cut => {
                self.stats.cut.increment();
                session.backend.session_closed();
            }
        }
        self.stats.connection_closed();
    }
}
