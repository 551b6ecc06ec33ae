//! HTTP: paths, cookies, bodies in transit, and requests that must not get through.

mod drain;
mod failures;
mod hostile;
mod messages;
mod routes;
mod sticky;
mod streams;
mod upgrades;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use platform::endpoints::{Cluster, Endpoint, Endpoints};

use crate::support::{EndpointsFile, Replica, Running, connect, endpoint, wait_until};

pub(crate) const HTTP: (&str, &str) = ("PROTOCOL", "HTTP");
pub(crate) const ROUTES: (&str, &str) = ("ROUTES", "/main=directory,/=stream");

/// The head of a message and its body.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// The next message of a connection; `None` if there is none, or it breaks off.
    pub(crate) fn read(stream: &mut BufReader<TcpStream>) -> Option<Self> {
        let head = read_head(stream)?;
        let mut message = Self { head, body: Vec::new() };
        if let Some(length) = message.header("content-length") {
            message.body = vec![0; length.parse().unwrap()];
            stream.read_exact(&mut message.body).ok()?;
        } else if message.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk @ [_, ..]) = read_chunk(stream)?.as_deref() {
                message.body.extend_from_slice(chunk);
            }
        }
        Some(message)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).next()
    }

    pub(crate) fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.filter(move |(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// `GET /path HTTP/1.1`
    pub(crate) fn first_line(&self) -> &str {
        self.head.lines().next().unwrap()
    }

    pub(crate) fn status(&self) -> u16 {
        self.first_line().split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Up to the empty line; `None` if the connection ends before.
pub(crate) fn read_head(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    Some(head)
}

/// One chunk, empty for the last one; the outer value is `None` if the connection breaks off.
#[expect(clippy::option_option, reason = "a body that has ended is not one that broke off")]
pub(crate) fn read_chunk(stream: &mut BufReader<TcpStream>) -> Option<Option<Vec<u8>>> {
    let mut size = String::new();
    if stream.read_line(&mut size).ok()? == 0 {
        return None;
    }
    let mut chunk = vec![0; usize::from_str_radix(size.trim(), 16).ok()? + 2];
    stream.read_exact(&mut chunk).ok()?;
    chunk.truncate(chunk.len() - 2);
    Some(Some(chunk))
}

/// A replica that passes each request of a connection to `answer`, as long as that returns true.
pub(crate) fn http_replica(
    answer: impl Fn(&Message, &mut TcpStream) -> bool + Clone + Send + 'static,
) -> Replica {
    Replica::new(move |stream| {
        let mut writes = stream.try_clone().unwrap();
        let mut reads = BufReader::new(stream);
        while let Some(request) = Message::read(&mut reads) {
            if !answer(&request, &mut writes) {
                return;
            }
        }
    })
}

/// A replica that answers each request with its own name and the request.
pub(crate) fn mirror(name: &'static str) -> Replica {
    http_replica(move |request, stream| {
        let body = format!("{name}\n{}{}", request.head, request.text());
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).is_ok()
    })
}

/// The file of endpoints for these clusters.
pub(crate) fn write(file: &EndpointsFile, version: u64, clusters: &[(&str, &[Endpoint])]) {
    let cluster = |(name, endpoints): &(&str, &[Endpoint])| Cluster {
        name: (*name).to_owned(),
        endpoints: endpoints.to_vec(),
    };
    let document = Endpoints { version, clusters: clusters.iter().map(cluster).collect() };
    file.write_text(&serde_json::to_string(&document).unwrap());
}

/// A gateway with these clusters that is ready.
pub(crate) fn gateway(
    clusters: &[(&str, &[Endpoint])],
    settings: &[(&str, &str)],
) -> (Running, EndpointsFile) {
    let file = EndpointsFile::new(&[]);
    write(&file, 1, clusters);
    (beside(&file, settings), file)
}

/// Another gateway with the same endpoints.
pub(crate) fn beside(file: &EndpointsFile, settings: &[(&str, &str)]) -> Running {
    let running = Running::start(&file.path(), &[&[HTTP, ROUTES], settings].concat());
    wait_until("the gateway is ready", || running.get("/readyz").0 == 200);
    running
}

/// A gateway with one replica of `stream` and none of `directory`.
pub(crate) fn one(replica: &Replica, settings: &[(&str, &str)]) -> Running {
    gateway(&[("stream", &[endpoint("stream-0", replica.address)]), ("directory", &[])], settings).0
}

/// A client's connection.
pub(crate) struct Client(pub(crate) BufReader<TcpStream>);

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self(BufReader::new(connect(address)))
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn receive(&mut self) -> Message {
        Message::read(&mut self.0).expect("an answer")
    }

    /// `request`: all lines except the last, empty one.
    pub(crate) fn ask(&mut self, request: &str) -> Message {
        self.send(&format!("{request}\r\nHost: shop\r\n\r\n"));
        self.receive()
    }

    pub(crate) fn get(&mut self, path: &str) -> Message {
        self.ask(&format!("GET {path} HTTP/1.1"))
    }

    /// The bytes until the end of the connection, and how it ends.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, std::io::Result<usize>) {
        let mut rest = Vec::new();
        let end = self.0.read_to_end(&mut rest);
        (rest, end)
    }
}

/// One request on its own connection.
pub(crate) fn get(address: SocketAddr, path: &str) -> Message {
    Client::new(address).get(path)
}
