//! One client of the control socket: its request and the answers.

use std::{
    cell::Cell,
    collections::{BTreeMap, VecDeque},
    io,
    os::unix::net::UnixStream,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use ::platform::{
    Event, EventKind, ServiceKind, TargetError,
    target::{EventsFrom, LogQuery, Shed, Snapshot},
    values::{Protocol, Values},
};
use controller::Input;
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
    sync::{mpsc, oneshot},
};

use super::{
    Ask, Message,
    given::{self, Given},
    output, sample, shedding,
};
use crate::{
    control::{REQUEST_MAX, Reply, Request},
    journal::{Source, Tail},
    programs::{Finder, NotFound, Program, Programs},
};

/// A silent client is dropped after this.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Time limit for a replica to obey an order to shed.
const SHED_TIMEOUT: Duration = Duration::from_secs(5);

/// What a conversation needs from the supervisor.
#[derive(Debug, Clone)]
pub(crate) struct Talk {
    pub(crate) messages: mpsc::Sender<Message>,
    pub(crate) events: Source,
    pub(crate) logs: Source,
    /// The token of orders to shed.
    pub(crate) shed_token: Arc<str>,
}

impl Talk {
    /// `first`: the conversation that came with the supervisor's start; if it ends before everything is up, nobody
    /// wants the platform any more. `asked` is set once the client has sent its request.
    pub(crate) async fn converse(self, stream: UnixStream, first: bool, asked: Rc<Cell<bool>>) {
        let messages = self.messages.clone();
        if let Err(error) = self.talk(stream, &asked).await {
            tracing::debug!(%error, "a client is gone");
        }
        if first {
            // Once the supervisor has ended, nobody needs to be notified.
            let _ = messages.send(Message::Input(Input::Abandoned)).await;
        }
    }

    async fn talk(self, stream: UnixStream, asked: &Cell<bool>) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let (reader, writer) = tokio::net::UnixStream::from_std(stream)?.into_split();
        let mut client = Client { reader: BufReader::new(reader), writer };
        let request = client.request().await?;
        asked.set(true);
        let request = match request {
            Ok(request) => request,
            Err(error) => return client.send(&Reply::Failed(error)).await,
        };
        match request {
            Request::Apply { values, nodes } => {
                let mut tail = self.events.tail();
                // For a bring-up, events from the start; for a change, only from now on.
                while let Ok(Some(_)) = tail.next_present() {}
                let found = match self.check_given(&values).await {
                    Ok(()) => find_programs(&values).await,
                    Err(error) => Err(error),
                };
                let programs = match found {
                    Ok(programs) => programs,
                    Err(error) => return client.send(&Reply::Failed(error)).await,
                };
                let answer = self.ask(Ask::Apply { values, nodes, programs }).await;
                client.stream_until(tail, answer).await
            }
            Request::Nodes { more } => {
                let mut tail = self.events.tail();
                while tail.next_present()?.is_some() {}
                let answer = self.ask(Ask::Nodes { more }).await;
                client.stream_until(tail, answer).await
            }
            Request::Ping => {
                // The main loop must be alive, not only this conversation.
                drop(wait(self.ask(Ask::Ping).await).await);
                client.send(&Reply::End).await
            }
            Request::Events { from } => {
                let ended = client.events(self.events.tail(), from).await;
                client.say_unreadable(ended).await
            }
            Request::Logs { query } => {
                let ended = client.logs(self.logs.tail(), &query).await;
                client.say_unreadable(ended).await
            }
            Request::Snapshot => {
                let reply = match wait(self.ask(Ask::Snapshot).await).await {
                    Reply::Snapshot(snapshot) => Reply::Snapshot(Box::new(fresh(*snapshot).await)),
                    other => other,
                };
                client.send(&reply).await
            }
            Request::Shed { service, replica, order } => {
                let reply = self.shed(&service, &replica, &order).await;
                client.send(&reply.unwrap_or_else(Reply::Failed)).await
            }
            Request::Act(request) => client.answer(self.ask(Ask::Act(request)).await).await,
            Request::Endpoint { service } => client.answer(self.ask(Ask::Endpoint { service }).await).await,
            Request::Autoscaler { service } => {
                client.answer(self.ask(Ask::Autoscaler { service }).await).await
            }
        }
    }

    /// Before any change: checks that the parts to use from now on answer.
    async fn check_given(&self, values: &Values) -> Result<(), TargetError> {
        let given = Given::of(values);
        if given.is_empty() {
            return Ok(());
        }
        // A platform that does not run yet uses none.
        let used = match wait(self.ask(Ask::Snapshot).await).await {
            Reply::Snapshot(snapshot) => snapshot.parts,
            _ => Vec::new(),
        };
        given::check(given, &used).await
    }

    /// Forwards an order to the replica.
    async fn shed(&self, service: &str, replica: &str, order: &Shed) -> Result<Reply, TargetError> {
        let snapshot = match wait(self.ask(Ask::Snapshot).await).await {
            Reply::Snapshot(snapshot) => snapshot,
            other => return Ok(other),
        };
        let address = shedding::address(&snapshot, service, replica)?;
        let order = service::shed::Order { id: order.id.clone(), count: order.count };
        let asked = service::shed::send(address, &self.shed_token, &order, SHED_TIMEOUT).await;
        asked
            .map(Reply::Shed)
            .map_err(|error| TargetError::Temporary { message: format!("{replica}: {error}") })
    }

    async fn ask(&self, ask: Ask) -> oneshot::Receiver<Reply> {
        let (answer, answered) = oneshot::channel();
        // When the supervisor has ended, the answer's sender is dropped, which the client learns.
        let _ = self.messages.send(Message::Client { ask, answer }).await;
        answered
    }
}

