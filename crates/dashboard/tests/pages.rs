//! Open pages, as connections.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use dashboard::{Acting, Action, Hands, Server, Stage};
use jiff::Timestamp;
use platform::EventKind;
use platform::event::{Source, Stamper};
use report::Story;
use uuid::Uuid;

/// Far longer than anything here takes; reached only when something is wrong.
const DEADLINE: Duration = Duration::from_mins(1);
const EVENTS: u64 = 2_000;

fn serve(stage: &Stage, acting: Option<Acting>) -> Server {
    Server::start(TcpListener::bind("127.0.0.1:0").unwrap(), stage, acting).unwrap()
}

fn request(to: SocketAddr, host: &str, path: &str, more: &str) -> TcpStream {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n").unwrap();
    stream
}

fn whole(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Reads until the page learns of this news.
fn is_told(stream: TcpStream, news: u64) {
    let mut lines = BufReader::new(stream).lines();
    let wanted = format!("id: {news}");
    assert!(lines.any(|line| line.unwrap() == wanted), "the connection ended before {wanted}");
}

#[test]
fn a_page_that_stops_reading_blocks_no_other_and_misses_nothing_when_it_returns() {
    let stage = Stage::new(Story::new("live"));
    let server = serve(&stage, None);
    let at = server.address();
    let pages: Vec<_> = (0..50).map(|_| request(at, &at.to_string(), "/news", "")).collect();
    let (silent, reading) = pages.split_at(10);
    let mut stamper = Stamper::new(Uuid::nil(), Source::Local, Timestamp::UNIX_EPOCH);
    for number in 0..EVENTS {
        let message = format!("warning {number}.");
        stage.push(&stamper.stamp(number, EventKind::Warning { message }));
    }
    // It began with one.
    let latest = EVENTS + 1;
    for page in reading {
        is_told(page.try_clone().unwrap(), latest);
    }
    let story = whole(request(at, &format!("localhost:{}", at.port()), "/run.json", ""));
    assert!(
        story.starts_with("HTTP/1.1 200 ") && story.contains(&format!("etag: \"{latest}\"")),
        "{story:.300}"
    );
    assert_eq!(story.matches("\"warning ").count() as u64, EVENTS);
    assert_eq!(silent.len(), 10, "still open");
    is_told(request(at, &at.to_string(), "/news", "Last-Event-ID: 7\r\n"), latest);
    // One that has the latest learns of the next.
    let known = request(at, &at.to_string(), "/news", &format!("Last-Event-ID: {latest}\r\n"));
    let mut lines = BufReader::new(known).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("text/event-stream")));
    stage.note("one more");
    let next = lines.find(|line| line.starts_with("id: ")).unwrap();
    assert_eq!(next, format!("id: {}", latest + 1));
}

#[test]
fn a_story_has_every_event_so_far() {
    let stage = Stage::new(Story::new("live"));
    let server = serve(&stage, None);
    let mut stamper = Stamper::new(Uuid::nil(), Source::Local, Timestamp::UNIX_EPOCH);
    for number in 0..4 {
        let message = format!("warning {number}.");
        stage.push(&stamper.stamp(0, EventKind::Warning { message }));
        // The one before was written out a moment ago.
        let story = whole(request(server.address(), &server.address().to_string(), "/run.json", ""));
        assert_eq!(story.matches("\"warning ").count(), number + 1, "{story:.300}");
    }
}

#[test]
fn the_page_is_for_this_machine_and_allows_its_own_files_alone() {
    let server = serve(&Stage::new(Story::new("live")), None);
    let at = server.address();
    for path in ["/", "/run.json", "/report.js"] {
        for host in [
            "elsewhere.example",
            "localhost.elsewhere.example:80",
            "10.0.0.1",
            &format!("10.0.0.1:{}", at.port()),
        ] {
            let refused = whole(request(at, host, path, ""));
            assert!(refused.starts_with("HTTP/1.1 403 "), "{path} {host}: {refused:.300}");
            assert!(refused.contains(&format!("expected a request to {at} or localhost:")), "{refused:.300}");
        }
        let answer = whole(request(at, &at.to_string(), path, ""));
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer:.300}");
        let policy = answer.lines().find_map(|line| line.strip_prefix("content-security-policy: ")).unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    }
}

