//! [`LocalTarget`]: the platform on this machine as a [`Target`], by conversations with its supervisor.

mod inputs;
mod launch;
mod teardown;

use std::{
    fmt,
    ops::ControlFlow,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use platform::{
    Target, TargetError,
    target::{
        Applied, Balanced, Case, Drained, Endpoint, EventStream, EventsFrom, GATEWAY, Killed, LogQuery,
        LogStream, NODES, NodeAdded, NodeRemoved, OnProgress, OnWait, PartOrigin, Progress, Scaled, Shed,
        Snapshot, Started, Stopped, Subject, Traffic, Wanted,
    },
};

use crate::{
    control::{self, Connection, Incoming, Reply, Request, Traces},
    leftovers,
    lock::FileLock,
    paths::{Paths, PlatformPaths},
};

/// Maximum length of a platform's name.
const NAME_MAX: usize = 40;
/// How long a killed supervisor may take to be gone, or one started by somebody else to be there.
const CHANGE_OF_SUPERVISOR: Duration = Duration::from_secs(10);
/// How often a waiting caller is asked whether to continue.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// A supervisor that does not answer within this counts as hanging.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
/// Overrides that number of seconds, for tests that stop a supervisor on a busy machine.
const ANSWER_DEADLINE_VARIABLE: &str = "PLAYCTL_ANSWER_DEADLINE";

/// The live page of a platform, which is served while it is up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Anyone with this address can see the platform.
    pub url: String,
    /// Anyone who also has this can act on it.
    pub token: String,
    /// A file of the user's own that leads a browser to the address with the token.
    pub opener: PathBuf,
}

impl Page {
    /// The address to open. The part after `#` stays in the browser.
    pub fn link(&self) -> String {
        format!("{}#{}", self.url, self.token)
    }
}

/// A page that redirects to a page. The address contains no characters that are special in HTML.
pub fn opener(link: &str) -> String {
    format!(
        "<!doctype html><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"0; url={link}\">\n"
    )
}

/// One platform of this machine, running or not.
#[derive(Clone)]
pub struct LocalTarget {
    name: String,
    paths: Paths,
    own: PlatformPaths,
    on_wait: Option<OnWait>,
    answer_deadline: Duration,
}

impl fmt::Debug for LocalTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LocalTarget").field("name", &self.name).finish_non_exhaustive()
    }
}

