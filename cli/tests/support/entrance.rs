//! A gateway's port for HTTP on a whole platform: paths, cookies, `WebSocket` sessions, replicas that come and go. `ws` and
//! `ws-client`, which answer over HTTP, are the services behind it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::{
    services::{address, ready, service},
    support::{Lab, eventually},
};

const SOON: Duration = Duration::from_mins(1);

const VALUES: &str = "
ws: {enabled: true, autoscaling: null, replicas: 2, terminationGracePeriodSeconds: 20}
ws-client: {enabled: true}
tcp: {enabled: false}
kafka: {enabled: false}
memcached: {enabled: false}
gateway:
  listeners:
    - name: entrance
      protocol: HTTP
      port: 8090
      service: ws
      stallTimeout: 0s
      routes:
        - {path: /main, service: ws-client}
";

/// A browser, which sends the cookies that it gets.
#[derive(Default)]
struct Client {
    cookies: BTreeMap<String, String>,
}

/// An answer's head and body, if any.
struct Answer {
    head: String,
    body: String,
    stream: TcpStream,
}

impl Client {
    /// Whether the answer sets a cookie.
    fn note(&mut self, answer: &Answer) -> bool {
        let mut is_set = false;
        for (name, value) in answer.headers() {
            if name.eq_ignore_ascii_case("set-cookie") {
                let pair = value.split(';').next().expect("a pair");
                let (name, value) = pair.split_once('=').expect("a name and a value");
                self.cookies.insert(name.to_owned(), value.to_owned());
                is_set = true;
            }
        }
        is_set
    }

    fn send(&self, to: SocketAddr, request: &str) -> Answer {
        let mut stream = TcpStream::connect(to).expect("the gateway listens");
        stream.set_read_timeout(Some(SOON)).expect("a time-out");
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies =
            if cookies.is_empty() { String::new() } else { format!("Cookie: {}\r\n", cookies.join("; ")) };
        write!(stream, "{request}Host: entrance\r\n{cookies}\r\n").expect("it takes a request");
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap_or_else(|error| panic!("{request}: {error} after {head:?}"));
            head.push(char::from(byte[0]));
        }
        Answer { head, body: String::new(), stream }
    }

    fn get(&mut self, to: SocketAddr, path: &str) -> (Answer, bool) {
        let mut answer = self.send(to, &format!("GET {path} HTTP/1.1\r\nConnection: close\r\n"));
        answer.stream.read_to_string(&mut answer.body).expect("a body");
        let is_new = self.note(&answer);
        (answer, is_new)
    }

    /// Opens a WebSocket; returns its replica, and whether the client got a cookie.
    fn open(&mut self, to: SocketAddr, user: &str) -> (String, bool, TcpStream) {
        let request = format!(
            "GET /api/v1/websocket/{user} HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n"
        );
        let answer = self.send(to, &request);
        assert_eq!(answer.status(), 101, "{}", answer.head);
        let is_new = self.note(&answer);
        let host = answer.headers().find(|(name, _)| name.eq_ignore_ascii_case("host-id"));
        (host.expect("a replica names itself").1.to_owned(), is_new, answer.stream)
    }
}

impl Answer {
    fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
    }

    fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.head.lines().filter_map(|line| line.split_once(": "))
    }
}

/// Brings up a platform behind this gateway and checks what clients see.
pub(crate) fn works(lab: &Lab, gateway: &str) {
    let values = tempfile::NamedTempFile::with_suffix(".yaml").expect("a file");
    std::fs::write(values.path(), VALUES).expect("values");
    let quick = "ws.env.SIGTERM_TIMEOUT=1,ws.env.DRAIN_SPREAD=1";
    let file = values.path().to_str().expect("a path");
    lab.ok(&["up", "-f", "ws", "-f", file, "--gateway", gateway, "--nodes", "2", "--set", quick]);
    let at = address(&service(lab, "ws")["endpoint"]);
    assert_eq!(at.port(), 8090);

    // Envoy checks replicas once before it uses them.
    for path in ["/", "/main/"] {
        eventually(SOON, || match Client::default().get(at, path).0.status() {
            200 => Ok(()),
            other => Err(other),
        })
        .expect("a replica behind each path");
    }
    for (path, status, body) in [
        ("/", 200, "ws\n"),
        ("/main", 200, "ws-client\n"),
        ("/main/", 200, "ws-client\n"),
        ("/main?a=b", 200, "ws-client\n"),
        ("/main/route/kickstart/ws/users", 200, "[]"),
        ("/ws-session/all?x=/main", 200, "[]"),
        ("/mainx", 404, ""),
        ("/main/ws-session/all", 404, ""),
    ] {
        let (answer, _) = Client::default().get(at, path);
        assert_eq!((answer.status(), answer.body.contains(body)), (status, true), "{path}: {}", answer.body);
    }

    // Replicas that are added while the gateways run have cookies too.
    lab.ok(&["scale", "ws", "3"]);
    eventually(SOON, || match ready(lab, "ws").len() {
        3 => Ok(()),
        other => Err(other),
    })
    .expect("three replicas");
    let mut clients: Vec<(Client, String, TcpStream)> = Vec::new();
    eventually(SOON, || {
        let mut client = Client::default();
        // With both services, so that neither replaces the other.
        let (_, is_new) = client.get(at, "/main/");
        assert!(is_new);
        let (host, is_new, socket) = client.open(at, &format!("user{}", clients.len()));
        assert!(is_new);
        // A few of each are enough.
        if clients.iter().filter(|(_, other, _)| *other == host).count() < 3 {
            clients.push((client, host, socket));
        }
        let hosts: BTreeSet<&String> = clients.iter().map(|(_, host, _)| host).collect();
        if hosts.len() == 3 { Ok(()) } else { Err(hosts.len()) }
    })
    .expect("each replica gets sessions");
    for (client, host, _) in &mut clients {
        // New connections, which the kernel gives to either node's gateway.
        for _ in 0..6 {
            let (again, is_new, _) = client.open(at, "again");
            assert_eq!((&again, is_new), (&*host, false), "the same replica by every gateway");
            let (answer, is_new) = client.get(at, "/main/");
            assert_eq!((answer.body.as_str(), is_new), ("ws-client\n", false));
        }
    }

    // Clients of a removed replica get a notice, and are led to a remaining one.
    lab.ok(&["scale", "ws", "1"]);
    eventually(SOON, || {
        let left = service(lab, "ws")["replicas"].as_array().expect("replicas").len();
        if left == 1 { Ok(()) } else { Err(left) }
    })
    .expect("two replicas drain and go");
    let last: BTreeSet<String> = clients
        .iter_mut()
        .map(|(client, _, _)| {
            let (host, ..) = client.open(at, "last");
            let (again, is_new, _) = client.open(at, "last");
            assert_eq!((&again, is_new), (&host, false));
            host
        })
        .collect();
    assert_eq!(last.len(), 1, "{last:?}");
}
