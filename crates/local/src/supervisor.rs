//! The supervisor: the process behind a platform on this machine.
//!
//! The [`controller`] decides the desired state; the [`host`] carries that out on processes, files and sockets.
//! One loop steps the controller and hands on its effects; tasks around it wait for slow things (the end of a
//! process, a probe, a client) and report to it. All of that runs on one thread; beside it live only the thread that starts
//! processes, a short-lived one per scrape, and the embedded parts' own.

mod alone;
mod clock;
mod conversation;
mod counted;
mod embedded;
mod endpoints;
mod entrance;
mod environment;
mod gateway;
mod given;
mod ground;
mod host;
mod metrics;
mod obstacle;
mod output;
mod page;
mod password;
mod places;
mod probe;
mod proxy;
mod recorder;
mod runs;
mod sample;
mod servers;
mod shedding;
mod start;
mod tape;
mod telemetry;

use std::{
    collections::VecDeque,
    fs, io,
    os::{fd::AsFd as _, unix::net::UnixStream},
    sync::Arc,
    time::Duration,
};

use ::platform::{TargetError, values::Values};
use controller::{Apply, Capacity, Controller, Effect, Header, Input, Request};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    task::{JoinSet, LocalSet},
};
use uuid::Uuid;

pub use self::alone::LoneGateway;
#[cfg(feature = "fuzzing")]
pub(crate) use self::counted::fuzz as fuzz_counted;
pub(crate) use self::entrance::DEFAULT_PLATFORM;
use self::{
    conversation::Talk,
    host::{Answer, Farewell, Host, identities},
    tape::Tape,
};
use crate::{
    control::{self, Reply, Traces},
    lock::{FileLock, held_by},
    paths::{Paths, PlatformPaths, write_private},
    programs::Programs,
    slot::{NODES_MAX, ORDINALS},
};

/// Maximum number of queued messages to the main loop; senders wait when it is full.
const MESSAGES_MAX: usize = 1024;
/// Maximum number of concurrent clients.
const CLIENTS_MAX: usize = 256;
/// Delay after a client could not be accepted (no more open files).
const ACCEPT_RETRY: Duration = Duration::from_millis(10);
/// How long clients have at the end to read their last reply.
const FAREWELL: Duration = Duration::from_secs(2);
/// A service's replicas have one byte of their address; some stay free for replacements and for inactive ones.
const REPLICAS_MAX: u32 = 200;
/// Processes of a killed predecessor must be gone by then.
const LEFTOVERS_DEADLINE: Duration = Duration::from_secs(5);

/// Why a supervisor ended without doing its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("its standard input is not the socket of playctl up: {0}")]
    NoClient(io::Error),
    #[error("platform {name} has a supervisor already: {holder}")]
    Taken { name: String, holder: String },
    #[error("cannot use {what}: {source}")]
    Files { what: String, source: io::Error },
    #[error("processes of an earlier run are still alive: {0:?}")]
    Leftovers(Vec<u32>),
    #[error("cannot set up the runtime: {0}")]
    Runtime(io::Error),
}

/// Messages to the main loop.
#[derive(Debug)]
enum Message {
    Input(Input),
    Client { ask: Ask, answer: Answer },
}

/// A client's request.
#[derive(Debug)]
enum Ask {
    Apply {
        values: Box<Values>,
        nodes: u32,
        /// The programs that the values need, as found.
        programs: Programs,
    },
    /// One node more, or one fewer.
    Nodes {
        more: bool,
    },
    Act(Request),
    /// Whether anybody is there.
    Ping,
    Snapshot,
    Endpoint {
        service: String,
    },
    Autoscaler {
        service: String,
    },
}