impl LocalTarget {
    /// # Errors
    /// A name that cannot be part of a file's name.
    pub fn new(name: &str) -> Result<Self, TargetError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(allowed) || name.starts_with('-') {
            let message = format!(
                "platform name {name:?}: expected 1 to {NAME_MAX} of a-z, 0-9 and -, beginning with a letter or digit"
            );
            return Err(TargetError::Invalid { message });
        }
        let paths = Paths::from_env();
        let own = paths.platform(name);
        let answer_deadline = match std::env::var(ANSWER_DEADLINE_VARIABLE) {
            Ok(text) => Duration::from_secs(text.parse().map_err(|_| TargetError::Invalid {
                message: format!("{ANSWER_DEADLINE_VARIABLE}={text:?}: expected a number of seconds"),
            })?),
            Err(_) => ANSWER_DEADLINE,
        };
        Ok(Self { name: name.to_owned(), paths, own, on_wait: None, answer_deadline })
    }

    /// Calls `on_wait` while a supervisor does not answer.
    #[must_use]
    pub fn on_wait(self, on_wait: OnWait) -> Self {
        Self { on_wait: Some(on_wait), ..self }
    }

    pub(crate) fn balancer_lock(&self, service: &str) -> PathBuf {
        // Names of services come from outside; other characters than letters and digits are left out of the file's
        // name.
        let name: String = service.chars().filter(char::is_ascii_alphanumeric).collect();
        self.own.state.join(format!("balancer-{name}.lock"))
    }

    /// The platform's page; `None`: the platform does not run.
    pub fn page(&self) -> Option<Page> {
        let written = crate::paths::read_regular(&self.own.page()).ok()?;
        serde_json::from_slice(&written).ok()
    }

    /// Names of the platforms that run.
    pub fn platforms() -> Vec<String> {
        let paths = Paths::from_env();
        let mut names = paths.known();
        names.retain(|name| matches!(FileLock::holder(&paths.platform(name).lock), Ok(Some(_))));
        names
    }

    /// Whether it has a supervisor.
    fn is_running(&self) -> bool {
        matches!(FileLock::holder(&self.own.lock), Ok(Some(_)))
    }

    /// `None`: the supervisor is on its way out, or another is on its way in; retry.
    fn try_up(
        &self,
        request: &Request,
        progress: &mut OnProgress<'_>,
    ) -> Result<Option<Applied>, TargetError> {
        if let Some(mut connection) = self.connect()? {
            if connection.send(request).is_err() {
                return Ok(None);
            }
            return match follow(&mut connection, progress)? {
                Ended::Reply(Reply::Done(controller::Reply::Applied(applied))) => Ok(Some(applied)),
                Ended::Reply(_) => Err(unexpected()),
                Ended::Closed { heard: false } => Ok(None),
                Ended::Closed { heard: true } => {
                    Err(TargetError::Other { message: format!("{} was taken down meanwhile", self.name) })
                }
            };
        }
        let (mut connection, mut supervisor) = self.launch()?;
        // If it no longer listens, it may have said why.
        let _ = connection.send(request);
        let error = match follow(&mut connection, progress) {
            Ok(Ended::Reply(Reply::Done(controller::Reply::Applied(applied)))) => return Ok(Some(applied)),
            Ok(Ended::Reply(Reply::Taken { .. })) => {
                supervisor.wait();
                return Ok(None);
            }
            Ok(Ended::Reply(_)) => unexpected(),
            Ok(Ended::Closed { .. }) => {
                supervisor.wait();
                self.explained(TargetError::BringUp { message: "the supervisor ended".to_owned() })
            }
            Err(error) => error,
        };
        connection.hang_up();
        supervisor.wait();
        Err(error)
    }

    /// What the current or last run of the platform recorded about itself.
    fn recorded(&self) -> Option<Traces> {
        let record = crate::paths::read_regular(&self.own.run_record()).ok()?;
        serde_json::from_slice(&record).ok()
    }

    fn connect(&self) -> Result<Option<Connection>, TargetError> {
        // The supervisor may have been started from a session with another runtime directory.
        let socket = self.recorded().map_or_else(|| self.own.socket.clone(), |traces| traces.socket);
        let asked = clock::now();
        let connected = loop {
            match control::connect(&socket) {
                // It accepts no connections, and many are already waiting.
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    self.go_on_waiting(asked)?;
                    leftovers::pause();
                }
                connected => break connected,
            }
        };
        match connected {
            Ok(stream) => Ok(Some(Connection::new(stream))),
            // Nobody listens there; perhaps a killed supervisor left the socket.
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::NotFound
                        | std::io::ErrorKind::NotADirectory
                        | std::io::ErrorKind::ConnectionRefused
                ) =>
            {
                Ok(None)
            }
            Err(error) => {
                let message = format!("cannot reach the supervisor at {}: {error}", socket.display());
                Err(TargetError::Other { message })
            }
        }
    }

    fn running(&self) -> Result<Connection, TargetError> {
        match self.connect()? {
            Some(connection) => Ok(connection),
            None if self.is_running() => Err(self.unreachable()),
            None => Err(TargetError::NotRunning { platform: self.name.clone() }),
        }
    }

    /// Somebody has removed or replaced its socket, or it is just starting or ending.
    fn unreachable(&self) -> TargetError {
        let holder = FileLock::holder(&self.own.lock).ok().flatten().unwrap_or_default();
        let message = format!(
            "the supervisor of {} ({holder}) runs but does not listen at its socket; end it and all that it started \
             with: playctl --platform {} down",
            self.name, self.name
        );
        TargetError::Other { message }
    }

    fn ask(&self, request: &Request) -> Result<Reply, TargetError> {
        let mut connection = self.running()?;
        connection.send(request).map_err(TargetError::other)?;
        self.answer(&mut connection)
    }

    /// The answer to a request that a supervisor answers at once, if it can.
    fn answer(&self, connection: &mut Connection) -> Result<Reply, TargetError> {
        let asked = clock::now();
        loop {
            if let Some(reply) = connection.reply_within(Some(ASK_EVERY))? {
                return Ok(reply);
            }
            self.go_on_waiting(asked)?;
        }
    }

    /// Fails if the user does not want to wait any longer, or the supervisor has not answered for too long.
    fn go_on_waiting(&self, asked: Instant) -> Result<(), TargetError> {
        let waited = asked.elapsed();
        if self.on_wait.as_ref().is_some_and(|on_wait| on_wait(waited).is_break()) {
            return Err(TargetError::Interrupted);
        }
        if waited >= self.answer_deadline {
            return Err(self.no_answer(waited));
        }
        Ok(())
    }

    fn no_answer(&self, waited: Duration) -> TargetError {
        let (name, seconds) = (&self.name, waited.as_secs());
        let process = self.recorded().map(|traces| traces.supervisor);
        let who = process.map_or_else(String::new, |pid| format!(" (pid {pid})"));
        let look = process
            .map_or_else(String::new, |pid| format!("look at it with: ps -o pid,stat,wchan,args -p {pid}; "));
        let message = format!(
            "the supervisor of {name}{who} has not answered for {seconds} s: it is stopped, or the machine is overloaded; \
             {look}end it and all that it started with: playctl --platform {name} down"
        );
        TargetError::NoAnswer { message }
    }

    /// Fails if there is a supervisor that does not answer; succeeds if there is none.
    fn check_alive(&self) -> Result<(), TargetError> {
        self.connect()?.map_or(Ok(()), |connection| self.ping(connection))
    }

    fn ping(&self, mut connection: Connection) -> Result<(), TargetError> {
        match connection.send(&Request::Ping) {
            Ok(()) => self.answer(&mut connection).map(drop).or_else(|error| match error {
                // It is on its way out.
                TargetError::NoAnswer { .. } | TargetError::Other { .. } if !self.is_running() => Ok(()),
                error => Err(error),
            }),
            // On its way out too.
            Err(_) => Ok(()),
        }
    }

    fn act(&self, request: controller::Request) -> Result<controller::Reply, TargetError> {
        match self.ask(&Request::Act(request))? {
            Reply::Done(reply) => Ok(reply),
            _ => Err(unexpected()),
        }
    }

    /// One node more, or one fewer: returns once that is carried out.
    fn resize(&self, more: bool) -> Result<Snapshot, TargetError> {
        self.check_alive()?;
        let mut connection = self.running()?;
        connection.send(&Request::Nodes { more }).map_err(TargetError::other)?;
        let began = clock::now();
        let outcome = follow(&mut connection, &mut |_| {
            self.on_wait.as_ref().map_or(ControlFlow::Continue(()), |on_wait| on_wait(began.elapsed()))
        })?;
        match outcome {
            Ended::Reply(Reply::Done(controller::Reply::Applied(_))) => self.snapshot(),
            Ended::Reply(_) => Err(unexpected()),
            Ended::Closed { .. } => {
                Err(TargetError::Other { message: format!("{} was taken down meanwhile", self.name) })
            }
        }
    }

    /// Streams replies until `End`.
    fn stream<T: 'static>(
        &self,
        request: &Request,
        take: impl Fn(Reply) -> Option<T> + Send + 'static,
    ) -> Result<Box<dyn Iterator<Item = Result<T, TargetError>> + Send>, TargetError> {
        self.check_alive()?;
        let mut connection = Some(self.running()?);
        if let Some(connection) = &mut connection {
            connection.send(request).map_err(TargetError::other)?;
        }
        Ok(Box::new(std::iter::from_fn(move || {
            let item = match connection.as_mut()?.reply() {
                Ok(Reply::End) => None,
                Ok(reply) => Some(take(reply).ok_or_else(unexpected)),
                Err(error) => Some(Err(error)),
            };
            if !matches!(item, Some(Ok(_))) {
                connection = None;
            }
            item
        })))
    }
}

