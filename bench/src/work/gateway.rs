//! The gateway against HAProxy and Envoy: messages, connections, bytes.

use std::{io, net::SocketAddr};

use anyhow::Result;

use super::{Scene, Traced, Turn, Work, by_threads};
use crate::{
    contestant::{Backend, Contestant, MESSAGE, Programs, Proxy, Setup},
    figures::{Figure, Goal, Unit},
    traffic::{Meter, Traffic, blocks::Blocks, connects::Connects, ping_pong::PingPong, stream::Stream},
};

const PING_PONG_CONNECTIONS: usize = 100;
const CONNECTS_AT_ONCE: usize = 32;
const BLOCK: usize = 64 * 1024;
const BLOCK_CONNECTIONS: usize = 16;
const STREAM_CONNECTIONS: usize = 4;
const STREAM_PIECE: usize = 256 * 1024;

const ECHO: Setup = Setup { threads: 1, backend: Backend::Echo, bulk: false };
const BULK_ECHO: Setup = Setup { bulk: true, ..ECHO };
const BULK_SINK: Setup = Setup { backend: Backend::Sink, ..BULK_ECHO };

/// Traffic to an address, as run by one thread.
trait Pattern: Fn(SocketAddr, &Meter) -> io::Result<()> + Copy + Send + Sync + 'static {}
impl<P: Fn(SocketAddr, &Meter) -> io::Result<()> + Copy + Send + Sync + 'static> Pattern for P {}

const BLOCKS: fn(SocketAddr, &Meter) -> io::Result<()> =
    |target, meter| Blocks { target, connections: BLOCK_CONNECTIONS, size: BLOCK }.run(meter);
const STREAM: fn(SocketAddr, &Meter) -> io::Result<()> =
    |target, meter| Stream { target, connections: STREAM_CONNECTIONS, piece: STREAM_PIECE }.run(meter);

const MIB: f64 = 1_048_576.0;

const PROXIES: [Contestant; 3] = [Contestant::Playctl, Contestant::HaProxy, Contestant::Envoy];

/// With the minimal proxy, for work that takes as many system calls in any proxy: shows how much there is to gain.
const PROXIES_AND_LEAST: [Contestant; 4] =
    [Contestant::Playctl, Contestant::Reference, Contestant::HaProxy, Contestant::Envoy];

pub(super) fn ping_pong(threads: usize) -> Work {
    Work {
        name: by_threads(threads, "gateway-pingpong", "gateway-pingpong-2"),
        about: format!(
            "{PING_PONG_CONNECTIONS} connections through the proxy onto minimal echo servers, each with one \
             message of {} bytes under way at all times; I/O threads: {threads} each",
            MESSAGE.len()
        ),
        contestants: PROXIES_AND_LEAST.to_vec(),
        once: false,
        figures: vec![Figure {
            title: "messages",
            unit: Unit::PerCpuSecond,
            goals: vec![
                Goal::AtLeast { ratio: 1.2, of: Contestant::HaProxy },
                Goal::AtLeast { ratio: 1.9, of: Contestant::Envoy },
            ],
        }],
        turn: turn(Setup { threads, ..ECHO }, ping_pong_pattern(threads)),
    }
}

fn ping_pong_pattern(threads: usize) -> impl Pattern {
    move |target: SocketAddr, meter: &Meter| {
        let connections = PING_PONG_CONNECTIONS / threads;
        PingPong { target, connections, message: MESSAGE, reply: MESSAGE.len() }.run(meter)
    }
}

pub(super) fn connects(threads: usize) -> Work {
    Work {
        name: by_threads(threads, "gateway-connects", "gateway-connects-2"),
        about: format!(
            "connect, one message, its answer, close; {CONNECTS_AT_ONCE} at a time; I/O threads: {threads} each"
        ),
        contestants: PROXIES_AND_LEAST.to_vec(),
        once: false,
        figures: vec![Figure {
            title: "connections",
            unit: Unit::PerCpuSecond,
            goals: vec![
                Goal::AtLeast { ratio: 1.2, of: Contestant::HaProxy },
                Goal::AtLeast { ratio: 2.0, of: Contestant::Envoy },
            ],
        }],
        turn: turn(Setup { threads, ..ECHO }, connects_pattern(threads, false)),
    }
}

