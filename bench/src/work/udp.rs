//! Datagrams: the `udp` service against a bare loop, the gateway against Envoy.

use super::{Scene, Traced, Work};
use crate::{
    contestant::{Backend, Contestant, Direct, MESSAGE, Programs, Proxy, Setup},
    figures::{Figure, Goal, Unit},
    traffic::{Traffic, datagrams::Datagrams},
};

const SERVERS: [Contestant; 2] = [Contestant::Playctl, Contestant::Reference];
const PROXIES: [Contestant; 3] = [Contestant::Playctl, Contestant::Reference, Contestant::Envoy];
const ECHO_PEERS: usize = 16;
const ECHO_WINDOW: usize = 32;

/// The number of peers, and of each peer's datagrams in flight.
#[derive(Debug, Clone, Copy)]
pub(super) struct Through {
    name: &'static str,
    peers: usize,
    window: usize,
}

pub(super) const FEW: Through = Through { name: "gateway-udp-16x8", peers: 16, window: 8 };
pub(super) const MANY: Through = Through { name: "gateway-udp-64x1", peers: 64, window: 1 };

pub(super) fn echo() -> Work {
    Work {
        name: "udp-echo",
        about: format!(
            "{ECHO_PEERS} peers, each with {ECHO_WINDOW} datagrams `msg:12345` under way at all times; the reference is a \
             bare loop of `recvmmsg` and `sendmmsg`, 64 at a time"
        ),
        contestants: SERVERS.to_vec(),
        once: false,
        figures: vec![Figure {
            title: "datagrams answered",
            unit: Unit::PerCpuSecond,
            goals: vec![Goal::AtLeast { ratio: 0.95, of: Contestant::Reference }],
        }],
        turn: Box::new(|programs, contestant, length| {
            Ok(vec![echo_scene(programs, contestant)?.window(length)?.units_per_cpu_second()])
        }),
    }
}

pub(super) fn through_gateway(through: Through) -> Work {
    let Through { name, peers, window } = through;
    Work {
        name,
        about: format!(
            "{peers} peers through the proxy onto bare loops, each with {window} datagrams of {} bytes under way at all \
             times",
            MESSAGE.len()
        ),
        contestants: PROXIES.to_vec(),
        once: false,
        figures: vec![Figure {
            title: "datagrams there and back",
            unit: Unit::PerCpuSecond,
            goals: vec![Goal::AtLeast { ratio: 2.0, of: Contestant::Envoy }],
        }],
        turn: Box::new(move |programs, contestant, length| {
            let scene = gateway_scene(programs, contestant, through)?;
            Ok(vec![scene.window(length)?.units_per_cpu_second()])
        }),
    }
}

/// The rows' patterns, for counting system calls.
pub(super) fn traced() -> [Traced; 3] {
    let through = |through: Through| Traced {
        name: through.name,
        contestants: PROXIES.to_vec(),
        unit: "datagram",
        per: 1.0,
        scene: Box::new(move |programs, contestant| gateway_scene(programs, contestant, through)),
    };
    let echo = Traced {
        name: "udp-echo",
        contestants: SERVERS.to_vec(),
        unit: "datagram",
        per: 1.0,
        scene: Box::new(echo_scene),
    };
    [echo, through(FEW), through(MANY)]
}

fn echo_scene(programs: &Programs, contestant: Contestant) -> anyhow::Result<Scene> {
    let server = Direct::datagrams(contestant, programs)?;
    let pattern = Datagrams {
        target: server.address(),
        peers: ECHO_PEERS,
        window: ECHO_WINDOW,
        message: MESSAGE,
        reply: server.reply(),
    };
    let traffic = Traffic::start(1, move |meter| pattern.run(meter))?;
    Ok(Scene::new(traffic, server.id(), server))
}

fn gateway_scene(programs: &Programs, contestant: Contestant, through: Through) -> anyhow::Result<Scene> {
    let setup = Setup { threads: 1, backend: Backend::Datagrams, bulk: false };
    let proxy = Proxy::start(contestant, programs, setup)?;
    let Through { peers, window, .. } = through;
    let pattern = Datagrams { target: proxy.address(), peers, window, message: MESSAGE, reply: MESSAGE };
    let traffic = Traffic::start(1, move |meter| pattern.run(meter))?;
    Ok(Scene::new(traffic, proxy.id(), proxy))
}
