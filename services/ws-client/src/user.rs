//! One user: connects, stays connected, reconnects when closed.

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use axum::http::header::SEC_WEBSOCKET_PROTOCOL;
use futures_util::{SinkExt as _, StreamExt as _};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tracing::info;

use crate::metrics::Metrics;

/// How long opening and closing a session may take.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// The subprotocol that asks the server to say in a close reason when to reconnect.
const RETRY_HINT: &str = "retry-hint";
/// Where the hint begins in the reason.
const HINT_WORDS: &str = "; retry in ";
/// A longer hint is ignored.
const HINT_MAX: Duration = Duration::from_mins(10);
/// Maximum length of a message, and of one read.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
const BUFFER_BYTES: usize = 1024;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What a user is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Connecting,
    Connected,
    /// Waiting to reconnect.
    Waiting,
}

/// A user's state, as shown to clients.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    pub(crate) state: State,
    /// Why the last session ended or could not be opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

impl Default for Status {
    fn default() -> Self {
        Self { state: State::Connecting, reason: None }
    }
}

/// Where and how users connect.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// `host:port`.
    pub(crate) server: String,
    pub(crate) return_after: Duration,
    pub(crate) metrics: Arc<Metrics>,
}

/// Connects and reconnects until `leave` is true, then closes.
pub(crate) async fn live(
    user: Arc<str>,
    rules: Arc<Rules>,
    status: Arc<Mutex<Status>>,
    mut leave: watch::Receiver<bool>,
) {
    let leaving = async {
        // The sender's end means the same.
        let _ = leave.wait_for(|leave| *leave).await;
    };
    let mut socket = None;
    tokio::select! {
        () = come_back_for_ever(&user, &rules, &status, &mut socket) => {}
        () = leaving => {}
    }
    if let Some(mut socket) = socket {
        // A server that does not answer in time is abandoned.
        let _ = timeout(CLOSE_TIMEOUT, say_goodbye(&mut socket)).await;
    }
}

async fn say_goodbye(socket: &mut Socket) -> Result<(), tungstenite::Error> {
    socket.close(None).await?;
    while let Some(message) = socket.next().await {
        message?;
    }
    Ok(())
}

async fn come_back_for_ever(user: &str, rules: &Rules, status: &Mutex<Status>, socket: &mut Option<Socket>) {
    loop {
        status.lock().state = State::Connecting;
        let (reason, hint) = match open(user, rules).await {
            Ok(opened) => {
                rules.metrics.connects.inc();
                // Keep showing why the previous session ended.
                status.lock().state = State::Connected;
                let ended = stay(socket.insert(opened)).await;
                *socket = None;
                rules.metrics.closed.inc();
                let hint = hint_in(&ended);
                (ended, hint)
            }
            Err(reason) => {
                rules.metrics.failures.inc();
                (reason, None)
            }
        };
        let wait = hint.unwrap_or_else(|| rules.return_after.mul_f64(rand::random_range(1.0..=1.5)));
        info!(user, reason, come_back_after = ?wait, "closed");
        *status.lock() = Status { state: State::Waiting, reason: Some(reason) };
        tokio::time::sleep(wait).await;
    }
}

async fn open(user: &str, rules: &Rules) -> Result<Socket, String> {
    let server = &rules.server;
    let mut opened = try_open(user, rules, true).await;
    // A server that does not know the subprotocol selects none, which the library does not expect.
    if let Ok(Err(tungstenite::Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(_)))) = opened {
        opened = try_open(user, rules, false).await;
    }
    match opened {
        Ok(Ok(socket)) => Ok(socket),
        Ok(Err(tungstenite::Error::Http(response))) => {
            Err(format!("{server} answered {}", response.status()))
        }
        Ok(Err(error)) => Err(format!("{server}: {error}")),
        Err(_) => Err(format!("{server} did not answer within {OPEN_TIMEOUT:?}")),
    }
}

async fn try_open(
    user: &str,
    rules: &Rules,
    asks_for_hint: bool,
) -> Result<Result<Socket, tungstenite::Error>, Elapsed> {
    let opening = async {
        let url = format!("ws://{}/api/v1/websocket/{}", rules.server, encoded(user));
        let mut request = url.into_client_request()?;
        if asks_for_hint {
            let hint = HeaderValue::from_static(RETRY_HINT);
            request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, hint);
        }
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let connected = tokio_tungstenite::connect_async_with_config(request, Some(config), true);
        connected.await.map(|(socket, _)| socket)
    };
    timeout(OPEN_TIMEOUT, opening).await
}

/// Reads until the session ends; returns why.
async fn stay(socket: &mut Socket) -> String {
    let mut reason = "the connection was closed".to_owned();
    while let Some(message) = socket.next().await {
        match message {
            Ok(Message::Close(Some(frame))) => reason = format!("{} {}", u16::from(frame.code), frame.reason),
            Ok(_) => {}
            Err(error) => {
                if let Some(code) = fault(&error) {
                    let frame = CloseFrame { code, reason: "".into() };
                    // A server that breaks the protocol may not read this either.
                    let _ = timeout(CLOSE_TIMEOUT, socket.send(Message::Close(Some(frame)))).await;
                }
                return error.to_string();
            }
        }
    }
    reason
}

/// The code that tells a server how it violated the protocol (RFC 6455, section 7.4.1); `None`: it is gone.
fn fault(error: &tungstenite::Error) -> Option<CloseCode> {
    match error {
        tungstenite::Error::Capacity(_) => Some(CloseCode::Size),
        tungstenite::Error::Utf8(_) => Some(CloseCode::Invalid),
        tungstenite::Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        tungstenite::Error::Protocol(_) => Some(CloseCode::Protocol),
        _ => None,
    }
}

/// When to reconnect, if the reason says so.
fn hint_in(reason: &str) -> Option<Duration> {
    let (_, hint) = reason.rsplit_once(HINT_WORDS)?;
    let milliseconds = hint.strip_suffix(" ms")?.parse().ok()?;
    Some(Duration::from_millis(milliseconds)).filter(|hint| *hint <= HINT_MAX)
}

/// A user's name as a path segment.
fn encoded(user: &str) -> String {
    use std::fmt::Write as _;
    user.bytes().fold(String::new(), |mut path, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(byte.into());
        } else {
            // Writing to a string cannot fail.
            let _ = write!(path, "%{byte:02X}");
        }
        path
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_valid_hints_are_used() {
        assert_eq!(hint_in("4001 Server Rebalancing; retry in 5200 ms"), Some(Duration::from_millis(5200)));
        for none in
            ["4001 Server Rebalancing", "x; retry in soon ms", "x; retry in 5", "x; retry in 9999999999 ms"]
        {
            assert_eq!(hint_in(none), None, "{none}");
        }
    }

    #[test]
    fn names_are_encoded() {
        assert_eq!(encoded("user-1"), "user-1");
        assert_eq!(encoded("a/b ö?"), "a%2Fb%20%C3%B6%3F");
    }
}
