//! The `profiles` service, with a real Cassandra.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::{Scene, Work};
use crate::{
    cassandra::USER,
    contestant::{Contestant, Direct, Programs},
    figures::{Figure, Goal, Unit},
    measure,
    process::Start,
    traffic::{Traffic, ping_pong::PingPong},
};

const MANY_CLIENTS: usize = 64;
const REQUEST: &[u8] = b"GET /users/8a377bc6-c2e7-42db-bf80-36301e21f25e HTTP/1.1\r\nHost: bench\r\n\r\n";
const FEW: u64 = 10_000;
const MANY: u64 = 1_000_000;
/// How long a server may be silent within an answer.
const PATIENCE: Duration = Duration::from_mins(1);

/// The driver is a loop of reads.
pub(super) fn get() -> Work {
    get_by(
        "profiles-get",
        1,
        "a client of the `profiles` service that sends `GET /users/{id}` again and again, against a loop around the driver \
         that reads the same row; both ask one real Cassandra, which is not counted"
            .to_owned(),
    )
}

/// The driver sends many queries in one packet and gets their answers in another. A service cannot: each of its clients
/// has its own connection, which costs a call per request and one per answer.
pub(super) fn get_many() -> Work {
    get_by(
        "profiles-get-many",
        MANY_CLIENTS,
        format!(
            "{MANY_CLIENTS} clients of the `profiles` service, each with one `GET /users/{{id}}` under way at all times, \
             against as many reads of the same row under way by one driver, which asks for many at once over one connection"
        ),
    )
}

fn get_by(name: &'static str, clients: usize, about: String) -> Work {
    Work {
        name,
        about,
        contestants: vec![Contestant::Playctl, Contestant::Reference],
        once: false,
        figures: vec![Figure {
            title: "objects read",
            unit: Unit::PerCpuSecond,
            goals: vec![Goal::AtLeast { ratio: 0.5, of: Contestant::Reference }],
        }],
        turn: Box::new(move |programs, contestant, length| {
            let keyspace = programs.cassandra()?.keyspace(0)?;
            let scene = match contestant {
                Contestant::Playctl => ours(programs, &keyspace, clients)?,
                _ => driver(programs, &keyspace, clients)?,
            };
            Ok(vec![scene.window(length)?.units_per_cpu_second()])
        }),
    }
}

fn ours(programs: &Programs, keyspace: &str, clients: usize) -> Result<Scene> {
    let server = Direct::profiles(programs, keyspace)?;
    let pattern = PingPong {
        target: server.address(),
        connections: clients,
        message: REQUEST,
        reply: answer_length(server.address())?,
    };
    let traffic = Traffic::start(1, move |meter| pattern.run(meter))?;
    Ok(Scene::new(traffic, server.id(), server))
}

fn driver(programs: &Programs, keyspace: &str, clients: usize) -> Result<Scene> {
    let mut process = Start::reference("driver", "driver")?
        .args(["--contact-point", programs.cassandra()?.contact_points(), "--keyspace", keyspace])
        .args(["--user".to_owned(), USER.to_string(), "--at-a-time".to_owned(), clients.to_string()])
        .with_dialogue()
        .spawn()?;
    let mut dialogue = process.talk()?;
    let deadline = clock::now() + PATIENCE;
    while dialogue.ask("")? == "0" {
        ensure!(clock::now() < deadline, "the driver reads nothing");
        measure::wait(Duration::from_millis(10));
    }
    Ok(Scene::asked(dialogue, process.id(), process))
}

/// Length of the answer to [`REQUEST`], head and body: it is always the same.
fn answer_length(address: SocketAddr) -> Result<usize> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(REQUEST)?;
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    // The object is the only part in braces.
    while !answer.ends_with(b"}") {
        let length = stream.read(&mut piece)?;
        ensure!(length > 0, "the connection was closed: {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..length]);
    }
    ensure!(answer.starts_with(b"HTTP/1.1 200 "), "not found: {}", String::from_utf8_lossy(&answer));
    Ok(answer.len())
}

pub(super) fn list() -> Work {
    Work {
        name: "profiles-list",
        about: format!(
            "`GET /profiles` with {MANY} profiles of two users each, one array, from a real Cassandra, by one client to a \
             fresh `profiles`; the most memory that this one has resident, minus the same with {FEW}"
        ),
        contestants: vec![Contestant::Playctl],
        once: true,
        figures: vec![
            Figure {
                title: "memory above that with few",
                unit: Unit::Bytes,
                goals: vec![Goal::UpTo { value: 16.0 * 1024.0 * 1024.0 }],
            },
            Figure { title: "memory with few", unit: Unit::Bytes, goals: Vec::new() },
            Figure { title: "profiles listed", unit: Unit::PerCpuSecond, goals: Vec::new() },
        ],
        turn: Box::new(|programs, _, _| {
            let (few, _) = listed(programs, FEW)?;
            let (many, rate) = listed(programs, MANY)?;
            Ok(vec![many - few, few, rate])
        }),
    }
}

/// The peak memory of a server that has listed this many profiles, and how many it listed per CPU-second.
fn listed(programs: &Programs, profiles: u64) -> Result<(f64, f64)> {
    let keyspace = programs.cassandra()?.keyspace(profiles)?;
    let server = Direct::profiles(programs, &keyspace)?;
    let before = measure::cpu_time(server.id())?;
    let found = read_list(server.address())?;
    ensure!(found == profiles, "{found} profiles were listed, not {profiles}");
    let used = measure::cpu_time(server.id())?.saturating_sub(before);
    Ok((measure::most_resident(server.id())? as f64, profiles as f64 / used.as_secs_f64()))
}

/// How many objects the array has; fails unless it is one, from `[` to `]`.
fn read_list(address: SocketAddr) -> Result<u64> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /profiles HTTP/1.0\r\n\r\n")?;
    let (mut piece, mut head, mut in_body) = (vec![0; 64 * 1024], Vec::new(), false);
    let (mut objects, mut first, mut last) = (0, None, None);
    loop {
        let length = stream.read(&mut piece).context("the list stalls")?;
        if length == 0 {
            break;
        }
        let mut text = &piece[..length];
        if !in_body {
            head.extend_from_slice(text);
            let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
            ensure!(head.starts_with(b"HTTP/1.0 200 "), "no list: {}", String::from_utf8_lossy(&head));
            text = &head[end + 4..];
            in_body = true;
        }
        first = first.or(text.first().copied());
        last = text.last().copied().or(last);
        // An object contains no other, and no braces.
        objects += (text.split(|&byte| byte == b'{').count() - 1) as u64;
    }
    ensure!((first, last) == (Some(b'['), Some(b']')), "the list is not one whole array");
    Ok(objects)
}
