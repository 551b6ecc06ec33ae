//! The `ws` service against a bare loop of tungstenite.

use anyhow::Result;

use super::{Scene, Work};
use crate::{
    contestant::{Contestant, Direct, Programs},
    figures::{Figure, Goal, Unit},
    measure,
    traffic::{Traffic, held::Held, ping_pong::PingPong, websocket},
};

const IDLE: usize = 10_000;
const PING_PONG: usize = 100;

pub(super) fn idle() -> Work {
    Work {
        name: "ws-idle",
        about: format!(
            "{IDLE} sessions of the `ws` service, listed in Redis, each of which had one message echoed and is silent \
             since; resident memory with minus without them"
        ),
        contestants: vec![Contestant::Playctl, Contestant::Reference],
        once: false,
        figures: vec![Figure {
            title: "memory per idle session",
            unit: Unit::Bytes,
            goals: vec![Goal::UpTo { value: 8.0 * 1024.0 }],
        }],
        turn: Box::new(|programs, contestant, length| {
            let server = Direct::websockets(contestant, programs)?;
            let without = measure::resident(server.id())?;
            let held = Held::over(websocket::sessions(server.address(), IDLE)?, websocket::FRAME)?;
            measure::wait(length);
            let with = measure::resident(server.id())?;
            drop(held);
            Ok(vec![with.saturating_sub(without) as f64 / IDLE as f64])
        }),
    }
}

pub(super) fn ping_pong() -> Work {
    Work {
        name: "ws-pingpong",
        about: format!(
            "{PING_PONG} sessions, each with one text frame of nine bytes under way at all times, against a bare loop \
             of tokio-tungstenite on one thread"
        ),
        contestants: vec![Contestant::Playctl, Contestant::Reference],
        once: false,
        figures: vec![Figure {
            title: "frames echoed",
            unit: Unit::PerCpuSecond,
            goals: vec![Goal::AtLeast { ratio: 0.85, of: Contestant::Reference }],
        }],
        turn: Box::new(|programs, contestant, length| {
            Ok(vec![scene(programs, contestant)?.window(length)?.units_per_cpu_second()])
        }),
    }
}

fn scene(programs: &Programs, contestant: Contestant) -> Result<Scene> {
    let server = Direct::websockets(contestant, programs)?;
    let pattern = PingPong {
        target: server.address(),
        connections: PING_PONG,
        message: websocket::FRAME,
        reply: websocket::ECHO.len(),
    };
    let traffic = Traffic::start(1, move |meter| {
        pattern.over(&websocket::sessions(pattern.target, pattern.connections)?, meter)
    })?;
    Ok(Scene::new(traffic, server.id(), server))
}
