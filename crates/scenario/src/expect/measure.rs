//! The numbers of a summary that an expectation can speak of.

use std::fmt;

use platform::event::{LatencySummary, LoadSummary};

/// A counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Count {
    /// Of the plan's connections, those that were open at least once.
    Connected,
    /// Connections; over UDP, messages, but for what this side's own sockets had no room for.
    Lost,
    Refused,
    Reset,
    ConnectErrors,
    ConnectTimeouts,
    Answered,
    Unanswered,
    Wrong,
    Timeouts,
    Late,
    Reconnected,
    Notices,
    Duplicated,
    Reordered,
    Overdue,
    Stray,
    ReceiveDrops,
    NeverSent,
    CutOff,
    ConnectsCutOff,
    StayedAway,
    BroadcastsReceived,
    BroadcastsMissed,
    BroadcastsDoubled,
    BroadcastsRefused,
    /// Of the platform's log lines, those that were neither delivered nor counted as dropped.
    LogLinesUnaccounted,
}

/// What a count grows with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grows {
    WithClients,
    /// And with the clients.
    WithTime,
}

impl Count {
    pub(super) const NAMES: [(&'static str, Self); 27] = [
        ("connected", Self::Connected),
        ("lost", Self::Lost),
        ("refused", Self::Refused),
        ("reset", Self::Reset),
        ("connect-errors", Self::ConnectErrors),
        ("connect-timeouts", Self::ConnectTimeouts),
        ("answered", Self::Answered),
        ("unanswered", Self::Unanswered),
        ("wrong", Self::Wrong),
        ("timeouts", Self::Timeouts),
        ("late", Self::Late),
        ("reconnected", Self::Reconnected),
        ("notices", Self::Notices),
        ("duplicated", Self::Duplicated),
        ("reordered", Self::Reordered),
        ("overdue", Self::Overdue),
        ("stray", Self::Stray),
        ("receive-drops", Self::ReceiveDrops),
        ("never-sent", Self::NeverSent),
        ("cut-off", Self::CutOff),
        ("connects-cut-off", Self::ConnectsCutOff),
        ("stayed-away", Self::StayedAway),
        ("broadcasts-received", Self::BroadcastsReceived),
        ("broadcasts-missed", Self::BroadcastsMissed),
        ("broadcasts-doubled", Self::BroadcastsDoubled),
        ("broadcasts-refused", Self::BroadcastsRefused),
        ("log-lines-unaccounted", Self::LogLinesUnaccounted),
    ];

    /// What it grows with, if a load that is smaller is to show less of it.
    pub(super) fn grows(self) -> Option<Grows> {
        match self {
            Self::Connected | Self::Reconnected | Self::Notices | Self::BroadcastsReceived => {
                Some(Grows::WithClients)
            }
            Self::Answered => Some(Grows::WithTime),
            _ => None,
        }
    }

    /// How many there could have been, of what a share can be asked for.
    pub(super) fn of_all(self, summary: &LoadSummary) -> Option<u64> {
        let totals = &summary.totals;
        match self {
            Self::Connected | Self::Reconnected | Self::Notices | Self::StayedAway | Self::Lost
                if !summary.plan.is_udp() =>
            {
                Some(summary.plan.connections)
            }
            Self::Connected => Some(summary.plan.connections),
            Self::Answered
            | Self::Unanswered
            | Self::Wrong
            | Self::Timeouts
            | Self::CutOff
            | Self::Late
            | Self::Lost => Some(totals.messages_sent),
            Self::NeverSent => Some(totals.messages_due),
            Self::BroadcastsReceived | Self::BroadcastsMissed | Self::BroadcastsDoubled => {
                Some(totals.broadcasts_due)
            }
            _ => None,
        }
    }

    /// Whether [`of_all`](Self::of_all) ever knows.
    pub(super) fn can_be_a_share(self) -> bool {
        !matches!(
            self,
            Self::Refused
                | Self::Reset
                | Self::ConnectErrors
                | Self::ConnectTimeouts
                | Self::ConnectsCutOff
                | Self::Duplicated
                | Self::Reordered
                | Self::Overdue
                | Self::Stray
                | Self::ReceiveDrops
                | Self::BroadcastsRefused
                | Self::LogLinesUnaccounted
        )
    }

    pub(super) fn of(self, summary: &LoadSummary) -> u64 {
        let totals = &summary.totals;
        match self {
            Self::Connected => totals.connected_first,
            Self::Lost if summary.plan.is_udp() => totals.datagrams_lost(),
            Self::Lost => totals.lost,
            Self::Refused => totals.refused,
            Self::Reset => totals.reset,
            Self::ConnectErrors => totals.connect_errors,
            Self::ConnectTimeouts => totals.connect_timeouts,
            Self::Answered => totals.messages_answered,
            Self::Unanswered => totals.messages_unanswered,
            Self::Wrong => totals.messages_wrong,
            Self::Timeouts => totals.message_timeouts,
            Self::Late => totals.messages_late,
            Self::Reconnected => totals.reconnected,
            Self::Notices => totals.notices,
            Self::Duplicated => totals.messages_duplicated,
            Self::Reordered => totals.messages_reordered,
            Self::Overdue => totals.messages_overdue,
            Self::Stray => totals.messages_stray,
            Self::ReceiveDrops => totals.receive_drops,
            Self::NeverSent => totals.messages_never_sent,
            Self::CutOff => totals.messages_cut_off,
            Self::ConnectsCutOff => totals.connects_cut_off,
            Self::StayedAway => totals.stayed_away,
            Self::BroadcastsReceived => totals.broadcasts_received,
            Self::BroadcastsMissed => totals.broadcasts_missed,
            Self::BroadcastsDoubled => totals.broadcasts_doubled,
            Self::BroadcastsRefused => totals.broadcasts_refused,
            // Not the load's: the evaluator takes it from the platform's events.
            Self::LogLinesUnaccounted => u64::MAX,
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(Self::NAMES.iter().find(|(_, count)| count == self).map_or("", |(name, _)| name))
    }
}

/// A percentile of a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    distribution: Distribution,
    percentile: Percentile,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Distribution {
    Message,
    Connect,
    FirstByte,
    Lateness,
    Reconnect,
    Broadcast,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Percentile {
    P50,
    P90,
    P99,
    P999,
    Max,
}

/// The first is what a percentile without a name is of.
const DISTRIBUTIONS: [(&str, Distribution); 6] = [
    ("message", Distribution::Message),
    ("connect", Distribution::Connect),
    ("first-byte", Distribution::FirstByte),
    ("lateness", Distribution::Lateness),
    ("reconnect", Distribution::Reconnect),
    ("broadcast", Distribution::Broadcast),
];

const PERCENTILES: [(&str, Percentile); 5] = [
    ("p50", Percentile::P50),
    ("p90", Percentile::P90),
    ("p99", Percentile::P99),
    ("p999", Percentile::P999),
    ("max", Percentile::Max),
];

impl Latency {
    /// Of messages, from their due time.
    pub const MESSAGE_P99: Self = Self { distribution: Distribution::Message, percentile: Percentile::P99 };

    /// Reads `p99` or `connect p99`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (distribution, percentile) = text.rsplit_once(char::is_whitespace).unwrap_or(("message", text));
        let find =
            |name: &str| DISTRIBUTIONS.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        let percentile = PERCENTILES.iter().find(|(known, _)| *known == percentile)?.1;
        Some(Self { distribution: find(distribution.trim())?, percentile })
    }

    /// How many values there are, and the percentile in µs.
    pub(super) fn of(self, summary: &LoadSummary) -> (u64, u64) {
        let LatencySummary { count, p50_us, p90_us, p99_us, p999_us, max_us, .. } = match self.distribution {
            Distribution::Message => summary.message,
            Distribution::Connect => summary.connect,
            Distribution::FirstByte => summary.first_byte,
            Distribution::Lateness => summary.lateness,
            Distribution::Reconnect => summary.reconnect,
            Distribution::Broadcast => summary.broadcast,
        };
        let value_us = match self.percentile {
            Percentile::P50 => p50_us,
            Percentile::P90 => p90_us,
            Percentile::P99 => p99_us,
            Percentile::P999 => p999_us,
            Percentile::Max => max_us,
        };
        (count, value_us)
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percentile =
            PERCENTILES.iter().find(|(_, value)| *value == self.percentile).map_or("", |(name, _)| name);
        if self.distribution == Distribution::Message {
            return formatter.write_str(percentile);
        }
        let distribution =
            DISTRIBUTIONS.iter().find(|(_, value)| *value == self.distribution).map_or("", |(name, _)| name);
        write!(formatter, "{distribution} {percentile}")
    }
}

/// All that can stand before a bound, for messages.
pub(super) fn names() -> impl Iterator<Item = String> {
    let counts = Count::NAMES.iter().map(|(name, _)| (*name).to_owned());
    let latencies = PERCENTILES.iter().map(|(name, _)| (*name).to_owned());
    let of_others = DISTRIBUTIONS[1..].iter().map(|(name, _)| format!("{name} p99"));
    counts.chain(latencies).chain(of_others)
}