/// How a conversation ended.
#[derive(Debug)]
enum Ended {
    Reply(Reply),
    Closed {
        /// Something was received before.
        heard: bool,
    },
}

/// Forwards events until the answer arrives.
fn follow(connection: &mut Connection, progress: &mut OnProgress<'_>) -> Result<Ended, TargetError> {
    connection.set_patience(Some(ASK_EVERY)).map_err(TargetError::other)?;
    let mut heard = false;
    loop {
        let go_on = match connection.read().map_err(TargetError::other)? {
            Incoming::Reply(Reply::Event(event)) => {
                heard = true;
                progress(Progress::Event(&event))
            }
            Incoming::Reply(Reply::Failed(error)) => return Err(error),
            Incoming::Reply(reply) => return Ok(Ended::Reply(reply)),
            Incoming::Nothing => progress(Progress::Waiting),
            Incoming::Closed => return Ok(Ended::Closed { heard }),
        };
        if go_on.is_break() {
            return Err(TargetError::BringUp { message: "interrupted".to_owned() });
        }
    }
}

fn unexpected() -> TargetError {
    TargetError::Other { message: "the supervisor gave an unexpected answer".to_owned() }
}

/// Whether `service` can have log lines. Replicas are not checked: those that are gone have lines too.
fn check_service(snapshot: &Snapshot, service: &str) -> Result<(), TargetError> {
    let mut known: Vec<String> = snapshot.services.iter().map(|service| service.name.clone()).collect();
    known.push(GATEWAY.to_owned());
    // Real servers have their own names; embedded parts have no output.
    let found = snapshot.parts.iter().filter(|part| part.origin == PartOrigin::Found);
    known.extend(found.filter(|part| !part.is_gateway()).map(|part| part.name.clone()));
    if known.iter().any(|known| known == service) {
        return Ok(());
    }
    Err(TargetError::UnknownService { service: service.to_owned(), known })
}

