//! Open pages, as connections.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use dashboard::{Server, Stage};
use jiff::Timestamp;
use platform::EventKind;
use platform::event::{Source, Stamper};
use report::Story;
use uuid::Uuid;

/// Far longer than anything here takes; reached only when something is wrong.
const DEADLINE: Duration = Duration::from_mins(1);
const EVENTS: u64 = 2_000;

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
    let wanted = format!("data: {news}");
    assert!(lines.any(|line| line.unwrap() == wanted), "the connection ended before {wanted}");
}

#[test]
fn pages_that_do_not_read_hold_up_nobody_and_one_that_comes_back_has_missed_nothing() {
    let stage = Stage::new(Story::new("live"));
    let server = Server::start(0, &stage).unwrap();
    let at = server.address();
    let pages: Vec<_> = (0..50).map(|_| request(at, "localhost", "/news", "")).collect();
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
    let story = whole(request(at, "127.0.0.1", "/run.json", ""));
    assert!(
        story.starts_with("HTTP/1.1 200 ") && story.contains(&format!("etag: \"{latest}\"")),
        "{story:.300}"
    );
    assert_eq!(story.matches("\"warning ").count() as u64, EVENTS);
    assert_eq!(silent.len(), 10, "still open");
    is_told(request(at, "localhost", "/news", "Last-Event-ID: 7\r\n"), latest);
}

#[test]
fn a_story_never_lacks_what_its_page_has_learned_of() {
    let stage = Stage::new(Story::new("live"));
    let server = Server::start(0, &stage).unwrap();
    let mut stamper = Stamper::new(Uuid::nil(), Source::Local, Timestamp::UNIX_EPOCH);
    for number in 0..4 {
        let message = format!("warning {number}.");
        stage.push(&stamper.stamp(0, EventKind::Warning { message }));
        // The one before was written out a moment ago.
        let story = whole(request(server.address(), "localhost", "/run.json", ""));
        assert_eq!(story.matches("\"warning ").count(), number + 1, "{story:.300}");
    }
}

#[test]
fn the_page_is_for_this_machine_and_allows_its_own_files_alone() {
    let server = Server::start(0, &Stage::new(Story::new("live"))).unwrap();
    let at = server.address();
    for path in ["/", "/run.json", "/report.js"] {
        let refused = whole(request(at, "elsewhere.example", path, ""));
        assert!(refused.starts_with("HTTP/1.1 403 "), "{path}: {refused:.300}");
        let answer = whole(request(at, "localhost", path, ""));
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer:.300}");
        let policy = answer.lines().find_map(|line| line.strip_prefix("content-security-policy: ")).unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    }
}
