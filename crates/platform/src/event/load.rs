//! What the load generator reports.

use std::{collections::BTreeMap, ops::AddAssign};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ExpectationResult;

/// What a load is going to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoadPlan {
    /// The scenario's name, or `load`.
    pub name: String,
    pub protocol: String,
    /// The service that is loaded, if it is one of a platform's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    pub target: String,
    /// Of the ramp.
    pub connections: u64,
    /// Connections of users who join later, in groups.
    #[serde(default)]
    pub joining: u64,
    /// Between the starts of two connections of the ramp, µs.
    pub connect_interval_us: u64,
    /// Between two messages of one connection, ms; absent: the connections stay silent.
    pub message_interval_ms: Option<u64>,
    pub payload: String,
    /// From the first connect, or from the end of the ramp, to the close, ms.
    pub duration_ms: u64,
    /// The duration counts from the end of the ramp.
    pub duration_from_ramp: bool,
    /// UDP: the most messages of one peer that may be outstanding at once; absent: no limit.
    #[serde(default)]
    pub window: Option<u32>,
    /// Messages are numbered, over all the connections that a session has.
    #[serde(default)]
    pub sequence: bool,
    /// UDP: the total send rate of all peers, over time. Empty: each peer has its own interval.
    #[serde(default)]
    pub stages: Vec<LoadStage>,
}

impl LoadPlan {
    /// Connections at whatever time.
    pub fn users(&self) -> u64 {
        self.connections.saturating_add(self.joining)
    }

    /// The load consists of datagrams: its connections are peers, and what is lost is single messages.
    pub fn is_udp(&self) -> bool {
        self.protocol == "udp"
    }
}

/// A part of a load whose rate changes linearly from one value to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoadStage {
    /// Messages per 1,000 s.
    pub from_milli_per_s: u64,
    pub to_milli_per_s: u64,
    pub ms: u64,
}

