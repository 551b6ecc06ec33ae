//! The numbers of a summary that an expectation can refer to.

use std::fmt;

use platform::event::{Counters, LatencySummary, LoadSummary};

use crate::{Protocol, Scenario};

/// Not a number of the summary itself, but how far apart replicas are.
pub(super) const SPREAD: &str = "spread";

/// A counter, by its place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count(usize);

struct Row {
    name: &'static str,
    of: fn(&Counters) -> u64,
    /// The total of a share.
    whole: Whole,
    /// How it scales with a smaller load.
    grows: Grows,
}

/// The possible number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whole {
    /// It is unknown.
    None,
    Connections,
    Sent,
    /// Each message counts once, however often it was sent: one that crossed the server's notice is sent again.
    Messages,
    Due,
    Deliveries,
}

/// What a count grows with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grows {
    No,
    WithClients,
    /// And with the clients.
    WithTime,
}

const fn row(name: &'static str, whole: Whole, grows: Grows, of: fn(&Counters) -> u64) -> Row {
    Row { name, of, whole, grows }
}

/// The rows of [`Count`]'s constants come first.
static COUNTS: [Row; 43] = [
    // Of the load's connections, those that were open at least once.
    row("connected", Whole::Connections, Grows::WithClients, |totals| totals.connected_first),
    // Connections; over UDP, messages, except those that this side's own sockets dropped.
    row("lost", Whole::Connections, Grows::No, |totals| totals.lost),
    row("refused", Whole::None, Grows::No, |totals| totals.refused),
    // The platform's log lines that were neither delivered nor counted as dropped. Not from the load: the evaluator
    // takes it from the platform's events.
    row("log-lines-unaccounted", Whole::None, Grows::No, |_| u64::MAX),
    // Connections of the replica that has the fewest when the close begins. Not a total: the evaluator takes it from
    // the ticks.
    row("emptiest", Whole::Connections, Grows::WithClients, |_| u64::MAX),
    // The same for the replica that has the most.
    row("fullest", Whole::Connections, Grows::No, |_| u64::MAX),
    // Replicas of the load's service when the close begins, and a balancer's decisions until then. Not totals either.
    row("replicas", Whole::None, Grows::No, |_| u64::MAX),
    row("decisions", Whole::None, Grows::No, |_| u64::MAX),
    // Connections that one replica accepted in a second. A maximum, so not a total.
    row("busiest-second", Whole::None, Grows::No, |_| u64::MAX),
    row("reset", Whole::None, Grows::No, |totals| totals.reset),
    row("connect-errors", Whole::None, Grows::No, |totals| totals.connect_errors),
    row("connect-timeouts", Whole::None, Grows::No, |totals| totals.connect_timeouts),
    row("connects-cut-off", Whole::None, Grows::No, |totals| totals.connects_cut_off),
    row("stayed-away", Whole::Connections, Grows::No, |totals| totals.stayed_away),
    row("reconnected", Whole::Connections, Grows::WithClients, |totals| totals.reconnected),
    row("notices", Whole::Connections, Grows::WithClients, |totals| totals.notices),
    row("turned-away", Whole::None, Grows::WithClients, |totals| totals.turned_away),
    row("refused-without-hint", Whole::None, Grows::No, |totals| totals.refused_without_hint),
    row("protocol-errors", Whole::None, Grows::No, |totals| totals.protocol_errors),
    row("answered", Whole::Messages, Grows::WithTime, |totals| totals.messages_answered),
    row("unanswered", Whole::Sent, Grows::No, |totals| totals.messages_unanswered),
    row("wrong", Whole::Sent, Grows::No, |totals| totals.messages_wrong),
    row("timeouts", Whole::Sent, Grows::No, |totals| totals.message_timeouts),
    row("cut-off", Whole::Sent, Grows::No, |totals| totals.messages_cut_off),
    row("late", Whole::Sent, Grows::No, |totals| totals.messages_late),
    row("never-sent", Whole::Due, Grows::No, |totals| totals.messages_never_sent),
    row("duplicated", Whole::None, Grows::No, |totals| totals.messages_duplicated),
    row("reordered", Whole::None, Grows::No, |totals| totals.messages_reordered),
    row("overdue", Whole::None, Grows::No, |totals| totals.messages_overdue),
    row("stray", Whole::None, Grows::No, |totals| totals.messages_stray),
    row("sequence-lost", Whole::Sent, Grows::No, |totals| totals.messages_lost),
    row("resumed", Whole::Sent, Grows::No, |totals| totals.messages_resumed),
    row("moves", Whole::Connections, Grows::WithClients, |totals| totals.moves),
    row("moves-elsewhere", Whole::Connections, Grows::WithClients, |totals| totals.moves_elsewhere),
    row("receive-drops", Whole::None, Grows::No, |totals| totals.receive_drops),
    row("broadcasts-received", Whole::Deliveries, Grows::WithClients, |totals| totals.broadcasts_received),
    row("broadcasts-missed", Whole::Deliveries, Grows::No, |totals| totals.broadcasts_missed),
    row("broadcasts-doubled", Whole::Deliveries, Grows::No, |totals| totals.broadcasts_doubled),
    row("broadcasts-refused", Whole::None, Grows::No, |totals| totals.broadcasts_refused),
    row("events", Whole::None, Grows::WithTime, |totals| totals.events),
    row("events-missed", Whole::None, Grows::No, |totals| totals.events_missed),
    row("streams-refused", Whole::None, Grows::WithClients, |totals| totals.streams_refused),
    row("pairs-held-twice", Whole::None, Grows::No, |totals| totals.pairs_held_twice),
];

