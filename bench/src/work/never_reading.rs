//! Clients that send and never read, next to others that wait for their answers.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use socket2::SockRef;

use super::Work;
use crate::{
    contestant::{Contestant, Direct, MESSAGE, gateways},
    figures::{Figure, Goal, Unit},
    measure,
    traffic::{dial, held::Held},
};

const NEVER_READING: usize = 200;
const OTHERS: usize = 100;

/// Requests sent at once; the answers are longer.
const QUESTIONS: usize = 2_000;

/// A client that reads nothing is closed after 5 s; the measurement ends before that.
const MEASURED_MAX: Duration = Duration::from_secs(3);

/// When nobody has read anything for this long, every buffer counts as full.
const QUIET: Duration = Duration::from_millis(100);

pub(super) fn direct() -> Work {
    work("never-reading", "the `tcp` service", false)
}

pub(super) fn through_gateway() -> Work {
    work("gateway-never-reading", "the gateway onto a `tcp` service", true)
}

fn work(name: &'static str, server: &str, through_gateway: bool) -> Work {
    Work {
        name,
        about: format!(
            "{OTHERS} connections to {server}, which exchange one message after the other, without and with \
             {NEVER_READING} more clients that ask until nothing more is taken and read nothing; the others' p99"
        ),
        contestants: vec![Contestant::Playctl],
        once: false,
        figures: vec![
            Figure {
                title: "p99 with minus without",
                unit: Unit::Seconds,
                goals: vec![Goal::UpTo { value: 0.001 }],
            },
            Figure { title: "p99 with against without", unit: Unit::Times, goals: Vec::new() },
            Figure { title: "p99 without", unit: Unit::Seconds, goals: Vec::new() },
        ],
        turn: Box::new(move |programs, contestant, length| {
            let server = Direct::start(contestant, programs, 1)?;
            let gateways = gateways(programs, u8::from(through_gateway), &[server.address()])?;
            let target = gateways.first().map_or(server.address(), |(_, address)| *address);
            let others = Held::open(target, OTHERS, MESSAGE)?;
            let length = length.min(MEASURED_MAX);
            // Once to warm the caches.
            p99(&others, length / 10)?;
            let without = p99(&others, length)?;
            let never_reading = never_reading(target)?;
            let with = p99(&others, length)?;
            drop(never_reading);
            Ok(vec![with - without, with / without, without])
        }),
    }
}

/// Clients that have sent until no more was accepted from any of them.
fn never_reading(target: SocketAddr) -> Result<Vec<TcpStream>> {
    let clients = dial::many(target, NEVER_READING)?;
    for client in &clients {
        client.set_nonblocking(true)?;
        SockRef::from(client).set_send_buffer_size(16 * 1024)?;
    }
    let questions = b"WHERE\n".repeat(QUESTIONS);
    let mut since = clock::now();
    while since.elapsed() < QUIET {
        for mut client in &clients {
            match client.write(&questions) {
                Ok(_) => since = clock::now(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("a client that does not read was closed early"),
            }
        }
        measure::wait(Duration::from_millis(1));
    }
    Ok(clients)
}

/// Messages one after another, each on the next connection: the p99 of their times, in seconds.
fn p99(clients: &Held, length: Duration) -> Result<f64> {
    let (mut times, mut answer) = (Vec::new(), [0; 512]);
    let began = clock::now();
    while began.elapsed() < length {
        for mut client in clients.streams() {
            let asked = clock::now();
            client.write_all(MESSAGE)?;
            ensure!(client.read(&mut answer).context("no answer")? > 0, "a client was closed");
            times.push(asked.elapsed().as_secs_f64());
        }
    }
    times.sort_by(f64::total_cmp);
    times.get(times.len() * 99 / 100).copied().context("nothing was measured")
}