/// Everything counted since the run began. Each number only grows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counters {
    /// Connection attempts, reconnects included: `connected` + `refused` + `connect_timeouts` + `connect_errors` +
    /// `connects_cut_off` + those still under way.
    pub attempted: u64,
    pub connected: u64,
    /// The plan's connections that were open at least once.
    pub connected_first: u64,
    /// Connections reopened after a notice, an EOF or an error.
    pub reconnected: u64,
    /// UDP: how often the other machine reported that nothing listens there. WebSocket: an upgrade answered with a
    /// status other than 101 is refused, too.
    pub refused: u64,
    pub connect_timeouts: u64,
    /// Other failures to connect (no address, unreachable…).
    pub connect_errors: u64,
    /// Attempts that were still under way when the load closed.
    #[serde(default)]
    pub connects_cut_off: u64,
    /// The plan's connections that had been open but were not when the load closed.
    #[serde(default)]
    pub stayed_away: u64,
    /// `reconnect` notices received. WebSocket: closes that ask the client to come back (1001, 1012, 1013, 4001).
    pub notices: u64,
    /// WebSocket: of these, closes with 1013: there was no room.
    #[serde(default)]
    pub turned_away: u64,
    /// Clients that found no room and got no hint when to come back: refused connects, upgrades refused without
    /// `Retry-After`, closes with 1013 without a hint.
    #[serde(default)]
    pub refused_without_hint: u64,
    /// Closed by the other side, without a prior notice.
    pub eof: u64,
    /// Closed by the other side, after a notice.
    pub eof_after_notice: u64,
    pub reset: u64,
    /// Ended by this side as planned, or because a notice asked for it.
    pub closed: u64,
    /// Ended by this side because an answer did not come in time: without framing, a late answer could not be told from
    /// the next message's.
    #[serde(default)]
    pub given_up: u64,
    /// WebSocket: closed by this side because of a protocol violation.
    #[serde(default)]
    pub protocol_errors: u64,
    /// Connections that ended without a notice, although neither this side nor the scenario asked for it.
    pub lost: u64,
    /// Messages due by the schedule: `messages_sent` + `messages_never_sent`. Counted at the end of a
    /// connection.
    #[serde(default)]
    pub messages_due: u64,
    /// Where answers are expected: `messages_answered` + `message_timeouts` + `messages_cut_off` + `messages_wrong` +
    /// those still outstanding.
    pub messages_sent: u64,
    /// Due messages that could not be sent before their connection ended, because earlier ones were outstanding.
    #[serde(default)]
    pub messages_never_sent: u64,
    pub messages_answered: u64,
    /// No answer within the time-out.
    pub message_timeouts: u64,
    /// Sent messages whose connection, or the load, ended before an answer or the time-out.
    #[serde(default)]
    pub messages_cut_off: u64,
    /// `message_timeouts` + `messages_cut_off`.
    pub messages_unanswered: u64,
    /// Answered with unexpected bytes.
    pub messages_wrong: u64,
    /// Started later than due by more than a tick, because an earlier one was outstanding.
    pub messages_late: u64,
    /// Payloads that clients sent for the scenario's actions. Not counted among the messages.
    #[serde(default)]
    pub actions_sent: u64,
    /// Of these, broadcasts.
    #[serde(default)]
    pub broadcasts_sent: u64,
    /// Broadcasts that the server answered with an error.
    #[serde(default)]
    pub broadcasts_refused: u64,
    /// Broadcasts times the clients that were open when each was sent; refused ones do not count.
    #[serde(default)]
    pub broadcasts_due: u64,
    /// The deliveries that arrived, and the ones that never did.
    #[serde(default)]
    pub broadcasts_received: u64,
    #[serde(default)]
    pub broadcasts_missed: u64,
    /// Broadcasts that reached a client twice.
    #[serde(default)]
    pub broadcasts_doubled: u64,
    /// Requests for the replica that serves a connection, and their answers. Not counted among the messages.
    #[serde(default)]
    pub where_sent: u64,
    #[serde(default)]
    pub where_answered: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    /// UDP and numbered messages: answers to a message that was answered before.
    #[serde(default)]
    pub messages_duplicated: u64,
    /// UDP and numbered messages: answers that came after the answer to a later message of the same peer or session (as
    /// RFC 4737 defines it).
    #[serde(default)]
    pub messages_reordered: u64,
    /// UDP: answers that arrived after their time-out. Their messages are among `message_timeouts`.
    #[serde(default)]
    pub messages_overdue: u64,
    /// UDP: datagrams that answer no message of this load, such as errors. Numbered messages: answers to another session's
    /// message, or to one that is older than the last 64.
    #[serde(default)]
    pub messages_stray: u64,
    /// Numbered messages: those whose connection ended before the answer. Not among them: those that crossed the
    /// server's request to reconnect, and those outstanding when the load closed.
    #[serde(default)]
    pub messages_lost: u64,
    /// Numbered messages that crossed the server's request to reconnect: the session's next message had the same number.
    #[serde(default)]
    pub messages_resumed: u64,
    /// Numbered messages: how often a session continued on another connection, and how often on another replica.
    #[serde(default)]
    pub moves: u64,
    #[serde(default)]
    pub moves_elsewhere: u64,
    /// UDP: datagrams that the kernel dropped at this side's own sockets, which were full. Counted at the end.
    #[serde(default)]
    pub receive_drops: u64,
    /// SSE: events received, and the numbers missing between the ids of two events of a client.
    #[serde(default)]
    pub events: u64,
    #[serde(default)]
    pub events_missed: u64,
    /// SSE: streams with only the event that announces that there will be no others, because another client has the
    /// lock. They are among `refused`, unless the server left open whether more would come.
    #[serde(default)]
    pub streams_refused: u64,
    /// SSE, where several clients share a user and a profile: how often two of them had a stream of it at the same time.
    #[serde(default)]
    pub pairs_held_twice: u64,
}

impl Counters {
    /// UDP: messages without an answer in time, except the answers that this side's own sockets had no room for.
    pub fn datagrams_lost(&self) -> u64 {
        self.message_timeouts.saturating_sub(self.receive_drops)
    }
}

