//! The `tcp` service against the minimal echo server.

use std::time::Duration;

use anyhow::Result;

use super::{Scene, Traced, Work, by_threads};
use crate::{
    contestant::{Contestant, Direct, MESSAGE, Programs},
    figures::{Figure, Goal, Unit},
    traffic::{Traffic, connects::Connects, dial, ping_pong::PingPong, trickle},
};

const PING_PONG_CONNECTIONS: usize = 100;
const ABORTS_AT_ONCE: usize = 32;
const TRICKLE_CONNECTIONS: usize = 10_000;
const TRICKLE_EVERY: Duration = Duration::from_secs(1);

pub(super) fn ping_pong(threads: usize) -> Work {
    Work {
        name: by_threads(threads, "tcp-pingpong", "tcp-pingpong-2"),
        about: format!(
            "{PING_PONG_CONNECTIONS} connections, each with one `msg:12345` under way at all times; \
             I/O threads: {threads} each"
        ),
        contestants: vec![Contestant::Playctl, Contestant::Reference],
        once: false,
        figures: vec![Figure {
            title: "messages",
            unit: Unit::PerCpuSecond,
            goals: vec![Goal::AtLeast { ratio: 0.9, of: Contestant::Reference }],
        }],
        turn: Box::new(move |programs, contestant, length| {
            let scene = ping_pong_scene(programs, contestant, threads)?;
            Ok(vec![scene.window(length)?.units_per_cpu_second()])
        }),
    }
}

pub(super) fn traced() -> Traced {
    Traced {
        name: "tcp-pingpong",
        contestants: vec![Contestant::Playctl, Contestant::Reference],
        unit: "message",
        per: 1.0,
        scene: Box::new(|programs, contestant| ping_pong_scene(programs, contestant, 1)),
    }
}

fn ping_pong_scene(programs: &Programs, contestant: Contestant, threads: usize) -> Result<Scene> {
    let server = Direct::start(contestant, programs, threads)?;
    let pattern = PingPong {
        target: server.address(),
        connections: PING_PONG_CONNECTIONS / threads,
        message: MESSAGE,
        reply: server.reply().len(),
    };
    let traffic = Traffic::start(threads, move |meter| pattern.run(meter))?;
    Ok(Scene::new(traffic, server.id(), server))
}

pub(super) fn trickle() -> Work {
    Work {
        name: "tcp-trickle",
        about: format!(
            "{TRICKLE_CONNECTIONS} connections, one `msg:12345` a second each, evenly spread over the second"
        ),
        contestants: vec![Contestant::Playctl, Contestant::Reference],
        once: false,
        figures: vec![Figure {
            title: "CPU per message",
            unit: Unit::Seconds,
            goals: vec![Goal::AtMost { ratio: 1.2, of: Contestant::Reference }],
        }],
        turn: Box::new(|programs, contestant, length| {
            let server = Direct::start(contestant, programs, 1)?;
            let target = server.address();
            let traffic = Traffic::start(1, move |meter| {
                let streams = dial::many(target, TRICKLE_CONNECTIONS)?;
                trickle::flow(&streams, MESSAGE, TRICKLE_EVERY, meter)
            })?;
            // While it warms up, every connection has its turn once.
            let window = Scene::new(traffic, server.id(), server).window(length)?;
            Ok(vec![window.cpu_seconds_per_unit()])
        }),
    }
}

pub(super) fn aborts() -> Work {
    Work {
        name: "tcp-aborts",
        about: format!("connect, one message, its answer, abort (RST); {ABORTS_AT_ONCE} at a time"),
        contestants: vec![Contestant::Playctl, Contestant::Reference],
        once: false,
        figures: vec![Figure { title: "connections", unit: Unit::PerCpuSecond, goals: Vec::new() }],
        turn: Box::new(|programs, contestant, length| {
            let server = Direct::start(contestant, programs, 1)?;
            let pattern =
                Connects { target: server.address(), at_once: ABORTS_AT_ONCE, message: MESSAGE, abort: true };
            let traffic = Traffic::start(1, move |meter| pattern.run(meter))?;
            Ok(vec![Scene::new(traffic, server.id(), server).window(length)?.units_per_cpu_second()])
        }),
    }
}
