//! One session: echoes messages, answers and sends pings, closes on orders.

use std::borrow::Cow;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use service::web::Reset;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};

use crate::clock::Clock;
use crate::metrics::{Ended, Metrics};
use crate::sessions::{Admitted, Order, Session};

/// A client's connection after the upgrade.
pub(crate) type WebSocket = WebSocketStream<TokioIo<Upgraded>>;

/// The close code of a session that should reconnect elsewhere.
const REBALANCE_CODE: CloseCode = CloseCode::Library(4001);
const REBALANCE_REASON: &str = "Server Rebalancing";
const FULL_REASON: &str = "Maximum connections per host reached";

/// A close reason has room for 123 bytes; the hint when to reconnect takes at most 40 of them.
const REASON_BYTES_MAX: usize = 80;
/// How long a peer may take to answer a close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a session needs from the service.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) clock: Clock,
    pub(crate) write_timeout: Duration,
    /// When clients should reconnect. Sent only if they asked for it ([`crate::routes::RETRY_HINT`]).
    pub(crate) retry_after: Option<Duration>,
}

/// Serves a session until it has ended.
pub(crate) async fn serve(
    mut socket: WebSocket,
    admitted: Admitted,
    rules: Rules,
    reset: Reset,
    metrics: &Metrics,
) -> Ended {
    let session = &*admitted.session;
    loop {
        // A session that is always busy must receive orders too.
        let next = tokio::select! {
            biased;
            () = session.woken() => None,
            message = socket.next() => Some(message),
        };
        let Some(message) = next else {
            match attend(&mut socket, session, &rules).await {
                Attended::Goes => {}
                Attended::Ends(ended) => return ended,
                Attended::Stalls => return stalled(&reset),
            }
            continue;
        };
        match message {
            Some(Ok(Message::Text(text))) => {
                session.is_active(rules.clock.now_ms());
                metrics.messages.inc();
                if !send(&mut socket, Message::Text(text), &rules).await {
                    return stalled(&reset);
                }
            }
            // The library has answered it.
            Some(Ok(Message::Ping(_))) => session.is_active(rules.clock.now_ms()),
            Some(Ok(Message::Pong(_))) => session.is_alive(rules.clock.now_ms()),
            Some(Ok(Message::Binary(_))) => {
                close(&mut socket, CloseCode::Unsupported, "Only text messages", &rules).await;
                return Ended::Refused;
            }
            Some(Ok(Message::Close(_))) => {
                // The library answers while it is polled to its end.
                finish(&mut socket).await;
                return Ended::Client;
            }
            // The library produces raw frames only for writing.
            Some(Ok(Message::Frame(_))) => {}
            Some(Err(error)) => {
                let Some((code, reason)) = fault(&error) else { return Ended::Client };
                fail(&mut socket, code, &reason, &rules).await;
                return Ended::Refused;
            }
            None => return Ended::Client,
        }
    }
}

/// How the client violated the protocol (RFC 6455, section 7.4.1); `None`: it is gone.
fn fault(error: &Error) -> Option<(CloseCode, Cow<'static, str>)> {
    match error {
        Error::Capacity(_) => Some((CloseCode::Size, "Message too long".into())),
        Error::Utf8(_) => Some((CloseCode::Invalid, "Text that is not UTF-8".into())),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(error) => Some((CloseCode::Protocol, clipped(error.to_string()).into())),
        _ => None,
    }
}

/// As much of a reason as fits into a close frame beside the hint when to reconnect.
fn clipped(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
    reason
}

/// Tells a client that there is no room.
pub(crate) async fn refuse(mut socket: WebSocket, rules: &Rules) {
    close(&mut socket, CloseCode::Again, FULL_REASON, rules).await;
}

enum Attended {
    Goes,
    Ends(Ended),
    Stalls,
}

/// Handles the session's wake-up.
async fn attend(socket: &mut WebSocket, session: &Session, rules: &Rules) -> Attended {
    match session.order() {
        Some(Order::Rebalance) => {
            close(socket, REBALANCE_CODE, REBALANCE_REASON, rules).await;
            Attended::Ends(Ended::Rebalanced)
        }
        Some(Order::ShutDown) => {
            close(socket, CloseCode::Away, "Server shutting down", rules).await;
            Attended::Ends(Ended::ShutDown)
        }
        Some(Order::Lost) => Attended::Stalls,
        None if session.takes_ping() => {
            if send(socket, Message::Ping(Bytes::new()), rules).await {
                Attended::Goes
            } else {
                Attended::Stalls
            }
        }
        None => Attended::Goes,
    }
}

/// Nothing can be said to a peer that does not read, and the kernel should not try.
fn stalled(reset: &Reset) -> Ended {
    reset.on_close();
    Ended::Lost
}

/// Returns whether the message was written in time.
async fn send(socket: &mut WebSocket, message: Message, rules: &Rules) -> bool {
    matches!(timeout(rules.write_timeout, socket.send(message)).await, Ok(Ok(())))
}

/// Closes and waits for the peer's answer.
async fn close(socket: &mut WebSocket, code: CloseCode, reason: &str, rules: &Rules) {
    if tell(socket, code, reason, rules).await {
        finish(socket).await;
    }
}

/// Returns whether the close was written in time.
async fn tell(socket: &mut WebSocket, code: CloseCode, reason: &str, rules: &Rules) -> bool {
    let reason = match rules.retry_after {
        Some(after) => format!("{reason}; retry in {} ms", after.as_millis()).into(),
        None => reason.into(),
    };
    send(socket, Message::Close(Some(CloseFrame { code, reason })), rules).await
}

/// Closes after input that cannot be parsed further. Reads and discards what the client sends meanwhile: with unread
/// bytes the kernel would reset the connection, and the client might never see why.
async fn fail(socket: &mut WebSocket, code: CloseCode, reason: &str, rules: &Rules) {
    if !tell(socket, code, reason, rules).await {
        return;
    }
    let stream = socket.get_mut();
    let rest = async {
        stream.shutdown().await?;
        tokio::io::copy(stream, &mut tokio::io::sink()).await
    };
    // A client that keeps sending is cut off.
    let _ = timeout(CLOSE_TIMEOUT, rest).await;
}

/// Reads until the closing handshake is over.
async fn finish(socket: &mut WebSocket) {
    let rest = async { while let Some(Ok(_)) = socket.next().await {} };
    // A client that does not answer is cut off.
    let _ = timeout(CLOSE_TIMEOUT, rest).await;
}
