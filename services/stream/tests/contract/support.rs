//! A server, clients that read events, and HTTP requests.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::ops::Deref;

use fixtures::{DEADLINE, Redis, Running};
use service::Shutdown;
use service::settings::Env;
use stream::{Server, Settings};
use uuid::Uuid;

use crate::profiles::Profiles;

/// A user and a profile.
pub(crate) type Pair = (String, String);

/// The servers that a stream needs.
pub(crate) struct Ground {
    pub(crate) redis: Redis,
    pub(crate) profiles: Profiles,
}

impl Ground {
    pub(crate) fn new() -> Self {
        Self { redis: Redis::start(), profiles: Profiles::start() }
    }

    /// A user and a profile that belong together.
    pub(crate) fn pair(&self) -> Pair {
        let pair = strangers();
        self.profiles.bind(&pair.0, &pair.1);
        pair
    }

    /// The value of a pair's lock, if any.
    pub(crate) fn owner(&self, pair: &Pair) -> String {
        self.redis.say(&["GET", &key(pair)]).remove(0)
    }

    /// The remaining TTL of a pair's lock, in ms.
    pub(crate) fn life(&self, pair: &Pair) -> i64 {
        self.redis.say(&["PTTL", &key(pair)])[0].parse().unwrap()
    }

    /// The keys of all sessions.
    pub(crate) fn sessions(&self) -> Vec<String> {
        self.redis.say(&["KEYS", "SseSession#*"])
    }
}

/// A user and a profile that do not belong together.
pub(crate) fn strangers() -> Pair {
    (Uuid::new_v4().to_string(), Uuid::new_v4().to_string())
}

pub(crate) fn key((user, profile): &Pair) -> String {
    format!("{user}:{profile}")
}

/// A running server.
pub(crate) struct Replica(Running);

impl Deref for Replica {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.0
    }
}

impl Replica {
    /// Starts a server with these variables in addition to the test's, and waits until it has reached Redis and
    /// `profiles`.
    pub(crate) fn start(ground: &Ground, variables: &[(&str, &str)]) -> Self {
        let replica = Self::start_alone(ground, variables);
        replica.expect_all_well();
        replica
    }

    pub(crate) fn start_alone(ground: &Ground, variables: &[(&str, &str)]) -> Self {
        let at = ground.redis.settings();
        let common = [
            ("HOST", "127.0.0.1".to_owned()),
            ("PORT", "0".to_owned()),
            ("ADMIN_PORT", "0".to_owned()),
            ("POD_NAME", "stream-0".to_owned()),
            ("REDIS_HOST", at.host),
            ("REDIS_PORT", at.port.to_string()),
            ("PROFILES_URL", format!("http://{}", ground.profiles.address)),
            ("SIGTERM_TIMEOUT", "0".to_owned()),
            ("DRAIN_SPREAD", "100ms".to_owned()),
        ];
        let own = variables.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let env: Env = common.into_iter().chain(own).collect();
        let shutdown = Shutdown::new();
        let server = Server::bind(Settings::from_env(&env).unwrap(), shutdown.clone()).unwrap();
        let addresses = (server.bound().address(), server.bound().admin_address());
        Self(Running::start(addresses, server.bound().readiness().clone(), shutdown, move || server.run()))
    }

    /// Requests a stream and reads the head of the answer.
    pub(crate) fn connect(&self, pair: &Pair) -> Client {
        self.connect_with(pair, "")
    }

    pub(crate) fn connect_with(&self, pair: &Pair, headers: &str) -> Client {
        self.try_connect_with(pair, headers).unwrap()
    }

    /// `None`: the server is gone.
    #[cfg(feature = "real-servers")]
    pub(crate) fn try_connect(&self, pair: &Pair) -> Option<Client> {
        self.try_connect_with(pair, "").ok()
    }