/// Tells what it is asked to do, and does it when it is let.
struct Told {
    asked: mpsc::Sender<Action>,
    may_go_on: Arc<Barrier>,
}

impl Hands for Told {
    fn act(&self, action: Action) -> Result<String, String> {
        let outcome = match &action {
            Action::StopLoad {} => Err("no load runs".to_owned()),
            _ => Ok("done so".to_owned()),
        };
        self.asked.send(action).unwrap();
        self.may_go_on.wait();
        outcome
    }

    fn users(&self, service: &str, replica: &str) -> Result<Vec<String>, String> {
        if replica == "slow" {
            self.asked.send(Action::StopLoad {}).unwrap();
            self.may_go_on.wait();
        }
        Ok(vec![format!("{service} {replica}")])
    }
}

fn acting(token: Option<&str>, wait_for: usize) -> (Acting, mpsc::Receiver<Action>, Arc<Barrier>) {
    let (asked, actions) = mpsc::channel();
    let may_go_on = Arc::new(Barrier::new(wait_for));
    let hands = Arc::new(Told { asked, may_go_on: Arc::clone(&may_go_on) });
    let printed_by = "playctl --platform blue dashboard".to_owned();
    (Acting { hands, token: token.map(str::to_owned), printed_by }, actions, may_go_on)
}

fn post(to: SocketAddr, headers: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST /act HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
    .unwrap();
    stream
}

const SCALE: &str = r#"{"do":"scale","service":"tcp","replicas":3}"#;

