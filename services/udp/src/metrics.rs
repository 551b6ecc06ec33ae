//! The metrics and their names.
//!
//! | metric | meaning |
//! |---|---|
//! | `udp_packets_received_total` | packets that workers received; the autoscaler uses its rate |
//! | `udp_packets_answered_total` | replies that the kernel accepted |
//! | `udp_packets_dropped_total{reason}` | not answered: `kernel`: never received, because the receive queue was full; `unknown`: not a command of this service; `send`: the kernel did not accept the reply |
//! | `udp_commands_total{command}` | commands by name; `refused`: with a syntax error |
//! | `udp_packets_too_long_total` | packets above `BUFF_SIZE` |
//! | `udp_received_bytes_total`, `udp_sent_bytes_total` | bytes received (for packets that are too long, the part that
//! was kept) and sent |
//! | `udp_backend_failures_total{backend}` | commands answered with an error because `cache` was down |
//! | `udp_log_lines_total`, `udp_log_lines_shipped_total`, `udp_log_lines_dropped_total` | log lines for Kafka,
//! delivered lines, and undelivered ones |
//! | `udp_log_lines_unwritten_total` | log lines that could not be written to stderr |
//!
//! Received packets that are neither answered nor dropped are waiting for the cache. Workers count in plain integers
//! and add them to these counters once per turn of their loop; the kernel's counter is read at each scrape.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::registry::Registry;
use service::metrics::{add_all, backend_failures, by_label, counter};
use udp_drops::KernelDrops;

/// A command, for counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommandName {
    Message,
    Store,
    Fetch,
    Refused,
}

impl CommandName {
    const ALL: [(Self, &'static str); 4] =
        [(Self::Message, "msg"), (Self::Store, "mcset"), (Self::Fetch, "mcget"), (Self::Refused, "refused")];
}

/// Counters shared by all workers.
pub(crate) struct Metrics {
    received: Counter,
    answered: Counter,
    unknown: Counter,
    unsent: Counter,
    commands: [Counter; CommandName::ALL.len()],
    too_long: Counter,
    received_bytes: Counter,
    sent_bytes: Counter,
    pub(crate) cache_failures: Counter,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry, kernel: KernelDrops) -> Self {
        let registry = registry.sub_registry_with_prefix("udp");
        service::logs::register(registry);
        let names = CommandName::ALL.map(|(_, name)| name);
        let commands = by_label(registry, "commands", "Commands, by name", "command", names);
        let [cache_failures] = backend_failures(registry, ["cache"]);
        let (unknown, unsent) = (Counter::default(), Counter::default());
        let drops = Drops { kernel, unknown: unknown.clone(), unsent: unsent.clone() };
        registry.register_collector(Box::new(drops));

        let mut counter = |name, help| counter(registry, name, help);
        Self {
            received: counter("packets_received", "Packets received"),
            answered: counter("packets_answered", "Replies sent"),
            too_long: counter("packets_too_long", "Packets above the limit"),
            received_bytes: counter("received_bytes", "Bytes received"),
            sent_bytes: counter("sent_bytes", "Bytes sent"),
            unknown,
            unsent,
            commands,
            cache_failures,
        }
    }
}

/// Packets that were not answered, by reason; the kernel's count is read at each scrape.
#[derive(Debug)]
struct Drops {
    kernel: KernelDrops,
    unknown: Counter,
    unsent: Counter,
}

impl Collector for Drops {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let help = "Packets that were not answered, by reason";
        let mut family = encoder.encode_descriptor("packets_dropped", help, None, MetricType::Counter)?;
        let counts = [
            ("kernel", self.kernel.count().unwrap_or_default()),
            ("unknown", self.unknown.get()),
            ("send", self.unsent.get()),
        ];
        for (reason, count) in counts {
            ConstCounter::new(count).encode(family.encode_family(&[("reason", reason)])?)?;
        }
        Ok(())
    }
}

/// A worker's counts since it last added them up.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) received: u64,
    pub(crate) answered: u64,
    pub(crate) unknown: u64,
    pub(crate) unsent: u64,
    commands: [u64; CommandName::ALL.len()],
    pub(crate) too_long: u64,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
}

impl Tally {
    #[inline]
    pub(crate) fn command(&mut self, name: CommandName) {
        self.commands[name as usize] += 1;
    }

    /// Adds everything to `metrics` and resets.
    pub(crate) fn settle(&mut self, metrics: &Metrics) {
        let Self { received, answered, unknown, unsent, commands, too_long, received_bytes, sent_bytes } =
            std::mem::take(self);
        add_all([
            (&metrics.received, received),
            (&metrics.answered, answered),
            (&metrics.unknown, unknown),
            (&metrics.unsent, unsent),
            (&metrics.too_long, too_long),
            (&metrics.received_bytes, received_bytes),
            (&metrics.sent_bytes, sent_bytes),
        ]);
        add_all(metrics.commands.iter().zip(commands));
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn labels_are_in_the_order_of_their_numbers() {
        assert!(CommandName::ALL.iter().enumerate().all(|(index, (name, _))| *name as usize == index));
    }

    #[test]
    fn tallied_counts_are_added_once_and_drops_come_from_the_kernel() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry, KernelDrops::of([&socket]).unwrap());
        let mut tally = Tally { received: 3, answered: 1, unknown: 2, ..Tally::default() };
        tally.command(CommandName::Message);
        tally.settle(&metrics);
        tally.settle(&metrics);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "# TYPE udp_packets_dropped counter\n",
            "udp_packets_received_total 3\n",
            "udp_packets_answered_total 1\n",
            "udp_packets_dropped_total{reason=\"kernel\"} 0\n",
            "udp_packets_dropped_total{reason=\"unknown\"} 2\n",
            "udp_packets_dropped_total{reason=\"send\"} 0\n",
            "udp_commands_total{command=\"msg\"} 1\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
