//! The `stream` service against a bare loop of `write`, and its memory.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use anyhow::{Result, ensure};
use local::embedded::redis;

use super::{Scene, Work};
use crate::{
    contestant::{Contestant, Programs},
    figures::{Figure, Goal, Unit},
    loopback, measure,
    process::{Process, Start},
    traffic::{Traffic, events},
};

const STREAM: SocketAddr = loopback::address(1, 1, 8090);
const STREAM_ADMIN: SocketAddr = loopback::address(1, 1, 9100);
/// `profiles`, which keeps its data in memory, and Redis, a thread of this process.
const PROFILES: SocketAddr = loopback::address(1, 2, 8091);
const PROFILES_ADMIN: SocketAddr = loopback::address(1, 2, 9100);
const REDIS: SocketAddr = loopback::address(1, 100, 6379);

const STREAMS: usize = 200;
/// For the memory row.
const MANY: usize = 1_000;
const NOT_READING: usize = 100;
/// Readings of the memory, spread over the time.
const LOOKS: u32 = 20;
const MIB: f64 = 1024.0 * 1024.0;

pub(super) fn bytes() -> Work {
    Work {
        name: "stream-bytes",
        about: format!(
            "{STREAMS} streams of one `stream` service, each with an event of 1 MiB a second, against a bare loop of \
             `write` of the same chunks on one thread"
        ),
        contestants: vec![Contestant::Playctl, Contestant::Reference],
        once: false,
        figures: vec![Figure {
            title: "bytes read",
            unit: Unit::BytesPerCpuSecond,
            goals: vec![Goal::AtLeast { ratio: 0.8, of: Contestant::Reference }],
        }],
        turn: Box::new(|programs, contestant, length| {
            let server = match contestant {
                Contestant::Playctl => Server::start(programs)?,
                _ => Server::reference()?,
            };
            let process = server.process.id();
            let streams = events::open(STREAM, &paths(STREAMS))?;
            let traffic = Traffic::start(1, move |meter| events::read(&streams, meter))?;
            Ok(vec![Scene::new(traffic, process, server).window(length)?.units_per_cpu_second()])
        }),
    }
}

pub(super) fn memory() -> Work {
    Work {
        name: "stream-memory",
        about: format!(
            "{MANY} streams of one `stream` service, {NOT_READING} of which nobody reads: the most resident memory \
             within the time, minus the memory without streams; and the mean of the last quarter minus the mean of the first"
        ),
        contestants: vec![Contestant::Playctl],
        once: true,
        figures: vec![
            Figure {
                title: "memory above idle",
                unit: Unit::Bytes,
                goals: vec![Goal::UpTo { value: 64.0 * MIB }],
            },
            Figure {
                title: "growth from the first to the last quarter",
                unit: Unit::Bytes,
                goals: vec![Goal::UpTo { value: MIB }],
            },
        ],
        turn: Box::new(|programs, _, length| {
            let server = Server::start(programs)?;
            let idle = measure::resident(server.process.id())?;
            let mut streams = events::open(STREAM, &paths(MANY))?;
            let _not_read = streams.split_off(MANY - NOT_READING);
            let traffic = Traffic::start(1, move |meter| events::read(&streams, meter))?;
            let mut looks = Vec::new();
            for _ in 0..LOOKS {
                measure::wait(length / LOOKS);
                traffic.check()?;
                looks.push(measure::resident(server.process.id())?.saturating_sub(idle) as f64);
            }
            ensure!(traffic.units() as f64 > MIB * MANY as f64, "hardly anything was read");
            let most = looks.iter().copied().fold(0.0, f64::max);
            let mean = |looks: &[f64]| looks.iter().sum::<f64>() / looks.len() as f64;
            let quarter = looks.len() / 4;
            Ok(vec![most, mean(&looks[looks.len() - quarter..]) - mean(&looks[..quarter])])
        }),
    }
}

/// A server that sends events, with its dependencies.
struct Server {
    process: Process,
    _profiles: Option<Process>,
    _redis: Option<redis::Server>,
}

impl Server {
    /// One replica with one I/O thread.
    fn start(programs: &Programs) -> Result<Self> {
        let redis = redis::Server::bind(REDIS)?;
        let profiles =
            service("profiles", programs, PROFILES, PROFILES_ADMIN)?.answering(PROFILES_ADMIN, "/readyz")?;
        bind_all(MANY)?;
        let process = service("stream", programs, STREAM, STREAM_ADMIN)?
            .env("REDIS_HOST", REDIS.ip().to_string())
            .env("REDIS_PORT", REDIS.port().to_string())
            .env("PROFILES_URL", format!("http://{PROFILES}"))
            // Opening is not measured, and competes with open streams.
            .env("PROFILES_TIMEOUT", "20")
            .answering(STREAM_ADMIN, "/readyz")?;
        Ok(Self { process, _profiles: Some(profiles), _redis: Some(redis) })
    }

    fn reference() -> Result<Self> {
        let start = Start::reference("events", "events")?.args(["--listen".to_owned(), STREAM.to_string()]);
        Ok(Self { process: start.serving(STREAM)?, _profiles: None, _redis: None })
    }
}

fn service(
    name: &'static str,
    programs: &Programs,
    address: SocketAddr,
    admin: SocketAddr,
) -> Result<Start<'static>> {
    let start = Start::program(name, programs.playctl()?)
        .args(["serve", name])
        .env("HOST", address.ip().to_string())
        .env("PORT", address.port().to_string())
        .env("ADMIN_HOST", admin.ip().to_string())
        .env("ADMIN_PORT", admin.port().to_string())
        .env("POD_NAME", format!("{name}-0"));
    Ok(start)
}

const PROFILE: &str = "00000000-0000-4000-9000-000000000000";

fn user(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

fn paths(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("/stream/{}/{PROFILE}", user(number))).collect()
}

/// One profile that contains all of these users.
fn bind_all(count: usize) -> Result<()> {
    let users: Vec<String> = (0..count).map(user).collect();
    let body = serde_json::json!({ "users": users }).to_string();
    let mut stream = TcpStream::connect(PROFILES)?;
    write!(
        stream,
        "PUT /profiles/{PROFILE} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200 "), "the profile was not created: {answer}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stream_has_a_user_of_its_own() {
        let paths = paths(MANY);
        assert_eq!(paths[7], format!("/stream/00000000-0000-4000-8000-000000000007/{PROFILE}"));
        let different: std::collections::BTreeSet<_> = paths.iter().collect();
        assert_eq!(different.len(), MANY);
    }
}