impl Target for LocalTarget {
    fn is_up(&self) -> Result<bool, TargetError> {
        Ok(self.is_running())
    }

    fn apply(&self, wanted: Wanted<'_>, progress: &mut OnProgress<'_>) -> Result<Applied, TargetError> {
        let values = Box::new(wanted.values.clone());
        let request = Request::Apply { values, nodes: wanted.nodes.unwrap_or(NODES) };
        self.check_alive()?;
        let started = clock::now();
        loop {
            if let Some(applied) = self.try_up(&request, progress)? {
                return Ok(applied);
            }
            if started.elapsed() >= CHANGE_OF_SUPERVISOR {
                return Err(self.unreachable());
            }
            leftovers::pause();
        }
    }

    fn teardown(&self, grace: bool) -> Result<(), TargetError> {
        self.take_down(grace)
    }

    fn snapshot(&self) -> Result<Snapshot, TargetError> {
        match self.ask(&Request::Snapshot)? {
            Reply::Snapshot(snapshot) => Ok(*snapshot),
            _ => Err(unexpected()),
        }
    }

    fn events(&self, from: EventsFrom) -> Result<EventStream, TargetError> {
        self.stream(&Request::Events { from }, |reply| match reply {
            Reply::Event(event) => Some(*event),
            _ => None,
        })
    }

    fn scale(&self, service: &str, replicas: u32) -> Result<Scaled, TargetError> {
        match self.act(controller::Request::Scale { service: service.to_owned(), replicas })? {
            controller::Reply::Scaled(scaled) => Ok(scaled),
            _ => Err(unexpected()),
        }
    }

    fn kill(&self, what: &Subject, restart: bool) -> Result<Killed, TargetError> {
        // The supervisor counts the replicas' loads.
        let request = controller::Request::Kill { what: what.clone(), restart, loads: Vec::new() };
        match self.act(request)? {
            controller::Reply::Killed { killed, .. } => Ok(killed),
            _ => Err(unexpected()),
        }
    }

    fn stop(&self, what: &Subject) -> Result<Stopped, TargetError> {
        match self.act(controller::Request::Stop { what: what.clone() })? {
            controller::Reply::Stopped(stopped) => Ok(stopped),
            _ => Err(unexpected()),
        }
    }

    fn start(&self, what: &Subject) -> Result<Started, TargetError> {
        match self.act(controller::Request::Start { what: what.clone() })? {
            controller::Reply::Started(started) => Ok(started),
            _ => Err(unexpected()),
        }
    }

