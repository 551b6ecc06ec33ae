//! The load generator against the bare epoll client.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use platform::event::LoadSummary;
use serde::Deserialize;

use super::{Scene, Traced, Work};
use crate::{
    contestant::{Contestant, Direct, MESSAGE, Programs},
    figures::{Figure, Goal, Unit},
    measure,
    process::{Process, Start},
    reference::Summary,
};

const CONNECTIONS: u64 = 10_000;
/// A traced client is far slower but must keep to its schedule.
const TRACED_CONNECTIONS: u64 = 1_000;
const CONNECTS_PER_SECOND: u64 = 2_500;
const EVERY: Duration = Duration::from_secs(1);

/// From the start of the program until all are connected and each has sent something.
const RAMP: Duration = Duration::from_secs(CONNECTIONS / CONNECTS_PER_SECOND + 2);
/// After the measured time, so that the end of the run is excluded.
const MARGIN: Duration = Duration::from_secs(2);

pub(super) fn work() -> Work {
    Work {
        name: "load",
        about: format!(
            "{CONNECTIONS} connections to a minimal echo server, one `msg:12345` a second each, by `playctl load` and by \
             a bare epoll client; lateness is the time between when a message was due and when it was sent"
        ),
        contestants: vec![Contestant::Playctl, Contestant::Reference],
        once: false,
        figures: vec![
            Figure {
                title: "CPU per message",
                unit: Unit::Seconds,
                goals: vec![Goal::AtMost { ratio: 1.15, of: Contestant::Reference }],
            },
            Figure {
                title: "p99 of lateness",
                unit: Unit::Seconds,
                goals: vec![Goal::AtMost { ratio: 0.8, of: Contestant::Reference }],
            },
        ],
        turn: Box::new(|programs, contestant, length| {
            let server = Direct::start(Contestant::Reference, programs, 1)?;
            let seconds = (RAMP + length + MARGIN).as_secs();
            let client = start(programs, contestant, server.address(), CONNECTIONS, seconds)?;
            measure::wait(RAMP);
            let cpu = measure::cpu_time(client.id())?;
            measure::wait(length);
            let cpu = measure::cpu_time(client.id())?.saturating_sub(cpu);
            let run = Run::of(contestant, &client.output()?)?;
            // Messages are due by a schedule, so their number is known; a client that does not keep up does less work
            // and must not look cheap.
            let scheduled = CONNECTIONS as f64 * length.as_secs_f64() / EVERY.as_secs_f64();
            ensure!(
                run.answered as f64 > 0.95 * scheduled,
                "{} answers, {scheduled} messages were due in the measured time alone",
                run.answered
            );
            Ok(vec![cpu.as_secs_f64() / scheduled, run.lateness_p99.as_secs_f64()])
        }),
    }
}

/// Either client while all its connections are open.
pub(super) fn traced() -> Traced {
    Traced {
        name: "load",
        contestants: vec![Contestant::Playctl, Contestant::Reference],
        unit: "message",
        per: 1.0,
        scene: Box::new(|programs, contestant| {
            let server = Direct::start(Contestant::Reference, programs, 1)?;
            // Long enough for a tracer to come and go.
            let client = start(programs, contestant, server.address(), TRACED_CONNECTIONS, 60)?;
            measure::wait(RAMP);
            let per_second = TRACED_CONNECTIONS as f64 / EVERY.as_secs_f64();
            Ok(Scene::scheduled(per_second, client.id(), (client, server)))
        }),
    }
}

fn start(
    programs: &Programs,
    contestant: Contestant,
    target: SocketAddr,
    connections: u64,
    seconds: u64,
) -> Result<Process> {
    let message = str::from_utf8(MESSAGE)?;
    let (target, connections, seconds) = (target.to_string(), connections.to_string(), seconds.to_string());
    let start = if contestant == Contestant::Playctl {
        Start::contained("load", programs.playctl()?)
            .args(["load", "--output", "json", "--conns", &connections, "--every", "1s", "--expect", "any"])
            .args(["--rate", &format!("{CONNECTS_PER_SECOND}/s"), "--for", &format!("{seconds}s")])
            .args(["--payload", message, "--identify", "never", &target])
    } else {
        Start::reference("client", "client")?
            .args(["--target", &target, "--connections", &connections, "--message", message])
            .args(["--every-ms", &EVERY.as_millis().to_string(), "--seconds", &seconds])
    };
    start.with_dialogue().spawn()
}

/// The output of `playctl load --output json`; only the summary matters here.
#[derive(Deserialize)]
struct Document {
    summary: LoadSummary,
}

/// Either client's report about its run.
struct Run {
    answered: u64,
    lateness_p99: Duration,
}

impl Run {
    fn of(contestant: Contestant, output: &str) -> Result<Self> {
        if contestant == Contestant::Reference {
            let summary: Summary = serde_json::from_str(output).context("the bare client's summary")?;
            return Ok(Self {
                answered: summary.messages,
                lateness_p99: Duration::from_nanos(summary.lateness_p99_ns),
            });
        }
        let summary = summary(output)?;
        ensure!(summary.totals.lost == 0, "{} connections were lost", summary.totals.lost);
        Ok(Self {
            answered: summary.totals.messages_answered,
            lateness_p99: Duration::from_micros(summary.lateness.p99_us),
        })
    }
}

/// The summary in what `playctl load --output json` printed.
pub(super) fn summary(output: &str) -> Result<LoadSummary> {
    let Document { summary } = serde_json::from_str(output).context("what playctl load printed")?;
    Ok(summary)
}
