//! A hundred thousand connections from one command.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result};

use super::{Work, load};
use crate::{
    contestant::{Contestant, Direct, Programs, gateways},
    figures::{Figure, Goal, Unit},
    measure,
    process::{Process, Start},
};

const CONNECTIONS: u64 = 100_000;
const CONNECTS_PER_SECOND: u64 = 5_000;
const RAMP: Duration = Duration::from_secs(CONNECTIONS / CONNECTS_PER_SECOND);
/// How long all of them are open.
const HOLD: Duration = Duration::from_secs(15);
/// From the start of the program until all are certainly open.
const SETTLED: Duration = Duration::from_secs(RAMP.as_secs() + HOLD.as_secs() / 2);

/// A process has 20,000 descriptors, and a gateway needs two for a connection.
const REPLICAS: u8 = 6;
const GATEWAYS: u8 = 11;

pub(super) fn direct() -> Work {
    work("load-100k", &format!("`playctl load --conns {CONNECTIONS}` against {REPLICAS} `tcp` services"), 0)
}

pub(super) fn through_gateways() -> Work {
    work(
        "load-100k-gateway",
        &format!(
            "`playctl load --conns {CONNECTIONS}` through {GATEWAYS} gateways onto {REPLICAS} `tcp` services"
        ),
        GATEWAYS,
    )
}

fn work(name: &'static str, about: &str, gateway_count: u8) -> Work {
    let memory = |title| Figure { title, unit: Unit::Bytes, goals: Vec::new() };
    let mut figures = vec![
        Figure {
            title: "connections open at once",
            unit: Unit::Count,
            goals: vec![Goal::From { value: CONNECTIONS as f64 }],
        },
        Figure { title: "connections lost", unit: Unit::Count, goals: vec![Goal::UpTo { value: 0.0 }] },
        Figure { title: "load's processes", unit: Unit::Count, goals: Vec::new() },
        memory("memory per connection, load"),
        memory("memory per connection, services"),
    ];
    if gateway_count > 0 {
        figures.push(memory("memory per connection, gateways"));
    }
    Work {
        name,
        about: format!("{about}, one message per connection every ten seconds; resident memory in all"),
        contestants: vec![Contestant::Playctl],
        once: true,
        figures,
        turn: Box::new(move |programs, _, _| turn(programs, gateway_count)),
    }
}

fn turn(programs: &Programs, gateway_count: u8) -> Result<Vec<f64>> {
    let replicas = Direct::replicas(programs, REPLICAS)?;
    let addresses = |processes: &[(Process, SocketAddr)]| -> Vec<SocketAddr> {
        processes.iter().map(|(_, address)| *address).collect()
    };
    let gateways = gateways(programs, gateway_count, &addresses(&replicas))?;
    let targets = addresses(if gateways.is_empty() { &replicas } else { &gateways });
    let load = start(programs, &targets)?;
    measure::wait(SETTLED);
    let family = measure::family(load.id())?;
    let memory = |processes: &mut dyn Iterator<Item = u32>| -> Result<f64> {
        let bytes = processes.map(measure::resident).sum::<Result<u64>>()?;
        Ok(bytes as f64 / CONNECTIONS as f64)
    };
    let ids = |processes: &[(Process, SocketAddr)]| -> Vec<u32> {
        processes.iter().map(|(process, _)| process.id()).collect()
    };
    let clients = memory(&mut family.iter().copied())?;
    let services = memory(&mut ids(&replicas).into_iter())?;
    let proxies = memory(&mut ids(&gateways).into_iter())?;
    let summary = load::summary(&load.output()?)?;
    let mut values =
        vec![summary.open_max as f64, summary.totals.lost as f64, family.len() as f64, clients, services];
    if gateway_count > 0 {
        values.push(proxies);
    }
    Ok(values)
}

fn start(programs: &Programs, targets: &[SocketAddr]) -> Result<Process> {
    Start::contained("load", programs.playctl()?)
        .args(["load", "--output", "json", "--conns", &CONNECTIONS.to_string()])
        .args(["--rate", &format!("{CONNECTS_PER_SECOND}/s"), "--hold", &format!("{}s", HOLD.as_secs())])
        .args(["--every", "10s", "--identify", "never"])
        .args(targets.iter().map(ToString::to_string))
        .with_dialogue()
        .spawn()
        .context("cannot start playctl load")
}
