//! A server, clients, and HTTP requests.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Deref;
use std::time::Duration;

use fixtures::{DEADLINE, Redis, Running, eventually};
use service::Shutdown;
use service::settings::Env;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket, client};
use ws::{Server, Settings};

/// A running server.
pub(crate) struct Ws(Running);

impl Deref for Ws {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.0
    }
}

impl Ws {
    /// Starts a server with these variables in addition to the test's.
    pub(crate) fn start(redis: &Redis, variables: &[(&str, &str)]) -> Self {
        Self::start_at(&redis.settings(), variables)
    }

    /// The same with the Redis at this address.
    pub(crate) fn start_at(at: &service::redis::Settings, variables: &[(&str, &str)]) -> Self {
        let common = [
            ("HOST", "127.0.0.1".to_owned()),
            ("PORT", "0".to_owned()),
            ("ADMIN_PORT", "0".to_owned()),
            ("REDIS_HOST", at.host.clone()),
            ("REDIS_PORT", at.port.to_string()),
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

    /// Opens a session.
    pub(crate) fn open(&self, user: &str) -> Client {
        self.open_with(user, &[])
    }

    pub(crate) fn open_with(&self, user: &str, headers: &[(&str, &str)]) -> Client {
        self.try_open(user, headers).unwrap_or_else(|error| panic!("{user}: {error}"))
    }

    pub(crate) fn try_open(&self, user: &str, headers: &[(&str, &str)]) -> Result<Client, String> {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut request =
            format!("ws://{}/api/v1/websocket/{user}", self.address).into_client_request().unwrap();
        for (name, value) in headers {
            let name = http_name(name);
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        match client(request, stream) {
            Ok((socket, _)) => Ok(Client(socket)),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Status, head and body of a request to the service's port.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String, String) {
        ask(self.address, method, path, headers, body)
    }

    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let (status, _, body) = self.ask("GET", path, "", "");
        (status, body)
    }

    /// The users of all sessions in Redis, sorted.
    pub(crate) fn users(&self) -> Vec<String> {
        let mut answer = (0, String::new());
        // Right after the start, or after Redis' return, it may not be connected yet.
        eventually("the sessions are known", || {
            answer = self.get("/ws-session/all");
            answer.0 == 200
        });
        let body = answer.1;
        let sessions: Vec<serde_json::Value> = serde_json::from_str(&body).unwrap();
        let mut users: Vec<String> =
            sessions.iter().map(|session| session["userId"].as_str().unwrap().to_owned()).collect();
        users.sort();
        users
    }
}

fn http_name(name: &str) -> tokio_tungstenite::tungstenite::http::HeaderName {
    name.parse().unwrap()
}

pub(crate) fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), body.to_owned())
}

/// A client with an open session.
pub(crate) struct Client(pub(crate) WebSocket<TcpStream>);

impl Client {
    pub(crate) fn say(&mut self, text: &str) -> String {
        self.0.send(Message::text(text)).unwrap();
        self.hear().into_text().unwrap().to_string()
    }

    /// The next message; pings are answered on the way.
    pub(crate) fn hear(&mut self) -> Message {
        loop {
            match self.0.read().unwrap() {
                Message::Ping(_) => {}
                message => return message,
            }
        }
    }

    /// Waits for the server's close; returns its code and reason.
    pub(crate) fn closed(mut self) -> (u16, String) {
        let Message::Close(Some(frame)) = self.hear() else { panic!("not a close") };
        // Read until the handshake is over.
        loop {
            match self.0.read() {
                Ok(_) => {}
                Err(Error::ConnectionClosed) => break,
                Err(Error::Io(error)) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) => panic!("{error}"),
            }
        }
        (frame.code.into(), frame.reason.to_string())
    }

    /// Whether only pings arrive for a moment, which are answered, so the session is still open.
    pub(crate) fn is_open(&mut self) -> bool {
        self.0.get_ref().set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let heard = loop {
            match self.0.read() {
                Ok(Message::Ping(_)) => {}
                other => break other,
            }
        };
        self.0.get_ref().set_read_timeout(Some(DEADLINE)).unwrap();
        matches!(heard, Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock)
    }
}