impl AddAssign for Counters {
    #[expect(clippy::too_many_lines, reason = "each field twice, so that none is forgotten")]
    fn add_assign(&mut self, other: Self) {
        let Self {
            attempted,
            connected,
            connected_first,
            reconnected,
            refused,
            connect_timeouts,
            connect_errors,
            connects_cut_off,
            stayed_away,
            notices,
            turned_away,
            refused_without_hint,
            eof,
            eof_after_notice,
            reset,
            closed,
            given_up,
            protocol_errors,
            lost,
            messages_due,
            messages_sent,
            messages_never_sent,
            messages_answered,
            message_timeouts,
            messages_cut_off,
            messages_unanswered,
            messages_wrong,
            messages_late,
            actions_sent,
            broadcasts_sent,
            broadcasts_refused,
            broadcasts_due,
            broadcasts_received,
            broadcasts_missed,
            broadcasts_doubled,
            where_sent,
            where_answered,
            bytes_sent,
            bytes_received,
            messages_duplicated,
            messages_reordered,
            messages_overdue,
            messages_stray,
            messages_lost,
            messages_resumed,
            moves,
            moves_elsewhere,
            receive_drops,
            events,
            events_missed,
            streams_refused,
            pairs_held_twice,
        } = other;
        self.attempted += attempted;
        self.connected += connected;
        self.connected_first += connected_first;
        self.reconnected += reconnected;
        self.refused += refused;
        self.connect_timeouts += connect_timeouts;
        self.connect_errors += connect_errors;
        self.connects_cut_off += connects_cut_off;
        self.stayed_away += stayed_away;
        self.notices += notices;
        self.turned_away += turned_away;
        self.refused_without_hint += refused_without_hint;
        self.eof += eof;
        self.eof_after_notice += eof_after_notice;
        self.reset += reset;
        self.closed += closed;
        self.given_up += given_up;
        self.protocol_errors += protocol_errors;
        self.lost += lost;
        self.messages_due += messages_due;
        self.messages_sent += messages_sent;
        self.messages_never_sent += messages_never_sent;
        self.messages_answered += messages_answered;
        self.message_timeouts += message_timeouts;
        self.messages_cut_off += messages_cut_off;
        self.messages_unanswered += messages_unanswered;
        self.messages_wrong += messages_wrong;
        self.messages_late += messages_late;
        self.actions_sent += actions_sent;
        self.broadcasts_sent += broadcasts_sent;
        self.broadcasts_refused += broadcasts_refused;
        self.broadcasts_due += broadcasts_due;
        self.broadcasts_received += broadcasts_received;
        self.broadcasts_missed += broadcasts_missed;
        self.broadcasts_doubled += broadcasts_doubled;
        self.where_sent += where_sent;
        self.where_answered += where_answered;
        self.bytes_sent += bytes_sent;
        self.bytes_received += bytes_received;
        self.messages_duplicated += messages_duplicated;
        self.messages_reordered += messages_reordered;
        self.messages_overdue += messages_overdue;
        self.messages_stray += messages_stray;
        self.messages_lost += messages_lost;
        self.messages_resumed += messages_resumed;
        self.moves += moves;
        self.moves_elsewhere += moves_elsewhere;
        self.receive_drops += receive_drops;
        self.events += events;
        self.events_missed += events_missed;
        self.streams_refused += streams_refused;
        self.pairs_held_twice += pairs_held_twice;
    }
}

/// Percentiles in µs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LatencySummary {
    pub count: u64,
    pub min_us: u64,
    pub mean_us: u64,
    pub p50_us: u64,
    pub p90_us: u64,
    pub p99_us: u64,
    pub p999_us: u64,
    pub max_us: u64,
}

/// How unevenly connections are spread over replicas.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Skew {
    /// Fullest replica over the mean; 1 = even.
    pub max_over_mean: f64,
    /// Jain's index (Σx)² / (n Σx²); 1 = even, 1/n = all on one.
    pub jain: f64,
}

