//! The metrics and their names.
//!
//! | metric | meaning |
//! |---|---|
//! | `tcp_connections_opened_total` | connections accepted |
//! | `tcp_connections_closed_total{reason}` | connections ended: `client`, `reset`, `quit`, `idle`, `slow`, `drain`, `forced`, `shed` |
//! | `tcp_connections` | connections now |
//! | `tcp_commands_total{command}` | commands by name; `refused`: with a syntax error, `unknown`: all others |
//! | `tcp_packets_too_long_total` | packets or lines above `BUFF_SIZE` |
//! | `tcp_received_bytes_total`, `tcp_sent_bytes_total` | bytes received from and written to clients |
//! | `tcp_broadcasts_total` | broadcasts consumed |
//! | `tcp_broadcast_deliveries_total` | broadcasts written to, or queued for, a client |
//! | `tcp_broadcast_drops_total` | broadcasts that a client did not get because its queue was full |
//! | `tcp_accept_pauses_total` | times that accepting paused at the limit on open files |
//! | `tcp_backend_failures_total{backend}` | commands answered with an error because `cache` or `broadcast` was down |
//! | `tcp_presence_writes_total` | transactions with this server's clients that etcd committed |
//! | `tcp_presence_failures_total` | requests to etcd that failed |
//! | `tcp_presence_servers` | servers whose clients `WHO` knows, this one included; 0 without etcd |
//! | `tcp_presence_left_out_total{what}` | entries in etcd under the servers' prefix that are not theirs: `key`,
//! `chunk` |
//! | `tcp_log_lines_total`, `tcp_log_lines_shipped_total`, `tcp_log_lines_dropped_total` | log lines for Kafka,
//! delivered lines, and undelivered ones |
//! | `tcp_log_lines_unwritten_total` | log lines that could not be written to stderr |
//!
//! Opened and closed connections are counters because a gauge hides what happens between two scrapes. Workers count in
//! plain integers and add them to these counters once per turn of their loop.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use service::metrics::{add_all, backend_failures, by_label, counter};

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The client closed its side and has received all replies.
    Client,
    /// The connection broke: a reset, or a failed read or write.
    Reset,
    Quit,
    Idle,
    Slow,
    Drain,
    Forced,
    /// It was told to reconnect because another replica has more room.
    Shed,
}

impl CloseReason {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Client, "client"),
        (Self::Reset, "reset"),
        (Self::Quit, "quit"),
        (Self::Idle, "idle"),
        (Self::Slow, "slow"),
        (Self::Drain, "drain"),
        (Self::Forced, "forced"),
        (Self::Shed, "shed"),
    ];
}

/// A command, for counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommandName {
    Message,
    Broadcast,
    Store,
    Fetch,
    Login,
    Who,
    Where,
    Why,
    Quit,
    Unknown,
    Refused,
}