#[test]
fn only_this_page_with_the_token_acts_and_sees_the_outcome() {
    let (hands, actions, _) = acting(Some("secret"), 1);
    let server = serve(&Stage::new(Story::new("live")), Some(hands));
    let at = server.address();
    let own = format!("Host: {at}\r\nOrigin: http://{at}\r\nContent-Type: application/json\r\n");
    let good = format!("{own}X-Playctl-Token: secret\r\n");

    for (why, headers) in [
        ("no token", own.clone()),
        ("another token", format!("{own}X-Playctl-Token: secrets\r\n")),
        ("another origin", good.replace("Origin: http://", "Origin: http://evil.example/")),
        ("no origin", good.replace("Origin", "X-Origin")),
        ("a name that leads here", good.replace(&at.to_string(), &format!("evil.example:{}", at.port()))),
        ("another site", format!("{good}Sec-Fetch-Site: cross-site\r\n")),
        ("another port of this machine", format!("{good}Sec-Fetch-Site: same-site\r\n")),
    ] {
        let refused = whole(post(at, &headers, SCALE));
        assert!(
            refused.starts_with("HTTP/1.1 403 ") && refused.contains("\"done\":false"),
            "{why}: {refused}"
        );
    }
    // Reading changes nothing, not even with the token.
    assert!(
        whole(request(at, &at.to_string(), "/act", "X-Playctl-Token: secret\r\n"))
            .starts_with("HTTP/1.1 405 ")
    );
    // A form of another page cannot send JSON as such.
    let form = whole(post(at, &good.replace("application/json", "text/plain"), SCALE));
    assert!(form.starts_with("HTTP/1.1 415 "), "{form}");
    for (body, status) in [
        (r#"{"do":"explode"}"#, 422),
        (r#"{"do":"scale","service":"tcp","replicas":3,"more":1}"#, 422),
        (r#"{"do":"scale","service":"tcp","replicas":-1}"#, 422),
        ("", 400),
    ] {
        let refused = whole(post(at, &good, body));
        assert!(refused.starts_with(&format!("HTTP/1.1 {status} ")), "{body}: {refused}");
        assert!(refused.contains("this is no action: "), "{refused}");
        assert!(!refused.contains("eserialize") && !refused.contains("line 1"), "{refused}");
    }
    for (why, headers) in
        [("no token", own.clone()), ("another token", format!("{own}X-Playctl-Token: x\r\n"))]
    {
        let refused = whole(post(at, &headers, SCALE));
        assert!(
            refused.contains("address that playctl --platform blue dashboard prints"),
            "{why}: {refused}"
        );
    }
    let long = format!(r#"{{"do":"disconnect","users":["{}"]}}"#, "u".repeat(1024 * 1024));
    assert!(whole(post(at, &good, &long)).starts_with("HTTP/1.1 413 "));
    assert!(actions.try_recv().is_err(), "nothing was done so far");

    let done = whole(post(at, &good, SCALE));
    assert!(
        done.starts_with("HTTP/1.1 200 ") && done.contains(r#"{"done":true,"words":"done so"}"#),
        "{done}"
    );
    assert_eq!(actions.recv().unwrap(), Action::Scale { service: "tcp".to_owned(), replicas: 3 });
    let failed = whole(post(at, &good, r#"{"do":"stop_load"}"#));
    assert!(failed.starts_with("HTTP/1.1 409 ") && failed.contains("no load runs"), "{failed}");
    let users = whole(request(at, &at.to_string(), "/users?service=ws&replica=ws-0", ""));
    assert!(users.ends_with(r#"["ws ws-0"]"#), "{users}");
    let refused = whole(request(at, &at.to_string(), "/users?service=ws", ""));
    assert!(
        refused.starts_with("HTTP/1.1 400 ") && refused.contains("expected a service and a replica"),
        "{refused}"
    );
}

#[test]
fn a_read_only_page_refuses_every_action() {
    let (hands, actions, _) = acting(None, 1);
    for hands in [Some(hands), None] {
        let server = serve(&Stage::new(Story::new("live")), hands);
        let at = server.address();
        let headers = format!(
            "Host: {at}\r\nOrigin: http://{at}\r\nContent-Type: application/json\r\nX-Playctl-Token: \r\n"
        );
        let refused = whole(post(at, &headers, SCALE));
        assert!(refused.starts_with("HTTP/1.1 403 ") && refused.contains("read-only"), "{refused}");
    }
    assert!(actions.try_recv().is_err());
}

#[test]
fn only_a_few_slow_actions_run_at_a_time() {
    let (hands, actions, may_go_on) = acting(Some("secret"), 5);
    let server = serve(&Stage::new(Story::new("live")), Some(hands));
    let at = server.address();
    let headers = format!(
        "Host: {at}\r\nOrigin: http://{at}\r\nContent-Type: application/json\r\nX-Playctl-Token: secret\r\n"
    );
    let under_way: Vec<_> = (0..4).map(|_| post(at, &headers, SCALE)).collect();
    for _ in 0..4 {
        actions.recv_timeout(DEADLINE).unwrap();
    }
    let busy = whole(post(at, &headers, SCALE));
    assert!(
        busy.starts_with("HTTP/1.1 429 ") && busy.contains("4 other actions are under way; try again"),
        "{busy}"
    );
    may_go_on.wait();
    for one in under_way {
        assert!(whole(one).starts_with("HTTP/1.1 200 "));
    }
}

#[test]
fn pages_asking_for_users_wait_for_a_slot_and_all_are_answered() {
    // Four go on together, as many as have a place.
    let (hands, looks, _) = acting(None, 4);
    let server = serve(&Stage::new(Story::new("live")), Some(hands));
    let at = server.address();
    let ask = |_| request(at, &at.to_string(), "/users?service=ws&replica=slow", "");
    let asked: Vec<_> = (0..8).map(ask).collect();
    for _ in &asked {
        looks.recv_timeout(DEADLINE).unwrap();
    }
    for one in asked {
        let told = whole(one);
        assert!(told.starts_with("HTTP/1.1 200 ") && told.ends_with(r#"["ws slow"]"#), "{told}");
    }
}

#[test]
fn a_listener_that_other_machines_can_reach_is_refused() {
    let open = TcpListener::bind("0.0.0.0:0").unwrap();
    let error = Server::start(open, &Stage::new(Story::new("live")), None).err().unwrap();
    assert!(error.to_string().contains("not loopback"), "{error}");
}