impl Skew {
    /// `None` without replicas or without connections.
    pub fn of(counts: impl IntoIterator<Item = u64>) -> Option<Self> {
        let (mut n, mut sum, mut squares, mut max) = (0.0, 0.0, 0.0, 0.0_f64);
        for count in counts {
            let count = count as f64;
            n += 1.0;
            sum += count;
            squares += count * count;
            max = max.max(count);
        }
        (sum > 0.0).then(|| Self { max_over_mean: max * n / sum, jain: sum * sum / (n * squares) })
    }
}

/// One line of the load's time series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LoadTick {
    /// Open now.
    pub open: u64,
    /// Being opened now.
    pub connecting: u64,
    /// Since the run began.
    pub totals: Counters,
    /// In this tick alone.
    pub connect: LatencySummary,
    /// In this tick alone, from the start of the connect.
    #[serde(default)]
    pub first_byte: LatencySummary,
    /// In this tick alone, from the due time.
    pub message: LatencySummary,
    /// Open connections by the replica that serves them; `unknown` if the target does not report it.
    pub by_replica: BTreeMap<String, u64>,
    pub skew: Option<Skew>,
}

/// The whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LoadSummary {
    pub plan: LoadPlan,
    /// From the first connect to the end, ms.
    pub took_ms: u64,
    pub totals: Counters,
    /// From the start of the connect to established.
    pub connect: LatencySummary,
    /// From the start of the connect to the first byte of an answer.
    pub first_byte: LatencySummary,
    /// From a message's due time to its complete answer. Only messages answered as expected count.
    pub message: LatencySummary,
    /// From a message's due time to its actual start.
    pub lateness: LatencySummary,
    /// From the end of a connection to its successor being open.
    pub reconnect: LatencySummary,
    /// From the moment at which a broadcast was sent to its receipt, over all clients; the maximum is the last
    /// client's.
    #[serde(default)]
    pub broadcast: LatencySummary,
    /// Numbered messages: from the end of a connection to the session's next answer, on whichever connection.
    #[serde(default)]
    pub gap: LatencySummary,
    /// The same without the client's own reconnect delay.
    #[serde(default)]
    pub gap_without_delay: LatencySummary,
    /// SSE: between two events of a client, on whichever connections.
    #[serde(default)]
    pub event_gap: LatencySummary,
    pub message_histogram: Vec<HistogramBucket>,
    /// The most connections open at once.
    pub open_max: u64,
    /// The most connections that one replica accepted in one second of the run, including those that it closed at once.
    #[serde(default)]
    pub busiest_second: u64,
    /// Shares when the most were open.
    pub shares: Vec<ReplicaShare>,
    pub skew: Option<Skew>,
    /// How long the autoscaler took, if it was watched.
    pub scale_up: Option<ScaleDelays>,
    pub scale_down: Option<ScaleDelays>,
    pub expectations: Vec<ExpectationResult>,
    pub interrupted: bool,
    /// Why the first failed connect failed.
    #[serde(default)]
    pub first_error: Option<String>,
    /// The first unexpected answer, escaped, and the protocol it belongs to, if recognised.
    #[serde(default)]
    pub first_wrong_answer: Option<String>,
    /// Why the load ended early, if it did.
    #[serde(default)]
    pub ended_early: Option<String>,
    /// WebSocket: how the server ended connections and refused upgrades, by code.
    #[serde(default)]
    pub endings: Vec<Ending>,
}

/// How a server ended connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ending {
    /// A close code (1005: the close had none; 1006: there was no close) or, for a refused upgrade, the HTTP
    /// status.
    pub code: u16,
    /// The first one's reason or status line, escaped.
    pub reason: String,
    pub count: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HistogramBucket {
    /// Upper bound, µs.
    pub up_to_us: u64,
    pub count: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReplicaShare {
    pub replica: String,
    pub connections: u64,
    /// Of all open ones, 0 to 1.
    pub share: f64,
}

/// Where the time between a cause and its effect went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScaleDelays {
    pub total_ms: u64,
    /// Named parts in order, such as `("scrape", 2400)`; they add up to the total.
    pub parts: Vec<(String, u64)>,
}
