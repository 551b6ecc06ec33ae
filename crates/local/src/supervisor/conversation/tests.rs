use std::io::Write as _;

use ::platform::{
    EventKind,
    event::{GatewayInfo, ServiceInfo},
    target::{Applied, LogLine},
};
use controller::Time;
use tokio::task::LocalSet;
use uuid::Uuid;

use super::*;
use crate::{
    journal::Journal,
    supervisor::{clock::Clock, recorder::Recorder},
};

/// A supervisor without a platform: recordings to read from, and a main loop played by the test.
struct Stage {
    recorder: Recorder,
    logs: Journal,
    talk: Talk,
    commands: mpsc::Receiver<Message>,
    _directory: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let events = Journal::create(directory.path().join("events.jsonl"), 1 << 20).unwrap();
        let logs = Journal::create(directory.path().join("logs.jsonl"), 1 << 20).unwrap();
        let recorder = Recorder::new(Uuid::nil(), Clock::start(), events);
        let (messages, commands) = mpsc::channel(16);
        let (events, logs_of) = (recorder.source(), logs.source());
        let talk = Talk { messages, events, logs: logs_of, shed_token: "0123456789abcdef".into() };
        Self { recorder, logs, talk, commands, _directory: directory }
    }

    fn warn(&mut self, message: &str) {
        self.recorder.emit(Time::ZERO, EventKind::Warning { message: message.to_owned() });
    }

    /// A client that has just sent `request`.
    fn client(&self, request: &Request, first: bool) -> Lines {
        self.client_that_says(&serde_json::to_string(request).unwrap(), first)
    }

    fn client_that_says(&self, line: &str, first: bool) -> Lines {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        writeln!(ours, "{line}").unwrap();
        tokio::task::spawn_local(self.talk.clone().converse(theirs, first, Rc::default()));
        ours.set_nonblocking(true).unwrap();
        Lines(BufReader::new(tokio::net::UnixStream::from_std(ours).unwrap()))
    }
}

struct Lines(BufReader<tokio::net::UnixStream>);

impl Lines {
    async fn next(&mut self) -> Reply {
        let mut line = String::new();
        let read = tokio::time::timeout(Duration::from_secs(10), self.0.read_line(&mut line));
        assert!(read.await.expect("an answer in time").unwrap() > 0, "the conversation ended");
        serde_json::from_str(&line).unwrap()
    }

