//! Shortages that keep clients out, reported when they begin and, with a count, when they are over.
//!
//! The data plane notices a shortage with every client that it turns away, which may be thousands of times a second.
//! The first time is logged. The shortage lasts until it has not been noticed for [`QUIET`]; meanwhile `/readyz`
//! reports it, and at its end a second line says how often it was noticed.

use std::array;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::{info, warn};

use crate::counter::Counter;

/// A shortage that has not been noticed for this long is over.
const QUIET: Duration = Duration::from_secs(5);

/// Why a client's connection was closed without a replica, or has to wait to be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// No replica is ready.
    NoEndpoint,
    /// All ready replicas are at the circuit breaker's limit of connections.
    CircuitOpen,
    /// The connect failed, and so did the one to a second replica, if there is one.
    ConnectFailed,
    /// All source ports from the gateway's address to a replica are taken.
    SourcePorts,
    /// The process or the kernel has no room for another socket.
    Resources,
    /// The gateway has reached its limit on clients.
    Connections,
}

impl Shortage {
    const COUNT: usize = 6;

    /// Shortages that close a client's connection.
    pub(crate) const REFUSALS: [Self; 5] =
        [Self::NoEndpoint, Self::CircuitOpen, Self::ConnectFailed, Self::SourcePorts, Self::Resources];

    /// Shortages that pause accepting.
    pub(crate) const PAUSES: [Self; 2] = [Self::Connections, Self::Resources];

    /// The name in metrics and `/readyz`.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::NoEndpoint => "no_endpoint",
            Self::CircuitOpen => "circuit_open",
            Self::ConnectFailed => "connect_failed",
            Self::SourcePorts => "source_ports",
            Self::Resources => "resources",
            Self::Connections => "connections",
        }
    }

    /// What happens to clients, and what to do about it.
    fn words(self) -> &'static str {
        match self {
            Self::NoEndpoint => "clients are turned away: no replica is ready (see /endpoints)",
            Self::CircuitOpen => {
                "clients are turned away: every replica has CIRCUIT_MAX_CONNECTIONS connections; more replicas are needed"
            }
            Self::ConnectFailed => "clients are turned away: replicas cannot be reached",
            Self::SourcePorts => {
                "clients are turned away: no source port is left towards a replica, or UPSTREAM_BIND is not an address of this \
                 machine; more gateways, each with an UPSTREAM_BIND of its own, have more ports"
            }
            Self::Resources => {
                "clients are turned away or wait: no open file or memory for another socket; raise the limit (ulimit -n) or \
                 lower MAX_CONNECTIONS"
            }
            Self::Connections => "clients wait to be accepted: MAX_CONNECTIONS are connected",
        }
    }
}

/// A shortage, from the first time it was noticed to the last.
#[derive(Debug)]
struct Spell {
    began: Instant,
    met_last: Instant,
    times: u64,
    words: String,
}

/// All shortages of one process.
#[derive(Debug)]
pub(crate) struct Shortages {
    refusals: [Counter; Shortage::COUNT],
    pauses: [Counter; Shortage::COUNT],
    spells: Mutex<[Option<Spell>; Shortage::COUNT]>,
    began: Notify,
}

impl Default for Shortages {
    fn default() -> Self {
        Self {
            refusals: Default::default(),
            pauses: Default::default(),
            spells: Mutex::new(array::from_fn(|_| None)),
            began: Notify::new(),
        }
    }
}

impl Shortages {
    /// Notes that a client's connection was closed. `cause` says what exactly failed, if anything did.
    pub(crate) fn refused(&self, shortage: Shortage, cause: &str, now: Instant) {
        self.refusals[shortage as usize].increment();
        self.met(shortage, cause, now);
    }

    /// Notes that accepting paused, or is still paused (`again`).
    pub(crate) fn paused(&self, shortage: Shortage, again: bool, now: Instant) {
        if !again {
            self.pauses[shortage as usize].increment();
        }
        self.met(shortage, "", now);
    }

    fn met(&self, shortage: Shortage, cause: &str, now: Instant) {
        let mut spells = self.spells.lock();
        if let Some(spell) = &mut spells[shortage as usize] {
            spell.met_last = spell.met_last.max(now);
            spell.times += 1;
            return;
        }
        let words = match (shortage.words(), cause) {
            (words, "") => words.to_owned(),
            (words, cause) => format!("{words}: {cause}"),
        };
        warn!(reason = shortage.reason(), "{words}");
        spells[shortage as usize] = Some(Spell { began: now, met_last: now, times: 1, words });
        self.began.notify_one();
    }

    pub(crate) fn refusals(&self, shortage: Shortage) -> u64 {
        self.refusals[shortage as usize].get()
    }