pub(super) fn aborts() -> Work {
    Work {
        name: "gateway-aborts",
        about: format!(
            "as gateway-connects, but the client aborts (RST) in place of closing; {CONNECTS_AT_ONCE} at a time"
        ),
        contestants: PROXIES.to_vec(),
        once: false,
        figures: vec![Figure { title: "connections", unit: Unit::PerCpuSecond, goals: Vec::new() }],
        turn: turn(ECHO, connects_pattern(1, true)),
    }
}

fn connects_pattern(threads: usize, abort: bool) -> impl Pattern {
    move |target: SocketAddr, meter: &Meter| {
        Connects { target, at_once: CONNECTS_AT_ONCE / threads, message: MESSAGE, abort }.run(meter)
    }
}

pub(super) fn blocks() -> Work {
    Work {
        name: "gateway-64k",
        about: format!(
            "{BLOCK_CONNECTIONS} connections, each sends 64 KiB and reads them back, again and again; HAProxy with \
             `splice-auto`"
        ),
        contestants: PROXIES.to_vec(),
        once: false,
        figures: vec![Figure {
            title: "bytes echoed",
            unit: Unit::BytesPerCpuSecond,
            goals: vec![Goal::AtLeast { ratio: 2.0, of: Contestant::HaProxy }],
        }],
        turn: turn(BULK_ECHO, BLOCKS),
    }
}

pub(super) fn stream() -> Work {
    Work {
        name: "gateway-stream",
        about: format!(
            "{STREAM_CONNECTIONS} connections, one way, as fast as it goes, into servers that read and forget; HAProxy \
             with `splice-auto`"
        ),
        contestants: PROXIES.to_vec(),
        once: false,
        figures: vec![Figure {
            title: "bytes forwarded",
            unit: Unit::BytesPerCpuSecond,
            goals: vec![Goal::AtLeast { ratio: 2.5, of: Contestant::HaProxy }],
        }],
        turn: turn(BULK_SINK, STREAM),
    }
}

/// The rows' patterns, for counting system calls.
pub(super) fn traced() -> [Traced; 4] {
    [
        traced_as("gateway-pingpong", &PROXIES_AND_LEAST, "message", 1.0, ECHO, ping_pong_pattern(1)),
        traced_as(
            "gateway-connects",
            &PROXIES_AND_LEAST,
            "connection",
            1.0,
            ECHO,
            connects_pattern(1, false),
        ),
        traced_as("gateway-64k", &PROXIES, "MiB", MIB, BULK_ECHO, BLOCKS),
        traced_as("gateway-stream", &PROXIES, "MiB", MIB, BULK_SINK, STREAM),
    ]
}

fn traced_as<P: Pattern>(
    name: &'static str,
    contestants: &[Contestant],
    unit: &'static str,
    per: f64,
    setup: Setup,
    pattern: P,
) -> Traced {
    Traced {
        name,
        contestants: contestants.to_vec(),
        unit,
        per,
        scene: Box::new(move |programs, contestant| scene(programs, contestant, setup, pattern)),
    }
}

/// Measures units per CPU-second of a proxy under a pattern.
fn turn<P: Pattern>(setup: Setup, pattern: P) -> Turn {
    Box::new(move |programs, contestant, length| {
        let scene = scene(programs, contestant, setup, pattern)?;
        Ok(vec![scene.window(length)?.units_per_cpu_second()])
    })
}

/// A proxy under a pattern, which runs on as many threads as the proxy has.
fn scene<P: Pattern>(programs: &Programs, contestant: Contestant, setup: Setup, pattern: P) -> Result<Scene> {
    let proxy = Proxy::start(contestant, programs, setup)?;
    let target = proxy.address();
    let traffic = Traffic::start(setup.threads, move |meter| pattern(target, meter))?;
    Ok(Scene::new(traffic, proxy.id(), proxy))
}