impl Count {
    pub const CONNECTED: Self = Self(0);
    pub const LOST: Self = Self(1);
    pub const REFUSED: Self = Self(2);
    pub const LOG_LINES_UNACCOUNTED: Self = Self(3);
    pub const EMPTIEST: Self = Self(4);
    pub const FULLEST: Self = Self(5);
    pub const REPLICAS: Self = Self(6);
    pub const DECISIONS: Self = Self(7);
    pub const BUSIEST_SECOND: Self = Self(8);

    pub(super) fn by_name(name: &str) -> Option<Self> {
        COUNTS.iter().position(|row| row.name == name).map(Self)
    }

    /// What a load needs so that this is counted at all; without it, the count would always be zero.
    pub(crate) fn missing(self, scenario: &Scenario) -> Option<&'static str> {
        let Scenario { protocol, messages, .. } = scenario;
        let name = self.row().name;
        let (is_counted, needs) = match name {
            "sequence-lost" | "resumed" => (messages.sequence, "messages: { sequence: true }"),
            "events-missed" | "streams-refused" => (*protocol == Protocol::Sse, "protocol sse"),
            "pairs-held-twice" => (scenario.shares_pairs(), "protocol sse, and fewer pairs than connections"),
            "duplicated" | "reordered" => (
                messages.sequence || *protocol == Protocol::Udp,
                "messages: { sequence: true }, or protocol udp",
            ),
            "receive-drops" | "overdue" | "stray" => (*protocol == Protocol::Udp, "protocol udp"),
            "broadcasts-missed" | "broadcasts-doubled" | "broadcasts-refused" => {
                (scenario.broadcasts().next().is_some(), "an action that sends a broadcast")
            }
            _ => (true, ""),
        };
        (!is_counted).then_some(needs)
    }

    fn row(self) -> &'static Row {
        &COUNTS[self.0]
    }

    pub(super) fn of(self, summary: &LoadSummary) -> u64 {
        if self == Self::LOST && summary.plan.is_udp() {
            return summary.totals.datagrams_lost();
        }
        if self == Self::BUSIEST_SECOND {
            return summary.busiest_second;
        }
        (self.row().of)(&summary.totals)
    }

    pub(super) fn grows(self) -> Grows {
        self.row().grows
    }

    /// The possible number, for counts that have shares.
    pub(super) fn of_all(self, summary: &LoadSummary) -> Option<u64> {
        match self.row().whole {
            Whole::None => None,
            Whole::Connections if self == Self::LOST && summary.plan.is_udp() => {
                Some(summary.totals.messages_sent)
            }
            Whole::Connections => Some(summary.plan.users()),
            Whole::Sent => Some(summary.totals.messages_sent),
            Whole::Messages => {
                let totals = &summary.totals;
                Some(totals.messages_sent.saturating_sub(totals.messages_resumed))
            }
            Whole::Due => Some(summary.totals.messages_due),
            Whole::Deliveries => Some(summary.totals.broadcasts_due),
        }
    }

    /// Whether more and less are both wrong.
    pub(super) fn can_be_exact(self) -> bool {
        matches!(self, Self::REPLICAS | Self::DECISIONS)
    }

    /// Whether [`of_all`](Self::of_all) can ever be known.
    pub(super) fn can_be_a_share(self) -> bool {
        self.row().whole != Whole::None
    }
}