/// Looks for the programs that the values need, outside the main loop, because it runs them for their versions.
async fn find_programs(values: &Values) -> Result<Programs, TargetError> {
    let wanted = Program::wanted(values);
    let find = move || {
        let finder = Finder::from_env();
        wanted.into_iter().map(|program| Ok((program, finder.find(program)?))).collect()
    };
    let found: Result<Programs, NotFound> =
        tokio::task::spawn_blocking(find).await.map_err(TargetError::other)?;
    found.map_err(|error| TargetError::BringUp { message: error.to_string() })
}

async fn wait(answer: oneshot::Receiver<Reply>) -> Reply {
    let gone = || Reply::Failed(TargetError::Other { message: "the platform has gone down".to_owned() });
    answer.await.unwrap_or_else(|_| gone())
}

/// Replaces the last scrape's counts by the kernel's current ones, and adds what given parts report.
async fn fresh(mut snapshot: Snapshot) -> Snapshot {
    let connected = snapshot.services.iter().filter(|service| transport(&service.name) == Protocol::Tcp);
    let ports = connected
        .flat_map(|service| &service.replicas)
        .filter_map(|replica| Some(replica.socket()?.port()))
        .collect();
    let targets = sample::Targets { ports, pids: Vec::new() };
    if let Ok(scrape) = tokio::task::spawn_blocking(move || sample::Scrape::take(&targets)).await {
        for replica in snapshot.services.iter_mut().flat_map(|service| &mut service.replicas) {
            replica.connections =
                replica.pid.and(replica.socket()).and_then(|address| scrape.connections(address));
        }
        for gateway in &mut snapshot.parts {
            gateway.connections = gateway.connects_from.map(|address| scrape.connections_from(address));
        }
    }
    given::look(&mut snapshot.parts).await;
    snapshot
}

fn transport(service: &str) -> Protocol {
    ServiceKind::by_name(service).map_or(Protocol::Tcp, |kind| kind.row().transport)
}

struct Client {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Client {
    async fn request(&mut self) -> io::Result<Result<Request, TargetError>> {
        let mut line = Vec::new();
        let mut bounded = (&mut self.reader).take(REQUEST_MAX as u64);
        let read = tokio::time::timeout(REQUEST_TIMEOUT, bounded.read_until(b'\n', &mut line));
        if read.await?? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_slice(&line).map_err(|error| TargetError::Invalid {
            message: format!("the supervisor does not understand that: {error}"),
        }))
    }

    async fn send(&mut self, reply: &Reply) -> io::Result<()> {
        let mut line = serde_json::to_vec(reply)?;
        line.push(b'\n');
        self.writer.write_all(&line).await
    }

    async fn answer(&mut self, answer: oneshot::Receiver<Reply>) -> io::Result<()> {
        let reply = tokio::select! {
            reply = wait(answer) => reply,
            gone = hung_up(&mut self.reader) => return gone,
        };
        self.send(&reply).await
    }

    /// Events while a change is carried out, then its outcome.
    async fn stream_until(&mut self, mut tail: Tail, answer: oneshot::Receiver<Reply>) -> io::Result<()> {
        let mut answer = std::pin::pin!(wait(answer));
        let answer = loop {
            tokio::select! {
                biased;
                answer = &mut answer => break answer,
                line = tail.next() => match line {
                    Ok(Some(line)) => self.event(&line).await?,
                    // The recording has ended, or is damaged; the answer is on its way.
                    Ok(None) | Err(_) => break answer.await,
                },
                gone = hung_up(&mut self.reader) => return gone,
            }
        };
        while let Ok(Some(line)) = tail.next_present() {
            self.event(&line).await?;
        }
        self.send(&answer).await
    }