    fn drain(&self, what: &Subject) -> Result<Drained, TargetError> {
        match self.act(controller::Request::Drain { what: what.clone(), loads: Vec::new() })? {
            controller::Reply::Drained { drained, .. } => Ok(drained),
            _ => Err(unexpected()),
        }
    }

    fn add_node(&self) -> Result<NodeAdded, TargetError> {
        let after = self.resize(true)?;
        let name = after.node_list.last().map(|node| node.name.clone()).unwrap_or_default();
        let on_it = after.parts.iter().filter(|part| part.name.ends_with(&name));
        Ok(NodeAdded { nodes: after.nodes, follows: on_it.map(|part| part.name.clone()).collect(), name })
    }

    /// Nodes are numbered here, so only the last one can be removed. Its gateways drain; its replicas keep running,
    /// since all nodes are this machine.
    fn remove_node(&self, name: Option<&str>) -> Result<NodeRemoved, TargetError> {
        let before = self.snapshot()?;
        let last = before.node_list.last().map(|node| node.name.clone()).unwrap_or_default();
        if let Some(name) = name.filter(|name| *name != last) {
            let message = format!("node {name}: only {last} can be removed, because it was added last");
            return Err(TargetError::Invalid { message });
        }
        let after = self.resize(false)?;
        Ok(NodeRemoved { name: last, nodes: after.nodes })
    }

    fn logs(&self, query: &LogQuery) -> Result<LogStream, TargetError> {
        if let Some(service) = &query.service {
            check_service(&self.snapshot()?, service)?;
        }
        self.stream(&Request::Logs { query: query.clone() }, |reply| match reply {
            Reply::Log(line) => Some(line),
            _ => None,
        })
    }

    fn endpoint(&self, service: &str) -> Result<Endpoint, TargetError> {
        match self.ask(&Request::Endpoint { service: service.to_owned() })? {
            Reply::Endpoint(address) => Ok(Endpoint::At(address)),
            _ => Err(unexpected()),
        }
    }

    fn set_traffic(&self, service: &str, replica: &str, traffic: Traffic) -> Result<(), TargetError> {
        let (service, replica) = (service.to_owned(), replica.to_owned());
        self.act(controller::Request::SetTraffic { service, replica, traffic }).map(drop)
    }

    fn set_deletion_cost(&self, service: &str, replica: &str, cost: i32) -> Result<(), TargetError> {
        let (service, replica) = (service.to_owned(), replica.to_owned());
        self.act(controller::Request::SetDeletionCost { service, replica, cost }).map(drop)
    }

    fn shed(&self, service: &str, replica: &str, order: &Shed) -> Result<u64, TargetError> {
        let (service, replica, order) = (service.to_owned(), replica.to_owned(), order.clone());
        match self.ask(&Request::Shed { service, replica, order })? {
            Reply::Shed(asked) => Ok(asked),
            _ => Err(unexpected()),
        }
    }

    fn tell_balanced(&self, service: &str, balanced: &Balanced) -> Result<(), TargetError> {
        let (service, balanced) = (service.to_owned(), balanced.clone());
        self.act(controller::Request::Balanced { service, balanced }).map(drop)
    }

    fn autoscaler(&self, service: &str) -> Result<Case, TargetError> {
        let mut case = match self.ask(&Request::Autoscaler { service: service.to_owned() })? {
            Reply::Autoscaler(case) => *case,
            _ => return Err(unexpected()),
        };
        case.now_ms = case.now_ms.max(clock::wall().as_millisecond());
        let services = self.snapshot()?.services;
        if let Some(now) = services.iter().find(|of| of.name == service) {
            inputs::bring_up_to_date(&mut case, now.desired, &now.replicas);
        }
        Ok(case)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["playground", "a", "blue-2", "0"] {
            assert!(LocalTarget::new(good).is_ok(), "{good}");
        }
        for bad in ["", "Blue", "a/b", "..", "-a", "a b", &"x".repeat(41)] {
            let error = LocalTarget::new(bad).unwrap_err();
            assert_eq!(error.exit_code(), platform::exit::USAGE, "{bad}");
        }
    }
}