    pub(crate) fn pauses(&self, shortage: Shortage) -> u64 {
        self.pauses[shortage as usize].get()
    }

    /// Waits until a shortage begins, including one that began since the last call.
    pub(crate) async fn begun(&self) {
        self.began.notified().await;
    }

    /// Ends shortages that were not noticed for a while. Returns the others, in words, and when the next may be over.
    pub(crate) fn end(&self, now: Instant) -> (Vec<(&'static str, String)>, Option<Instant>) {
        let mut spells = self.spells.lock();
        let (mut lasting, mut next) = (Vec::new(), None);
        for shortage in Shortage::REFUSALS.into_iter().chain([Shortage::Connections]) {
            let slot = &mut spells[shortage as usize];
            let Some(spell) = slot else { continue };
            let over = spell.met_last + QUIET;
            if over <= now {
                let seconds = (spell.met_last - spell.began).as_secs_f64();
                info!(reason = shortage.reason(), times = spell.times, seconds, "over: {}", shortage.words());
                *slot = None;
            } else {
                lasting.push((shortage.reason(), spell.words.clone()));
                next = Some(next.map_or(over, |next: Instant| next.min(over)));
            }
        }
        (lasting, next)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Once;

    use super::*;

    fn reasons(lasting: &[(&'static str, String)]) -> Vec<&'static str> {
        lasting.iter().map(|(reason, _)| *reason).collect()
    }

    thread_local! {
        /// Number of lines that this thread has logged.
        static LINES: Cell<usize> = const { Cell::new(0) };
    }

    /// Counts log lines. Global, since other tests' logging affects what a thread's own subscriber gets.
    struct Lines;

    impl tracing::Subscriber for Lines {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::Id {
            tracing::Id::from_u64(1)
        }
        fn record(&self, _: &tracing::Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::Id, _: &tracing::Id) {}
        fn event(&self, _: &tracing::Event<'_>) {
            LINES.set(LINES.get() + 1);
        }
        fn enter(&self, _: &tracing::Id) {}
        fn exit(&self, _: &tracing::Id) {}
    }

    #[test]
    fn a_shortage_logs_two_lines_however_often_it_occurs() {
        static COUNTED: Once = Once::new();
        COUNTED.call_once(|| tracing::subscriber::set_global_default(Lines).unwrap());
        let shortages = Shortages::default();
        let start = clock::now();
        for millisecond in 0..3_000 {
            let now = start + Duration::from_millis(millisecond);
            shortages.refused(Shortage::SourcePorts, "tcp-0", now);
            shortages.paused(Shortage::Connections, false, now);
        }
        assert_eq!(LINES.get(), 2);
        shortages.end(start + Duration::from_mins(1));
        shortages.end(start + Duration::from_secs(61));
        assert_eq!(LINES.get(), 4);
    }

    #[test]
    fn a_shortage_ends_after_a_while_without_one() {
        let shortages = Shortages::default();
        let start = clock::now();
        assert_eq!(shortages.end(start), (Vec::new(), None));
        for millisecond in 0..4_000 {
            let now = start + Duration::from_millis(millisecond);
            shortages.refused(Shortage::ConnectFailed, "tcp-0: refused", now);
        }
        let met_last = start + Duration::from_millis(3_999);
        let (lasting, next) = shortages.end(start + Duration::from_secs(5));
        assert_eq!(reasons(&lasting), ["connect_failed"]);
        assert!(lasting[0].1.ends_with(": tcp-0: refused"), "{}", lasting[0].1);
        assert_eq!(next, Some(met_last + QUIET));
        assert_eq!(shortages.end(met_last + QUIET), (Vec::new(), None));
        assert_eq!(shortages.refusals(Shortage::ConnectFailed), 4_000);
    }

    #[test]
    fn a_continuing_pause_is_counted_once_and_lasts() {
        let shortages = Shortages::default();
        let start = clock::now();
        for second in 0..60 {
            shortages.paused(Shortage::Connections, second > 0, start + Duration::from_secs(second));
        }
        let (lasting, _) = shortages.end(start + Duration::from_secs(61));
        assert_eq!(reasons(&lasting), ["connections"]);
        assert_eq!(shortages.pauses(Shortage::Connections), 1);
    }

    #[test]
    fn every_shortage_has_its_own_index() {
        let all: Vec<_> = Shortage::REFUSALS.into_iter().chain([Shortage::Connections]).collect();
        assert_eq!(all.len(), Shortage::COUNT);
        for (index, shortage) in all.into_iter().enumerate() {
            assert_eq!(shortage as usize, index);
        }
    }
}