    /// A stream that ends because its file is damaged reports that.
    async fn say_unreadable(&mut self, ended: io::Result<()>) -> io::Result<()> {
        match ended {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let message = format!("the platform's records cannot be read: {error}");
                self.send(&Reply::Failed(TargetError::Other { message })).await
            }
            ended => ended,
        }
    }

    async fn events(&mut self, mut tail: Tail, from: EventsFrom) -> io::Result<()> {
        if from == EventsFrom::Now {
            let mut present = Present::default();
            while let Some(line) = tail.next_present()? {
                present.observe(line);
            }
            for line in present.lines() {
                self.event(&line).await?;
            }
        }
        loop {
            let line = tokio::select! {
                line = tail.next() => line?,
                gone = hung_up(&mut self.reader) => return gone,
            };
            match line {
                Some(line) if is_wanted(&line, from) => self.event(&line).await?,
                Some(_) => {}
                None => return self.send(&Reply::End).await,
            }
        }
    }

    /// Sends a recorded event unparsed.
    async fn event(&mut self, line: &str) -> io::Result<()> {
        self.writer.write_all(format!("{{\"reply\":\"event\",\"with\":{line}}}\n").as_bytes()).await
    }

    async fn logs(&mut self, mut tail: Tail, query: &LogQuery) -> io::Result<()> {
        let mut kept = VecDeque::new();
        while let Some(line) = tail.next_present()? {
            let Some(line) = output::matching(&line, query) else {
                continue;
            };
            let Some(most) = query.tail else {
                self.send(&Reply::Log(line)).await?;
                continue;
            };
            kept.push_back(line);
            if kept.len() > most {
                kept.pop_front();
            }
        }
        for line in kept {
            self.send(&Reply::Log(line)).await?;
        }
        if query.follow {
            self.follow_logs(tail, query).await?;
        }
        self.send(&Reply::End).await
    }

    async fn follow_logs(&mut self, mut tail: Tail, query: &LogQuery) -> io::Result<()> {
        loop {
            let line = tokio::select! {
                line = tail.next() => line?,
                gone = hung_up(&mut self.reader) => return gone,
            };
            let Some(line) = line else { return Ok(()) };
            if let Some(line) = output::matching(&line, query) {
                self.send(&Reply::Log(line)).await?;
            }
        }
    }
}

/// Waits for the client's end; ignores anything it still sends.
async fn hung_up(reader: &mut BufReader<OwnedReadHalf>) -> io::Result<()> {
    let mut ignored = [0; 64];
    while reader.read(&mut ignored).await? > 0 {}
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// The recorded lines that a reader needs who starts now: see [`EventsFrom::Now`].
#[derive(Default)]
struct Present {
    platform: Option<String>,
    /// The last desired number of replicas of each service.
    replicas: BTreeMap<String, u32>,
    endpoints: BTreeMap<String, String>,
}

impl Present {
    fn observe(&mut self, line: String) {
        #[derive(Deserialize)]
        struct Typed<'a> {
            #[serde(rename = "type")]
            kind: &'a str,
            service: Option<String>,
            to: Option<serde_json::Value>,
        }
        let Ok(typed) = serde_json::from_str(&line) else { return };
        match typed {
            Typed { kind: "PlatformStarted", .. } => {
                self.platform = Some(line);
                self.replicas.clear();
            }
            Typed { kind: "ReplicasSet" | "DesiredChanged", service: Some(service), to: Some(to) } => {
                if let Some(to) = to.as_u64().and_then(|to| u32::try_from(to).ok()) {
                    self.replicas.insert(service, to);
                }
            }
            Typed { kind: "EndpointsChanged", service: Some(service), .. } => {
                self.endpoints.insert(service, line);
            }
            _ => {}
        }
    }

    fn lines(self) -> impl Iterator<Item = String> {
        let replicas = self.replicas;
        let platform = self.platform.map(|line| with_replicas(line, &replicas));
        platform.into_iter().chain(self.endpoints.into_values())
    }
}

/// `PlatformStarted` describes the bring-up; a watcher that starts now wants the current state.
fn with_replicas(line: String, replicas: &BTreeMap<String, u32>) -> String {
    let Ok(mut event) = serde_json::from_str::<Event>(&line) else { return line };
    if let EventKind::PlatformStarted { services, .. } = &mut event.kind {
        for service in services {
            if let Some(now) = replicas.get(&service.name) {
                service.replicas = *now;
            }
        }
    }
    serde_json::to_string(&event).unwrap_or(line)
}

fn is_wanted(line: &str, from: EventsFrom) -> bool {
    #[derive(Deserialize)]
    struct Numbered {
        seq: u64,
    }
    match from {
        EventsFrom::Start | EventsFrom::Now => true,
        EventsFrom::Seq(first) => {
            serde_json::from_str::<Numbered>(line).is_ok_and(|event| event.seq >= first)
        }
    }
}

#[cfg(test)]
mod tests;
