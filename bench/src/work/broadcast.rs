//! One message to all clients: the service against a bare loop of sends.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;

use super::{Work, kafka::Kafka};
use crate::{
    contestant::{Contestant, Direct, MESSAGE, Programs},
    figures::{Figure, Goal, Unit},
    loopback,
    process::{Dialogue, Process, Start},
    stats::Spread,
    traffic::{dial, held::Held, stamped},
};

const CLIENTS: usize = 10_000;
const VALUE: &str = "a broadcast of some sixty bytes, about what a line of chat has";

/// How many connections may wait until the send loop accepts them.
const AT_ONCE: usize = 2_000;

/// After this, no more sending is expected; only then do the clients read.
const QUIET: Duration = Duration::from_millis(300);
const DEADLINE: Duration = Duration::from_secs(10);

pub(super) fn work() -> Work {
    Work {
        name: "broadcast",
        about: format!(
            "one message of {} bytes to each of {CLIENTS} clients, from the first to the last write, by the times at \
             which the kernel received them; ours gets it from Kafka",
            VALUE.len()
        ),
        contestants: vec![Contestant::Playctl, Contestant::Reference],
        once: false,
        figures: vec![
            Figure {
                title: "first to last client",
                unit: Unit::Seconds,
                goals: vec![Goal::AtMost { ratio: 1.15, of: Contestant::Reference }],
            },
            Figure { title: "from asking to the first client", unit: Unit::Seconds, goals: Vec::new() },
        ],
        turn: Box::new(|programs, contestant, length| match contestant {
            Contestant::Playctl => ours(programs, length),
            _ => reference(length),
        }),
    }
}

fn ours(programs: &Programs, length: Duration) -> Result<Vec<f64>> {
    let kafka = Kafka::start()?;
    let environment = [("KAFKA_BROKERS", kafka.brokers().to_owned())];
    let server = Direct::with_environment(Contestant::Playctl, programs, 1, &environment)?;
    let clients = Held::open(server.address(), CLIENTS, MESSAGE)?;
    repeat(&clients, length, || kafka.publish(VALUE))
}

fn reference(length: Duration) -> Result<Vec<f64>> {
    let address = loopback::address(1, 1, 40_000);
    let mut process: Process = Start::reference("broadcast", "broadcast")?
        .args(["--listen", &address.to_string()])
        .with_dialogue()
        .spawn()?;
    let mut dialogue: Dialogue = process.talk()?;
    // An empty line sends nothing, but its answer proves that the loop listens and has accepted the waiting clients.
    dialogue.ask("")?;
    let mut streams = Vec::new();
    while streams.len() < CLIENTS {
        streams.extend(dial::many(address, AT_ONCE.min(CLIENTS - streams.len()))?);
        dialogue.ask("")?;
    }
    let clients = Held::silent(streams);
    repeat(&clients, length, || {
        let reached = dialogue.ask(VALUE)?;
        ensure!(reached == CLIENTS.to_string(), "it reached {reached} of {CLIENTS} clients");
        Ok(())
    })
}

/// Broadcasts repeatedly; returns the medians over all but the first, which finds cold caches.
fn repeat(clients: &Held, length: Duration, mut broadcast: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
    stamped::enable(clients.streams())?;
    let begun = clock::now();
    let mut durations = Vec::new();
    let mut delays = Vec::new();
    while begun.elapsed() < length || durations.len() < 2 {
        let asked = Duration::try_from(clock::wall().duration_since(Timestamp::UNIX_EPOCH))?;
        broadcast()?;
        let times = stamped::times(clients.streams(), VALUE.len(), QUIET, DEADLINE)?;
        let (first, last) = (times.iter().min(), times.iter().max());
        let (first, last) = (*first.context("there are no clients")?, *last.context("there are no clients")?);
        durations.push(last.saturating_sub(first).as_secs_f64());
        delays.push(first.saturating_sub(asked).as_secs_f64());
    }
    [durations, delays]
        .iter()
        .map(|samples| Ok(Spread::of(&samples[1..]).context("no broadcast was measured")?.median))
        .collect()
}
