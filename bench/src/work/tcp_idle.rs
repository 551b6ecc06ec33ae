//! The cost of ten thousand idle connections.

use super::Work;
use crate::{
    contestant::{Contestant, Direct, MESSAGE},
    figures::{Figure, Goal, Unit},
    measure,
    traffic::held::Held,
};

const CONNECTIONS: usize = 10_000;

pub(super) fn work() -> Work {
    Work {
        name: "idle",
        about: format!(
            "{CONNECTIONS} connections to the `tcp` service, each of which had one message answered and is silent \
             since; resident memory with minus without them"
        ),
        contestants: vec![Contestant::Playctl, Contestant::Reference],
        once: false,
        figures: vec![
            Figure {
                title: "memory per idle connection",
                unit: Unit::Bytes,
                goals: vec![Goal::UpTo { value: 1.2 * 1024.0 }],
            },
            Figure {
                title: "CPU of all of them",
                unit: Unit::Cores,
                goals: vec![Goal::Under { value: 0.005 }],
            },
        ],
        turn: Box::new(|programs, contestant, length| {
            let server = Direct::start(contestant, programs, 1)?;
            let without = measure::resident(server.id())?;
            let held = Held::open(server.address(), CONNECTIONS, MESSAGE)?;
            let cpu = measure::cpu_time(server.id())?;
            measure::wait(length);
            let cpu = measure::cpu_time(server.id())?.saturating_sub(cpu);
            let with = measure::resident(server.id())?;
            drop(held);
            let memory = with.saturating_sub(without) as f64 / CONNECTIONS as f64;
            Ok(vec![memory, cpu.as_secs_f64() / length.as_secs_f64()])
        }),
    }
}
