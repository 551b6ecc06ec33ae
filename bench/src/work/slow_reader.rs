//! One client that does not read, next to a thousand that do.

use std::{
    io::Write,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use socket2::{Domain, Socket, Type};

use super::{Work, kafka::Kafka};
use crate::{
    contestant::{Contestant, Direct, MESSAGE},
    figures::{Figure, Goal, Unit},
    measure,
    process::http_get,
    traffic::{held::Held, stamped},
};

const CLIENTS: usize = 1_000;
/// Size of a broadcast: four fill the slow reader's queue.
const BYTES: usize = 16 * 1024;
/// Requests whose answers the slow reader does not read: enough to fill the kernel's buffers, which grow to some MiB.
const QUESTIONS: usize = 500;
/// Broadcasts in each of the two measurements.
const BROADCASTS: usize = 15;

const QUIET: Duration = Duration::from_millis(20);
const DEADLINE: Duration = Duration::from_secs(10);
/// How long filling the buffers and the queue may take.
const STUCK_WITHIN: Duration = Duration::from_mins(1);
/// The service allows a client 5 s without reading; it checks periodically, not at once.
const CLOSED_WITHIN: Duration = Duration::from_secs(15);

const DROPS: &str = "tcp_broadcast_drops_total";
const CLOSED: &str = "tcp_connections_closed_total{reason=\"slow\"}";

pub(super) fn work() -> Work {
    Work {
        name: "slow-reader",
        about: format!(
            "broadcasts of {BYTES} bytes to {CLIENTS} clients, without and with one more that reads nothing and whose \
             queue is full; the others' p99 from asking to reception"
        ),
        contestants: vec![Contestant::Playctl],
        once: false,
        figures: vec![
            Figure {
                title: "the others' p99, with against without",
                unit: Unit::Times,
                goals: vec![Goal::UpTo { value: 1.2 }],
            },
            Figure { title: "until the slow reader is closed", unit: Unit::Seconds, goals: Vec::new() },
            Figure { title: "memory that it costs", unit: Unit::Bytes, goals: Vec::new() },
        ],
        turn: Box::new(|programs, contestant, _| {
            let kafka = Kafka::start()?;
            let environment = [("KAFKA_BROKERS", kafka.brokers().to_owned())];
            let server = Direct::with_environment(contestant, programs, 1, &environment)?;
            let clients = Held::open(server.address(), CLIENTS, MESSAGE)?;
            stamped::enable(clients.streams())?;
            let value = "x".repeat(BYTES);
            let broadcast = || delays(&kafka, &value, &clients);
            // Once to warm the caches.
            broadcast()?;
            let without = p99(BROADCASTS, broadcast)?;
            let memory = measure::resident(server.id())?;
            let slow = slow_reader(server.address())?;
            let stuck = until_counted(&server, DROPS, STUCK_WITHIN, || broadcast().map(drop))?;
            let memory = measure::resident(server.id())?.saturating_sub(memory);
            let with = p99(BROADCASTS, broadcast)?;
            until_counted(&server, CLOSED, CLOSED_WITHIN, || {
                measure::wait(QUIET);
                Ok(())
            })?;
            drop(slow);
            Ok(vec![with / without, stuck.elapsed().as_secs_f64(), memory as f64])
        }),
    }
}

/// A connection with a small buffer that requests much and reads nothing.
fn slow_reader(target: SocketAddr) -> Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    // Before connecting, when the window is negotiated.
    socket.set_recv_buffer_size(4096)?;
    socket.connect(&target.into())?;
    (&socket).write_all(&b"WHO\n".repeat(QUESTIONS))?;
    Ok(socket)
}

/// One broadcast: how long each client waited for it, in seconds.
fn delays(kafka: &Kafka, value: &str, clients: &Held) -> Result<Vec<f64>> {
    let asked = Duration::try_from(clock::wall().duration_since(Timestamp::UNIX_EPOCH))?;
    kafka.publish(value)?;
    let times = stamped::times(clients.streams(), value.len(), QUIET, DEADLINE)?;
    Ok(times.iter().map(|time| time.saturating_sub(asked).as_secs_f64()).collect())
}

fn p99(broadcasts: usize, mut broadcast: impl FnMut() -> Result<Vec<f64>>) -> Result<f64> {
    let mut delays = Vec::new();
    for _ in 0..broadcasts {
        delays.extend(broadcast()?);
    }
    delays.sort_by(f64::total_cmp);
    let place = (delays.len() * 99).div_ceil(100).saturating_sub(1);
    delays.get(place).copied().context("nothing was measured")
}

/// Repeats an action until a counter of the service is above zero; returns when that was seen.
fn until_counted(
    server: &Direct,
    counter: &str,
    within: Duration,
    mut act: impl FnMut() -> Result<()>,
) -> Result<Instant> {
    let deadline = clock::now() + within;
    while counted(&http_get(server.admin(), "/metrics")?, counter) == 0 {
        if clock::now() > deadline {
            bail!("{counter} was still 0 after {within:?}");
        }
        act()?;
    }
    Ok(clock::now())
}

/// The value of a metric in Prometheus' text format, 0 if missing.
fn counted(metrics: &str, name: &str) -> u64 {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    metrics.lines().find_map(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_name_and_labels() {
        let text = "# TYPE a counter\na_total 3\nb_total{reason=\"slow\"} 2\nb_total{reason=\"idle\"} 7\n";
        assert_eq!(counted(text, "a_total"), 3);
        assert_eq!(counted(text, "b_total{reason=\"slow\"}"), 2);
        assert_eq!(counted(text, "c_total"), 0);
    }

    #[test]
    fn p99_covers_all_samples() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert!((p99(1, || Ok(hundred.clone())).unwrap() - 99.0).abs() < 1e-9);
    }
}
