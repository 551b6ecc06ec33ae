//! The supervisor: the process behind a platform on this machine.
//!
//! One actor owns the whole state ([`platform::Platform`]) and handles one message after the other; tasks around it
//! wait for what takes time (the end of a process, a probe, a timer, a client) and tell it. All of that runs on one
//! thread; beside it live only the thread that starts processes, a short-lived one per scrape, and the embedded
//! parts' own.

mod autoscaling;
mod conversation;
mod counted;
mod endpoints;
mod entrance;
mod environment;
mod gateway;
mod given;
mod output;
mod parts;
mod platform;
mod probe;
mod proxy;
mod recorder;
mod sample;
mod servers;
mod service;
mod start;
mod telemetry;

use std::{
    fs, io,
    os::{fd::AsFd as _, unix::net::UnixStream},
    time::Duration,
};

use ::platform::{
    TargetError,
    target::{Applied, Killed, Scaled, Snapshot},
    values::Values,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot},
    task::{JoinSet, LocalSet},
    time::Instant,
};
use uuid::Uuid;

pub(crate) use self::entrance::DEFAULT_PLATFORM;
use self::{conversation::Talk, parts::Programs, platform::Platform};
use crate::{
    control::{self, Reply, Traces},
    lock::FileLock,
    paths::{Paths, PlatformPaths},
    programs::Program,
};

/// Messages on their way to the actor; senders wait when it is full.
const MESSAGES_MAX: usize = 1024;
/// Clients that are talked to at the same time.
const CLIENTS_MAX: usize = 256;
/// At the end, clients get so long to read their last reply.
const FAREWELL: Duration = Duration::from_secs(2);
/// Processes that a killed predecessor left must be gone by then.
const LEFTOVERS_DEADLINE: Duration = Duration::from_secs(5);

/// Why a supervisor ended without having done its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("its standard input is not the socket of playctl up: {0}")]
    NoClient(io::Error),
    #[error("platform {name} has a supervisor already: {holder}")]
    Taken { name: String, holder: String },
    #[error("cannot use {what}: {source}")]
    Files { what: String, source: io::Error },
    #[error("processes of an earlier run do not end: {0:?}")]
    Leftovers(Vec<u32>),
    #[error("cannot set up the runtime: {0}")]
    Runtime(io::Error),
}

/// One process, of however many of one replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct ProcessKey(u64);

/// What the actor is told.
#[derive(Debug)]
enum Message {
    Command(Command),
    Probed {
        key: ProcessKey,
        found: probe::Found,
    },
    /// A gateway has taken over this version of the endpoints.
    CaughtUp {
        key: ProcessKey,
        version: u64,
    },
    Ended {
        key: ProcessKey,
        how: String,
    },
    Scraped(sample::Scrape),
    /// What Prometheus said for a sync.
    Answered {
        answers: platform::Answers,
    },
    /// A back-off is over; names the replica by its uid.
    Restart {
        uid: u64,
    },
    RestartGateway {
        ordinal: u16,
    },
    RestartServer {
        program: Program,
    },
    /// A grace period is over.
    GraceOver {
        key: ProcessKey,
    },
    /// Somebody has waited for a change for as long as is reasonable.
    Overdue {
        change: u64,
    },
}

type Answer<T> = oneshot::Sender<Result<T, TargetError>>;

/// What a client wants of the actor.
#[derive(Debug)]
enum Command {
    Apply {
        values: Box<Values>,
        nodes: u32,
        /// What the values ask for, and was found.
        programs: Programs,
        answer: Answer<Applied>,
    },
    Teardown {
        grace: bool,
        answer: Answer<Traces>,
    },
    Snapshot {
        answer: Answer<Snapshot>,
    },
    Scale {
        service: String,
        replicas: u32,
        answer: Answer<Scaled>,
    },
    Kill {
        service: String,
        replica: Option<String>,
        restart: bool,
        answer: Answer<Killed>,
    },
    Endpoint {
        service: String,
        answer: Answer<std::net::SocketAddr>,
    },
    Autoscaler {
        service: String,
        answer: Answer<serde_json::Value>,
    },
    /// Whoever asked for the bring-up is gone.
    Abandoned,
}

