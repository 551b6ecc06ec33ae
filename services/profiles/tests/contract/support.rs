//! A server for a test, and requests to it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use fixtures::{DEADLINE, Running};
use profiles::{Server, Settings};
use serde_json::Value;
use service::Shutdown;
use service::settings::Env;
use uuid::Uuid;

pub(crate) const ID: &str = "8a377bc6-c2e7-42db-bf80-36301e21f25e";
pub(crate) const JSON: (&str, &str) = ("Content-Type", "application/json");

/// The Cassandra to test with, if any.
pub(crate) fn cassandra() -> Option<String> {
    std::env::var("TEST_CASSANDRA").ok()
}

/// A server with its own data.
pub(crate) fn start(variables: &[(&str, &str)]) -> Running {
    let Some(nodes) = cassandra() else { return start_alone(variables) };
    let keyspace = format!("test_{}", Uuid::new_v4().simple());
    // Several keyspaces are created at the same time.
    let place = [
        ("CASSANDRA_CONTACT_POINTS", &*nodes),
        ("CASSANDRA_KEYSPACE", &keyspace),
        ("CASSANDRA_TIMEOUT", "30"),
    ];
    let running = start_alone(&[variables, &place].concat());
    running.expect_all_well();
    running
}

/// A server that uses no Cassandra except one in these variables.
pub(crate) fn start_alone(variables: &[(&str, &str)]) -> Running {
    let common = [("HOST", "127.0.0.1"), ("PORT", "0"), ("ADMIN_PORT", "0"), ("SIGTERM_TIMEOUT", "0")];
    let env: Env = common.into_iter().chain(variables.iter().copied()).collect();
    let shutdown = Shutdown::new();
    let server = Server::bind(Settings::from_env(&env).unwrap(), shutdown.clone()).unwrap();
    let addresses = (server.bound().address(), server.bound().admin_address());
    Running::start(addresses, server.bound().readiness().clone(), shutdown, move || server.run())
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The JSON of an answer that must be 200.
    #[track_caller]
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json;charset=UTF-8"), "{self:?}");
        self.json()
    }

    /// An answer that must be a problem with this status; its detail.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], status, "{self:?}");
        problem["detail"].as_str().unwrap().to_owned()
    }
}

/// A request with these headers and this body.
pub(crate) fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let headers: String = headers.iter().flat_map(|(name, value)| [name, ": ", value, "\r\n"]).collect();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    // A server may refuse a long body before it has read it.
    let _ = stream.write_all(request.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    read(&answer)
}

fn read(bytes: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut answer = Answer { status, head: head.to_owned(), body: body.to_owned() };
    if answer.header("transfer-encoding") == Some("chunked") {
        answer.body = whole(body);
    }
    answer
}

/// The body that was sent in chunks; it must be complete.
fn whole(mut rest: &str) -> String {
    let mut body = String::new();
    loop {
        let (length, chunk) = rest.split_once("\r\n").unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        if length == 0 {
            return body;
        }
        body += &chunk[..length];
        rest = &chunk[length + 2..];
    }
}

pub(crate) fn get(server: &Running, path: &str) -> Answer {
    ask(server.address, "GET", path, &[], "")
}

pub(crate) fn delete(server: &Running, path: &str) -> Answer {
    ask(server.address, "DELETE", path, &[], "")
}

pub(crate) fn send(server: &Running, method: &str, path: &str, body: &Value) -> Answer {
    ask(server.address, method, path, &[JSON], &body.to_string())
}

/// Stores an object; returns its ID.
#[track_caller]
pub(crate) fn create(server: &Running, path: &str, body: &Value) -> String {
    send(server, "POST", path, body).ok()["id"].as_str().unwrap().to_owned()
}

/// The IDs of a list, in order.
#[track_caller]
pub(crate) fn ids(list: &Value) -> Vec<String> {
    let ids = list.as_array().unwrap().iter().map(|object| object["id"].as_str().unwrap().to_owned());
    let mut ids: Vec<String> = ids.collect();
    ids.sort_unstable();
    ids
}