    async fn warning(&mut self) -> String {
        match self.next().await {
            Reply::Event(event) => match event.kind {
                EventKind::Warning { message } => message,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }
}

async fn on_stage<Play: Future<Output = ()>>(play: impl FnOnce(Stage) -> Play) {
    LocalSet::new().run_until(async { play(Stage::new()).await }).await;
}

#[tokio::test]
async fn events_start_where_requested_and_end_with_the_platform() {
    on_stage(async |mut stage| {
        stage.warn("zero");
        stage.warn("one");
        let mut all = stage.client(&Request::Events { from: EventsFrom::Start }, false);
        let mut later = stage.client(&Request::Events { from: EventsFrom::Seq(1) }, false);
        let mut new = stage.client(&Request::Events { from: EventsFrom::Now }, false);
        assert_eq!(all.warning().await, "zero");
        assert_eq!(all.warning().await, "one");
        assert_eq!(later.warning().await, "one");
        // A client that only wants news cannot signal that it is listening: there is news until it has received some.
        stage.warn("two");
        while tokio::time::timeout(Duration::from_millis(10), new.0.fill_buf()).await.is_err() {
            stage.warn("two");
        }
        for client in [&mut all, &mut later, &mut new] {
            assert_eq!(client.warning().await, "two");
        }
        drop(stage.recorder);
        loop {
            match new.next().await {
                Reply::End => break,
                Reply::Event(_) => {}
                other => panic!("{other:?}"),
            }
        }
    })
    .await;
}

#[tokio::test]
async fn new_readers_get_the_present_state_only() {
    on_stage(async |mut stage| {
        let service = ServiceInfo {
            name: "tcp".to_owned(),
            replicas: 1,
            endpoint: None,
            autoscaled: Some([1, 5]),
            targets_milli: BTreeMap::new(),
            policy: None,
        };
        stage.recorder.emit(
            Time::ZERO,
            EventKind::PlatformStarted {
                platform: "p".to_owned(),
                target: "this machine".to_owned(),
                nodes: 1,
                gateway: GatewayInfo { kind: "embedded".to_owned(), policy: "round robin".to_owned() },
                services: vec![service],
            },
        );
        stage.recorder.emit(Time::ZERO, EventKind::ReplicasSet { service: "tcp".to_owned(), from: 1, to: 2 });
        stage.recorder.emit(Time::ZERO, EventKind::ReplicasSet { service: "tcp".to_owned(), from: 2, to: 3 });
        let mut client = stage.client(&Request::Events { from: EventsFrom::Now }, false);
        let Reply::Event(event) = client.next().await else { panic!("expected an event") };
        let EventKind::PlatformStarted { services, .. } = event.kind else { panic!("{event:?}") };
        assert_eq!(services[0].replicas, 3);
        // The recording itself stays as it happened.
        let mut client = stage.client(&Request::Events { from: EventsFrom::Start }, false);
        let Reply::Event(event) = client.next().await else { panic!("expected an event") };
        let EventKind::PlatformStarted { services, .. } = event.kind else { panic!("{event:?}") };
        assert_eq!(services[0].replicas, 1);
    })
    .await;
}

#[tokio::test]
async fn logs_are_filtered_and_cut_to_the_last_lines() {
    on_stage(async |mut stage| {
        for (replica, text) in [("tcp-0", "a"), ("tcp-1", "b"), ("tcp-0", "c"), ("tcp-0", "d")] {
            let time = "2026-11-21T10:00:00Z";
            let line =
                format!(r#"{{"time":"{time}","service":"tcp","replica":"{replica}","text":"{text}"}}"#);
            stage.logs.append(&line).unwrap();
        }
        let query = LogQuery { replica: Some("tcp-0".to_owned()), tail: Some(2), ..LogQuery::default() };
        let mut client = stage.client(&Request::Logs { query }, false);
        for expected in ["c", "d"] {
            let reply = client.next().await;
            assert!(matches!(&reply, Reply::Log(LogLine { text, .. }) if text == expected), "{reply:?}");
        }
        assert!(matches!(client.next().await, Reply::End));
    })
    .await;
}

#[tokio::test]
async fn a_bring_up_shows_its_events_and_then_its_outcome() {
    on_stage(async |mut stage| {
        let values = Box::new(::platform::values::Values::builtin());
        let mut client = stage.client(&Request::Apply { values, nodes: 3 }, true);
        let Some(Message::Client { ask: Ask::Apply { nodes: 3, .. }, answer }) = stage.commands.recv().await
        else {
            panic!("expected to be asked to apply");
        };
        stage.warn("on the way");
        let applied =
            Applied { changes: vec!["up".to_owned()], settings: Vec::new(), took: Duration::from_millis(5) };
        answer.send(Reply::Done(controller::Reply::Applied(applied.clone()))).unwrap();
        assert_eq!(client.warning().await, "on the way");
        let reply = client.next().await;
        assert!(
            matches!(&reply, Reply::Done(controller::Reply::Applied(found)) if *found == applied),
            "{reply:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn the_supervisor_learns_when_the_client_that_wanted_the_platform_hangs_up() {
    on_stage(async |mut stage| {
        let values = Box::new(::platform::values::Values::builtin());
        let client = stage.client(&Request::Apply { values, nodes: 2 }, true);
        let asked = stage.commands.recv().await;
        assert!(matches!(asked, Some(Message::Client { ask: Ask::Apply { .. }, .. })), "{asked:?}");
        drop(client);
        let told = stage.commands.recv().await;
        assert!(matches!(told, Some(Message::Input(Input::Abandoned))), "{told:?}");
    })
    .await;
}

#[tokio::test]
async fn nonsense_gets_an_answer_and_a_missing_supervisor_is_reported() {
    on_stage(async |mut stage| {
        let reply = stage.client_that_says(r#"{"request":"dance"}"#, false).next().await;
        assert!(matches!(&reply, Reply::Failed(TargetError::Invalid { .. })), "{reply:?}");

        stage.commands.close();
        let reply = stage.client(&Request::Endpoint { service: "tcp".to_owned() }, false).next().await;
        assert!(matches!(&reply, Reply::Failed(TargetError::Other { .. })), "{reply:?}");
    })
    .await;
}
