//! The cost of idle connections in a proxy.

use super::Work;
use crate::{
    contestant::{Backend, Contestant, MESSAGE, Proxy, Setup},
    figures::{Figure, Goal, Unit},
    measure,
    traffic::held::Held,
};

/// A connection takes two descriptors of the 20,000 that a process usually has.
const CONNECTIONS: usize = 9_000;

pub(super) fn work() -> Work {
    Work {
        name: "gateway-idle",
        about: format!(
            "{CONNECTIONS} connections through the proxy, each of which had one message answered and is silent since"
        ),
        contestants: vec![Contestant::Playctl, Contestant::HaProxy, Contestant::Envoy],
        once: false,
        figures: vec![
            Figure {
                title: "resident memory in all",
                unit: Unit::Bytes,
                goals: vec![
                    Goal::AtMost { ratio: 0.15, of: Contestant::HaProxy },
                    Goal::AtMost { ratio: 0.03, of: Contestant::Envoy },
                ],
            },
            Figure { title: "with minus without them", unit: Unit::Bytes, goals: Vec::new() },
            Figure { title: "CPU of all of them", unit: Unit::Cores, goals: Vec::new() },
        ],
        turn: Box::new(|programs, contestant, length| {
            let setup = Setup { threads: 1, backend: Backend::Echo, bulk: false };
            let proxy = Proxy::start(contestant, programs, setup)?;
            let without = measure::resident(proxy.id())?;
            let held = Held::open(proxy.address(), CONNECTIONS, MESSAGE)?;
            let cpu = measure::cpu_time(proxy.id())?;
            measure::wait(length);
            let cpu = measure::cpu_time(proxy.id())?.saturating_sub(cpu);
            let with = measure::resident(proxy.id())?;
            drop(held);
            Ok(vec![
                with as f64,
                with.saturating_sub(without) as f64,
                cpu.as_secs_f64() / length.as_secs_f64(),
            ])
        }),
    }
}