impl fmt::Display for Count {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.row().name)
    }
}

/// A percentile of a distribution, by their positions in the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    distribution: usize,
    percentile: usize,
}

type DistributionOf = fn(&LoadSummary) -> &LatencySummary;
type PercentileOf = fn(&LatencySummary) -> u64;

/// The first is the default for a percentile without a name.
static DISTRIBUTIONS: [(&str, DistributionOf); 9] = [
    ("message", |summary| &summary.message),
    ("connect", |summary| &summary.connect),
    ("first-byte", |summary| &summary.first_byte),
    ("lateness", |summary| &summary.lateness),
    ("reconnect", |summary| &summary.reconnect),
    ("broadcast", |summary| &summary.broadcast),
    ("gap", |summary| &summary.gap),
    ("gap-without-delay", |summary| &summary.gap_without_delay),
    ("event-gap", |summary| &summary.event_gap),
];

/// In µs.
static PERCENTILES: [(&str, PercentileOf); 5] = [
    ("p99", |latencies| latencies.p99_us),
    ("p50", |latencies| latencies.p50_us),
    ("p90", |latencies| latencies.p90_us),
    ("p999", |latencies| latencies.p999_us),
    ("max", |latencies| latencies.max_us),
];

impl Latency {
    /// Messages, from their due time.
    pub const MESSAGE_P99: Self = Self { distribution: 0, percentile: 0 };

    /// Reads `p99` or `connect p99`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (distribution, percentile) = text.rsplit_once(char::is_whitespace).unwrap_or(("message", text));
        Some(Self {
            distribution: DISTRIBUTIONS.iter().position(|(name, _)| *name == distribution.trim())?,
            percentile: PERCENTILES.iter().position(|(name, _)| *name == percentile)?,
        })
    }

    /// The number of values, and the percentile in µs.
    pub(super) fn of(self, summary: &LoadSummary) -> (u64, u64) {
        let latencies = DISTRIBUTIONS[self.distribution].1(summary);
        (latencies.count, PERCENTILES[self.percentile].1(latencies))
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.distribution > 0 {
            write!(formatter, "{} ", DISTRIBUTIONS[self.distribution].0)?;
        }
        formatter.write_str(PERCENTILES[self.percentile].0)
    }
}

/// Everything that can precede a bound, for messages.
pub(super) fn names() -> impl Iterator<Item = String> {
    let counts = COUNTS.iter().map(|row| row.name.to_owned());
    let latencies = PERCENTILES.iter().map(|(name, _)| (*name).to_owned());
    let of_others = DISTRIBUTIONS[1..].iter().map(|(name, _)| format!("{name} p99"));
    counts.chain([SPREAD.to_owned()]).chain(latencies).chain(of_others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_is_documented() {
        let page = include_str!("../../../../docs/scenarios.md");
        for row in &COUNTS {
            assert!(page.contains(&format!("`{}", row.name)), "{}", row.name);
        }
    }

    #[test]
    fn constants_match_their_names_in_the_table() {
        for (constant, name) in [
            (Count::CONNECTED, "connected"),
            (Count::LOST, "lost"),
            (Count::REFUSED, "refused"),
            (Count::LOG_LINES_UNACCOUNTED, "log-lines-unaccounted"),
            (Count::EMPTIEST, "emptiest"),
            (Count::FULLEST, "fullest"),
            (Count::REPLICAS, "replicas"),
            (Count::DECISIONS, "decisions"),
            (Count::BUSIEST_SECOND, "busiest-second"),
        ] {
            assert_eq!(constant.to_string(), name);
        }
        for row in &COUNTS {
            assert_eq!(Count::by_name(row.name).map(|count| count.to_string()).as_deref(), Some(row.name));
        }
    }
}