    fn try_connect_with(&self, pair: &Pair, headers: &str) -> std::io::Result<Client> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        write!(stream, "GET {} HTTP/1.1\r\nHost: test\r\n{headers}\r\n", path(pair))?;
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        let head = head.to_lowercase();
        let is_chunked = head.contains("transfer-encoding: chunked");
        Ok(Client { reader, is_chunked, text: Vec::new(), is_over: false, head })
    }

    /// Opens a stream and waits until it has its lock.
    pub(crate) fn open(&self, pair: &Pair) -> Client {
        let before = self.metric("stream_opened_total");
        let client = self.connect(pair);
        self.expect_metric("stream_opened_total", before + 1);
        client
    }

    /// Requests a stream that is refused; returns the whole answer.
    pub(crate) fn refused(&self, pair: &Pair) -> (Event, String) {
        let mut client = self.connect(pair);
        let head = client.head.clone();
        let event = client.next().expect("one event");
        assert!(client.next().is_none(), "only one event");
        (event, head)
    }

    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let (status, _, body) = ask(self.address, "GET", path, "");
        (status, body)
    }
}

pub(crate) fn path((user, profile): &Pair) -> String {
    format!("/stream/{user}/{profile}")
}

/// One event, or the notice in its place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) data: Option<String>,
    pub(crate) comment: Option<String>,
    pub(crate) retry: Option<u64>,
}

impl Event {
    fn parse(text: &str) -> Self {
        let mut event = Self::default();
        for line in text.lines() {
            let (name, value) = line.split_once(':').expect("a field");
            let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
            match name {
                "" => event.comment = Some(value),
                "id" => event.id = Some(value),
                "data" => event.data = Some(value),
                "retry" => event.retry = Some(value.parse().unwrap()),
                other => panic!("a field {other}"),
            }
        }
        event
    }

    pub(crate) fn second(&self) -> i64 {
        self.id.as_deref().expect("an id").parse().unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.data.as_deref().expect("data")).unwrap()
    }

    pub(crate) fn message(&self) -> String {
        self.json()["message"].as_str().unwrap().to_owned()
    }
}

/// A client and its answer.
pub(crate) struct Client {
    reader: BufReader<TcpStream>,
    is_chunked: bool,
    /// The part of the next event that has arrived.
    text: Vec<u8>,
    is_over: bool,
    pub(crate) head: String,
}

impl Client {
    /// Closes this side and keeps reading.
    pub(crate) fn close_sending(&self) {
        self.reader.get_ref().shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// The next event; `None`: the answer is complete.
    pub(crate) fn next(&mut self) -> Option<Event> {
        self.try_next().unwrap()
    }

    /// The same; an error if the connection was cut.
    pub(crate) fn try_next(&mut self) -> std::io::Result<Option<Event>> {
        loop {
            // A chunk never contains parts of two events.
            if self.text.ends_with(b"\n\n") {
                let text = std::mem::take(&mut self.text);
                return Ok(Some(Event::parse(std::str::from_utf8(&text).unwrap().trim_end())));
            }
            if self.is_over {
                assert!(self.text.is_empty(), "an event is cut in two");
                return Ok(None);
            }
            self.read_piece()?;
        }
    }

    fn read_piece(&mut self) -> std::io::Result<()> {
        if !self.is_chunked {
            let length = self.head.split("content-length: ").nth(1).unwrap();
            let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
            self.text = vec![0; length];
            self.is_over = true;
            return self.reader.read_exact(&mut self.text);
        }
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let length = usize::from_str_radix(line.trim_end(), 16).unwrap();
        let mut chunk = vec![0; length + 2];
        self.reader.read_exact(&mut chunk)?;
        self.is_over = length == 0;
        self.text.extend_from_slice(&chunk[..length]);
        Ok(())
    }
}

pub(crate) fn ask(address: SocketAddr, method: &str, path: &str, headers: &str) -> (u16, String, String) {
    ask_with(address, method, path, headers, "")
}

pub(crate) fn ask_with(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> (u16, String, String) {
    let mut stream = connect(address);
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    read_answer(stream)
}

/// The same for a client that half-closes after the request.
pub(crate) fn ask_half_closed(address: SocketAddr, path: &str) -> (u16, String, String) {
    let mut stream = connect(address);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    read_answer(stream)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

fn read_answer(mut stream: TcpStream) -> (u16, String, String) {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), body.to_owned())
}
