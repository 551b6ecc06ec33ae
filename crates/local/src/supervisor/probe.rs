//! Readiness probes: one task per started process, which tells changes only.

use std::{net::SocketAddr, time::Duration};

use platform::values::Probe;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    time::{Instant, sleep},
};
use uuid::Uuid;

use super::{Message, ProcessKey};
use crate::http;

/// While a process starts it is asked often: a probe on loopback costs microseconds and nobody wants to wait for the
/// next full period. After [`FAST_FOR`] the probe's own period counts.
const FAST: Duration = Duration::from_millis(10);
const FAST_FOR: Duration = Duration::from_secs(5);
/// For the question after a server's own UUID.
const IDENTITY_TIMEOUT: Duration = Duration::from_millis(500);

/// What a probe found out.
#[derive(Debug)]
pub(crate) enum Found {
    Ready {
        /// The server's own UUID, if it says one.
        server_id: Option<Uuid>,
    },
    /// The probe failed as often as it may; in words.
    Unready(String),
}

/// Probes until nobody listens any more.
pub(crate) async fn run(
    key: ProcessKey,
    admin: SocketAddr,
    clients: Option<SocketAddr>,
    probe: Probe,
    found: mpsc::Sender<Message>,
) {
    let started = Instant::now();
    let (mut ready, mut successes, mut failures) = (false, 0, 0);
    loop {
        let outcome = look(admin, &probe).await;
        let news = match outcome {
            Ok(()) => {
                (successes, failures) = (successes + 1, 0);
                (!ready && successes >= probe.success_threshold).then_some(None)
            }
            Err(why) => {
                (successes, failures) = (0, failures + 1);
                (ready && failures >= probe.failure_threshold).then_some(Some(why))
            }
        };
        if let Some(failed) = news {
            ready = failed.is_none();
            let found_now = match failed {
                None => {
                    let server_id = match clients {
                        Some(address) => identity(address).await,
                        None => None,
                    };
                    Found::Ready { server_id }
                }
                Some(why) => Found::Unready(why),
            };
            if found.send(Message::Probed { key, found: found_now }).await.is_err() {
                return;
            }
        }
        let starting = !ready && started.elapsed() < FAST_FOR;
        sleep(if starting { FAST } else { probe.period }).await;
    }
}

async fn look(admin: SocketAddr, probe: &Probe) -> Result<(), String> {
    match http::get(admin, &probe.path, probe.timeout).await {
        Ok(answer) if (200..400).contains(&answer.status) => Ok(()),
        Ok(answer) => {
            let first_line = answer.body.lines().next().unwrap_or_default();
            Err(format!("{} answered {} {first_line}", probe.path, answer.status).trim_end().to_owned())
        }
        Err(error) => Err(format!("{}: {error}", probe.path)),
    }
}

/// Asks a server for its UUID with the command `WHERE`; a service that does not know it says nothing or something
/// else.
async fn identity(address: SocketAddr) -> Option<Uuid> {
    let ask = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(b"WHERE").await.ok()?;
        let mut answer = [0; 36];
        stream.read_exact(&mut answer).await.ok()?;
        Uuid::try_parse_ascii(&answer).ok()
    };
    tokio::time::timeout(IDENTITY_TIMEOUT, ask).await.ok().flatten()
}