/// Runs the supervisor of a platform until it has been taken down.
///
/// Standard input must be a Unix socket: the first client's conversation. Problems with the platform itself are
/// reported there; the error is for earlier failures.
pub fn run(name: &str) -> Result<(), Error> {
    // A log that cannot be written must not end anything: its layer would report that by a print that panics.
    tracing_subscriber::fmt().with_writer(io::stderr).with_ansi(false).log_internal_errors(false).init();
    // Its own session: no Ctrl-C of a terminal reaches it. Fails only for a group leader, which already has one.
    let _ = rustix::process::setsid();
    // It must not prevent a directory of the user from being unmounted or removed.
    let _ = std::env::set_current_dir("/");
    let first = UnixStream::from(io::stdin().as_fd().try_clone_to_owned().map_err(Error::NoClient)?);
    first.peer_addr().map_err(Error::NoClient)?;
    let paths = Paths::from_env();
    let own = paths.platform(name);
    let (lock, run) = prepare(name, &paths, &own, &first).inspect_err(|error| {
        if let Error::Files { .. } | Error::Leftovers(_) = error {
            // Its log may be on the disk that is full. If the client is gone, this does not matter.
            tell(&first, &Reply::Failed(TargetError::BringUp { message: error.to_string() }));
        }
    })?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
    let ended = LocalSet::new().block_on(&runtime, serve(name, run, &paths, own.clone(), first, lock));
    tracing::info!("ended");
    ended
}

/// One reply to the client that started this supervisor, before there is a conversation.
fn tell(client: &UnixStream, reply: &Reply) {
    let reply = serde_json::to_string(reply).unwrap_or_default();
    // If the client is gone, this does not matter.
    let _ = io::Write::write_all(&mut &*client, format!("{reply}\n").as_bytes());
}

/// Makes this process the platform's only supervisor, with a record of this run.
fn prepare(
    name: &str,
    paths: &Paths,
    own: &PlatformPaths,
    client: &UnixStream,
) -> Result<(FileLock, Uuid), Error> {
    let files = |what: &std::path::Path| {
        let what = what.display().to_string();
        move |source| Error::Files { what, source }
    };
    paths.prepare().map_err(files(paths.runtime()))?;
    let holder = held_by(std::process::id());
    let Some(lock) = FileLock::try_take(&own.lock, &holder).map_err(files(&own.lock))? else {
        let holder = FileLock::holder(&own.lock).ok().flatten().unwrap_or_default();
        tell(client, &Reply::Taken { holder: holder.clone() });
        return Err(Error::Taken { name: name.to_owned(), holder });
    };
    clear_state(own)?;
    let run = Uuid::now_v7();
    let traces = Traces { run, supervisor: std::process::id(), slot: None, socket: own.socket.clone() };
    let recorded = write_private(&own.run_record(), serde_json::to_vec(&traces).unwrap_or_default());
    recorded.map_err(|source| {
        // Nothing has started yet.
        drop(fs::remove_dir_all(&own.state));
        files(&own.run_record())(source)
    })?;
    Ok((lock, run))
}