/// Runs the supervisor of a platform until it has been taken down.
///
/// Standard input must be a Unix socket: the first client's conversation. Everything that can go wrong with the
/// platform itself is told there; the error is for what goes wrong before.
pub fn run(name: &str) -> Result<(), Error> {
    tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(false).init();
    // Its own session: no Ctrl-C of a terminal reaches it. Fails only for a group leader, which has one already.
    let _ = rustix::process::setsid();
    // It should keep no directory of the user's from being unmounted or removed.
    let _ = std::env::set_current_dir("/");
    let first = UnixStream::from(io::stdin().as_fd().try_clone_to_owned().map_err(Error::NoClient)?);
    first.peer_addr().map_err(Error::NoClient)?;

    let files = |what: &std::path::Path| {
        let what = what.display().to_string();
        move |source| Error::Files { what, source }
    };
    let paths = Paths::from_env();
    paths.prepare().map_err(files(paths.runtime()))?;
    let own = paths.platform(name);
    let holder = format!("pid {}", std::process::id());
    let Some(lock) = FileLock::try_take(&own.lock, &holder).map_err(files(&own.lock))? else {
        let holder = FileLock::holder(&own.lock).ok().flatten().unwrap_or_default();
        let reply = serde_json::to_string(&Reply::Taken { holder: holder.clone() }).unwrap_or_default();
        // If the client is gone it does not matter any more.
        let _ = io::Write::write_all(&mut &first, format!("{reply}\n").as_bytes());
        return Err(Error::Taken { name: name.to_owned(), holder });
    };
    clear_state(&own)?;
    let run = Uuid::now_v7();
    let traces = Traces { run, supervisor: std::process::id(), slot: None, socket: own.socket.clone() };
    fs::write(own.run_record(), serde_json::to_vec(&traces).unwrap_or_default())
        .map_err(files(&own.run_record()))?;

    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
    let ended = LocalSet::new().block_on(&runtime, serve(name, run, &paths, own.clone(), first, lock));
    tracing::info!("ended");
    ended
}

/// Removes what a killed predecessor left; its processes, which end by themselves, must be gone first.
fn clear_state(own: &PlatformPaths) -> Result<(), Error> {
    let failed = |source| Error::Files { what: own.state.display().to_string(), source };
    crate::paths::private_directory(&own.state).map_err(failed)?;
    if let Ok(record) = fs::read(own.run_record())
        && let Ok(traces) = serde_json::from_slice::<Traces>(&record)
    {
        let left = crate::leftovers::end(&traces, LEFTOVERS_DEADLINE);
        if !left.is_empty() {
            return Err(Error::Leftovers(left));
        }
    }
    for entry in fs::read_dir(&own.state).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        // The log is this very process's stderr.
        if path != own.supervisor_log() {
            if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }.map_err(failed)?;
        }
    }
    match fs::remove_file(&own.socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
        _ => Ok(()),
    }
}

async fn serve(
    name: &str,
    run: Uuid,
    paths: &Paths,
    own: PlatformPaths,
    first: UnixStream,
    lock: FileLock,
) -> Result<(), Error> {
    let socket = |source| Error::Files { what: own.socket.display().to_string(), source };
    let listener = control::bind(&own.socket).map_err(socket)?;
    listener.set_nonblocking(true).map_err(socket)?;
    let listener = tokio::net::UnixListener::from_std(listener).map_err(socket)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Runtime)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Runtime)?;

    let (messages, mut incoming) = mpsc::channel(MESSAGES_MAX);
    let mut platform = Platform::new(name, run, paths, own.clone(), messages.clone())?;
    let talk = Talk { messages, events: platform.events(), logs: platform.logs() };
    let mut clients = JoinSet::new();
    clients.spawn_local(talk.clone().converse(first, true));

    while !platform.is_finished() {
        let (scrape, sync) = platform.next_ticks();
        tokio::select! {
            biased;
            _ = interrupt.recv() => platform.interrupted(),
            _ = terminate.recv() => platform.interrupted(),
            message = incoming.recv() => {
                // The platform itself holds a sender.
                if let Some(message) = message {
                    platform.handle(message);
                }
            }
            () = at(scrape) => platform.scrape(),
            () = at(sync) => platform.sync(),
            accepted = listener.accept(), if clients.len() < CLIENTS_MAX => match accepted {
                Ok((stream, _)) => {
                    if let Ok(stream) = stream.into_std() {
                        clients.spawn_local(talk.clone().converse(stream, false));
                    }
                }
                Err(error) => tracing::warn!(%error, "cannot take a client"),
            },
            Some(_) = clients.join_next() => {}
        }
    }
    drop(incoming);
    drop(talk);
    drop(listener);
    // The socket and all state first, so that whoever is told "down" finds nothing.
    let farewell = platform.finish();
    drop(fs::remove_file(&own.socket));
    drop(fs::remove_dir_all(&own.state));
    drop(lock);
    farewell.say();
    let all_heard = async { while clients.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(FAREWELL, all_heard).await;
    Ok(())
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