impl CommandName {
    const ALL: [(Self, &'static str); 11] = [
        (Self::Message, "msg"),
        (Self::Broadcast, "brd"),
        (Self::Store, "mcset"),
        (Self::Fetch, "mcget"),
        (Self::Login, "login"),
        (Self::Who, "WHO"),
        (Self::Where, "WHERE"),
        (Self::Why, "WHY"),
        (Self::Quit, "QUIT"),
        (Self::Unknown, "unknown"),
        (Self::Refused, "refused"),
    ];
}

/// Counters shared by all workers.
pub(crate) struct Metrics {
    opened: Counter,
    closed: [Counter; CloseReason::ALL.len()],
    connections: Gauge,
    commands: [Counter; CommandName::ALL.len()],
    too_long: Counter,
    received_bytes: Counter,
    sent_bytes: Counter,
    pub(crate) broadcasts: Counter,
    deliveries: Counter,
    drops: Counter,
    accept_pauses: Counter,
    pub(crate) cache_failures: Counter,
    pub(crate) broadcast_failures: Counter,
    pub(crate) presence_writes: Counter,
    pub(crate) presence_failures: Counter,
    pub(crate) presence_servers: Gauge,
    /// Keys and chunks.
    pub(crate) presence_left_out: [Counter; 2],
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("tcp");
        service::logs::register(registry);
        let connections = Gauge::default();
        registry.register("connections", "Connections now", connections.clone());
        let presence_servers = Gauge::default();
        let help = "Servers whose clients are known, this one included; 0 without etcd";
        registry.register("presence_servers", help, presence_servers.clone());
        let reasons = CloseReason::ALL.map(|(_, reason)| reason);
        let closed =
            by_label(registry, "connections_closed", "Connections ended, by reason", "reason", reasons);
        let names = CommandName::ALL.map(|(_, name)| name);
        let commands = by_label(registry, "commands", "Commands, by name", "command", names);
        let [cache_failures, broadcast_failures] = backend_failures(registry, ["cache", "broadcast"]);
        let help = "Entries in etcd under the servers' prefix that are not theirs";
        let presence_left_out = by_label(registry, "presence_left_out", help, "what", ["key", "chunk"]);
        let mut counter = |name, help| counter(registry, name, help);
        Self {
            opened: counter("connections_opened", "Connections accepted"),
            too_long: counter("packets_too_long", "Packets or lines above the limit"),
            received_bytes: counter("received_bytes", "Bytes that clients sent"),
            sent_bytes: counter("sent_bytes", "Bytes written to clients"),
            broadcasts: counter("broadcasts", "Broadcasts consumed"),
            deliveries: counter("broadcast_deliveries", "Broadcasts written to or queued for a client"),
            drops: counter("broadcast_drops", "Broadcasts a client did not get because its queue was full"),
            accept_pauses: counter("accept_pauses", "Times that accepting paused at the limit on open files"),
            presence_writes: counter("presence_writes", "Transactions with clients that etcd committed"),
            presence_failures: counter("presence_failures", "Requests to etcd that failed"),
            presence_servers,
            presence_left_out,
            closed,
            commands,
            cache_failures,
            broadcast_failures,
            connections,
        }
    }
}

/// A worker's counts since it last added them up.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) opened: u64,
    closed: [u64; CloseReason::ALL.len()],
    commands: [u64; CommandName::ALL.len()],
    pub(crate) too_long: u64,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) deliveries: u64,
    pub(crate) drops: u64,
    pub(crate) accept_pauses: u64,
}

impl Tally {
    #[inline]
    pub(crate) fn command(&mut self, name: CommandName) {
        self.commands[name as usize] += 1;
    }

    pub(crate) fn closed(&mut self, reason: CloseReason) {
        self.closed[reason as usize] += 1;
    }

    /// Adds everything to `metrics` and resets.
    pub(crate) fn settle(&mut self, metrics: &Metrics) {
        let Self {
            opened,
            closed,
            commands,
            too_long,
            received_bytes,
            sent_bytes,
            deliveries,
            drops,
            accept_pauses,
        } = std::mem::take(self);
        let change = opened as i64 - closed.iter().sum::<u64>() as i64;
        add_all([
            (&metrics.opened, opened),
            (&metrics.too_long, too_long),
            (&metrics.received_bytes, received_bytes),
            (&metrics.sent_bytes, sent_bytes),
            (&metrics.deliveries, deliveries),
            (&metrics.drops, drops),
            (&metrics.accept_pauses, accept_pauses),
        ]);
        add_all(metrics.commands.iter().zip(commands));
        add_all(metrics.closed.iter().zip(closed));
        if change != 0 {
            metrics.connections.inc_by(change);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_in_the_order_of_their_numbers() {
        assert!(CloseReason::ALL.iter().enumerate().all(|(index, (reason, _))| *reason as usize == index));
        assert!(CommandName::ALL.iter().enumerate().all(|(index, (name, _))| *name as usize == index));
    }

    #[test]
    fn tallied_counts_are_added_once() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let mut tally = Tally { opened: 3, ..Tally::default() };
        tally.command(CommandName::Message);
        tally.closed(CloseReason::Idle);
        tally.settle(&metrics);
        tally.settle(&metrics);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "tcp_connections_opened_total 3\n",
            "tcp_connections_closed_total{reason=\"idle\"} 1\n",
            "tcp_connections_closed_total{reason=\"drain\"} 0\n",
            "tcp_connections 2\n",
            "tcp_commands_total{command=\"msg\"} 1\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