/// Removes the state of a killed predecessor; its processes, which end by themselves, must be gone first.
fn clear_state(own: &PlatformPaths) -> Result<(), Error> {
    let failed = |source| Error::Files { what: own.state.display().to_string(), source };
    crate::paths::private_directory(&own.state).map_err(failed)?;
    if let Ok(record) = crate::paths::read_regular(&own.run_record())
        && let Ok(traces) = serde_json::from_slice::<Traces>(&record)
    {
        let left = crate::leftovers::end(&traces, LEFTOVERS_DEADLINE);
        if !left.is_empty() {
            return Err(Error::Leftovers(left));
        }
    }
    for entry in fs::read_dir(&own.state).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        // The log is this process's stderr.
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
    let mut supervisor = Supervisor::new(name, run, paths, own.clone(), messages.clone())?;
    let host = &supervisor.host;
    let shed_token = host.shed_token();
    let talk = Talk { messages, events: host.events(), logs: host.logs(), shed_token };
    let mut clients = JoinSet::new();
    let mut waiting_room = WaitingRoom::default();
    let asked = waiting_room.ticket();
    let handle = clients.spawn_local(talk.clone().converse(first, true, asked));
    waiting_room.admit(handle);

    while !supervisor.controller.is_finished() {
        let due = supervisor.next_due();
        tokio::select! {
            biased;
            _ = interrupt.recv() => supervisor.step(Input::Interrupted),
            _ = terminate.recv() => supervisor.step(Input::Interrupted),
            message = incoming.recv() => match message {
                Some(Message::Input(input)) => supervisor.step(input),
                Some(Message::Client { ask, answer }) => supervisor.ask(ask, answer),
                // The host itself holds a sender.
                None => {}
            },
            () = at(due) => supervisor.step(Input::Tick),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    waiting_room.make_place(&clients);
                    if let Ok(stream) = stream.into_std() {
                        let (talk, asked) = (talk.clone(), waiting_room.ticket());
                        let handle = clients.spawn_local(async move { talk.converse(stream, false, asked).await });
                        waiting_room.admit(handle);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot take a client");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            },
            Some(_) = clients.join_next() => {}
        }
    }
    drop(incoming);
    drop(talk);
    drop(listener);
    // The socket and all state first: a client that hears "down" finds nothing.
    let farewell: Farewell = supervisor.host.finish();
    drop(fs::remove_file(&own.socket));
    drop(fs::remove_dir_all(&own.state));
    drop(lock);
    farewell.say();
    let all_heard = async { while clients.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(FAREWELL, all_heard).await;
    Ok(())
}

/// Clients in order of arrival. When there are too many, the one that has been silent longest is dropped, or else the
/// oldest.
#[derive(Debug, Default)]
struct WaitingRoom {
    clients: VecDeque<(tokio::task::AbortHandle, Asked)>,
    next: Asked,
}

/// Whether a client has sent its request.
type Asked = std::rc::Rc<std::cell::Cell<bool>>;

impl WaitingRoom {
    /// For the next client, which sets it once it has sent its request.
    fn ticket(&mut self) -> Asked {
        self.next = Asked::default();
        Asked::clone(&self.next)
    }

    fn admit(&mut self, client: tokio::task::AbortHandle) {
        self.clients.push_back((client, Asked::clone(&self.next)));
    }

    fn make_place(&mut self, clients: &JoinSet<()>) {
        self.clients.retain(|(client, _)| !client.is_finished());
        if clients.len() < CLIENTS_MAX {
            return;
        }
        let idle = self.clients.iter().position(|(_, asked)| !asked.get()).unwrap_or(0);
        if let Some((client, _)) = self.clients.remove(idle) {
            client.abort();
        }
    }
}

async fn at(instant: Option<std::time::Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

/// The controller, and the host that carries out its decisions.
struct Supervisor {
    controller: Controller,
    host: Host,
    tape: Tape,
}

impl Supervisor {
    fn new(
        name: &str,
        run: Uuid,
        paths: &Paths,
        own: PlatformPaths,
        messages: mpsc::Sender<Message>,
    ) -> Result<Self, Error> {
        let host = Host::new(name, run, paths, own, messages)?;
        let capacity = Capacity { ordinals: ORDINALS, replicas: REPLICAS_MAX, nodes: NODES_MAX };
        let (platform, target) = (name.to_owned(), "this machine".to_owned());
        let header = Header { platform, target, began: host.clock().began(), capacity };
        let tape = Tape::from_env(&header);
        let tape =
            tape.map_err(|(path, source)| Error::Files { what: path.display().to_string(), source })?;
        Ok(Self { controller: header.controller(), host, tape })
    }

    fn next_due(&self) -> Option<std::time::Instant> {
        self.controller.next_due().map(|at| self.host.clock().instant(at))
    }

    /// Passes an input to the controller, and carries out its effects; their immediate results are passed to it too.
    fn step(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        let mut published = false;
        while let Some(input) = inputs.pop_front() {
            self.host.observe(&input);
            let now = self.host.clock().now();
            let recording = self.tape.begin(now, &input);
            let effects = self.controller.step(now, input);
            self.tape.end(recording, &effects);
            for effect in effects {
                published |= !matches!(effect, Effect::Probe { .. });
                inputs.extend(self.host.carry_out(effect, now));
            }
        }
        if published {
            self.host.publish(&self.controller);
        }
    }

    fn ask(&mut self, ask: Ask, answer: Answer) {
        match ask {
            Ask::Apply { values, nodes, programs } => self.apply(*values, nodes, programs, answer),
            Ask::Nodes { more } => match self.controller.wanted() {
                Some((values, nodes)) => {
                    let (values, programs) = (Values::clone(values), self.host.programs().clone());
                    let nodes = if more { nodes.saturating_add(1) } else { nodes.saturating_sub(1) };
                    self.apply(values, nodes, programs, answer);
                }
                None => drop(answer.send(Reply::Failed(self.not_running()))),
            },
            Ask::Act(mut request) => {
                match &mut request {
                    Request::Kill { what, loads, .. } if what.replica.is_by_load() => {
                        *loads = self.host.loads(&what.name);
                    }
                    // The snapshot lists all loads, whichever replica is meant.
                    Request::Drain { what, loads } => *loads = self.host.loads(&what.name),
                    _ => {}
                }
                let id = self.host.expect(answer);
                self.step(Input::Request { id, request });
            }
            // An answer that nobody waits for any more is not an error.
            Ask::Ping => drop(answer.send(Reply::End)),
            Ask::Snapshot => {
                let snapshot = self.controller.snapshot(&self.host);
                let reply = snapshot.map_or_else(
                    || Reply::Failed(self.not_running()),
                    |snapshot| Reply::Snapshot(Box::new(snapshot)),
                );
                drop(answer.send(reply));
            }
            Ask::Endpoint { service } => drop(answer.send(self.endpoint(&service))),
            Ask::Autoscaler { service } => {
                let state = self.controller.autoscaler(&service);
                let reply = state.map_or_else(Reply::Failed, |state| Reply::Autoscaler(Box::new(state)));
                drop(answer.send(reply));
            }
        }
    }

    fn apply(&mut self, values: Values, nodes: u32, programs: Programs, answer: Answer) {
        let identities = identities(&programs);
        // A request that the controller refuses anyway needs no ground.
        let obstacle = if (1..=NODES_MAX).contains(&nodes) && !self.controller.is_stopping() {
            self.host.prepare(&values, nodes, programs).err().map(|obstacle| obstacle.to_string())
        } else {
            None
        };
        let id = self.host.expect(answer);
        let apply = Apply { values: Arc::new(values), nodes, programs: identities, obstacle };
        self.step(Input::Request { id, request: Request::Apply(Box::new(apply)) });
    }

    fn endpoint(&self, service: &str) -> Reply {
        let Some(snapshot) = self.controller.snapshot(&self.host) else {
            return Reply::Failed(self.not_running());
        };
        let known = || snapshot.services.iter().map(|service| service.name.clone()).collect();
        let unknown = || TargetError::UnknownService { service: service.to_owned(), known: known() };
        let none = || TargetError::Other { message: format!("no gateway listener leads to {service}") };
        let found = snapshot.services.iter().find(|one| one.name == service).ok_or_else(unknown);
        found
            .and_then(|found| found.endpoint.clone().ok_or_else(none))
            .map_or_else(Reply::Failed, Reply::Endpoint)
    }

    /// Why nothing can be said about the platform.
    fn not_running(&self) -> TargetError {
        let name = self.host.name();
        if !self.controller.is_stopping() {
            return TargetError::NotRunning { platform: name.to_owned() };
        }
        let message = format!(
            "platform {name} is being taken down; end it at once with: playctl --platform {name} down"
        );
        TargetError::Other { message }
    }
}
