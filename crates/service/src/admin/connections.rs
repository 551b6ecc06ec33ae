//! The connections of the admin port, bounded so that a probe is always answered.
//!
//! Anyone who can reach the port may connect and then send nothing, read nothing, or never stop requesting. So a
//! connection serves one request, a stalled connection is closed, and when there are too many, the one that has been
//! stalled longest makes room. A probe is always newer than those.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::listen;

/// Enough for a scraper, a probe and a few people.
pub(super) const CONNECTIONS_MAX: usize = 128;
/// A connection is closed if no byte moves for this long, or if its request takes this long to arrive.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often to look for idle connections.
const IDLE_CHECK: Duration = Duration::from_secs(1);
/// When descriptors run out, accepting is retried after this.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Maximum length of a request's head.
const REQUEST_BYTES_MAX: usize = 16 * 1024;

/// Answers one request.
pub(super) async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
    router: Router,
) -> hyper::Result<()> {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .max_buf_size(REQUEST_BYTES_MAX)
        // A client that sends another request must reconnect, behind the others.
        .keep_alive(false);
    http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await
}

/// Serves forever.
pub(super) async fn serve(listener: TcpListener, router: Router) {
    let mut table = Table::new();
    let mut idle_check = tokio::time::interval(IDLE_CHECK);
    let mut shortage_told = false;
    loop {
        let accepted = tokio::select! {
            biased;
            Some(ended) = table.tasks.join_next_with_id() => {
                table.ended(match ended {
                    Ok((id, ())) => id,
                    Err(error) => error.id(),
                });
                continue;
            }
            _ = idle_check.tick() => {
                table.give_up_idle();
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                shortage_told = false;
                table.make_room();
                table.spawn(stream, router.clone());
                // Answer pending requests before accepting more connections.
                tokio::task::yield_now().await;
            }
            Err(error) => {
                if !std::mem::replace(&mut shortage_told, true) {
                    warn!(%error, "the admin port cannot accept a connection");
                }
                table.give_up_longest_idle();
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// All open connections.
struct Table {
    started: Instant,
    tasks: JoinSet<()>,
    /// By task; without connections that were given up.
    slots: HashMap<Id, Slot>,
}

struct Slot {
    task: AbortHandle,
    /// When a byte last moved: milliseconds since the table was created.
    moved_ms: Arc<AtomicU64>,
}

impl Table {
    fn new() -> Self {
        Self { started: clock::runtime_now(), tasks: JoinSet::new(), slots: HashMap::new() }
    }

    fn spawn(&mut self, stream: TcpStream, router: Router) {
        let now_ms = self.started.elapsed().as_millis() as u64;
        let moved_ms = Arc::new(AtomicU64::new(now_ms));
        let watched =
            Watched { stream, started: self.started, moved_ms: Arc::clone(&moved_ms), was_shut: false };
        let task = self.tasks.spawn(async move {
            if let Err(error) = answer(watched, router).await {
                debug!(%error, "a client of the admin port is gone");
            }
        });
        self.slots.insert(task.id(), Slot { task, moved_ms });
    }

    fn ended(&mut self, id: Id) {
        self.slots.remove(&id);
    }

    fn make_room(&mut self) {
        if self.slots.len() >= CONNECTIONS_MAX {
            self.give_up_longest_idle();
        }
    }

    fn give_up_longest_idle(&mut self) {
        let longest = self.slots.iter().min_by_key(|(_, slot)| slot.moved_ms.load(Ordering::Relaxed));
        if let Some(slot) = longest.map(|(id, _)| *id).and_then(|id| self.slots.remove(&id)) {
            slot.task.abort();
        }
    }

    fn give_up_idle(&mut self) {
        let now_ms = self.started.elapsed().as_millis() as u64;
        self.slots.retain(|_, slot| {
            let idle_ms = now_ms.saturating_sub(slot.moved_ms.load(Ordering::Relaxed));
            let keeps = u128::from(idle_ms) < IDLE_TIMEOUT.as_millis();
            if !keeps {
                slot.task.abort();
            }
            keeps
        });
    }
}

/// A connection that records when bytes move, and is reset if it ends before its answer was sent.
struct Watched {
    stream: TcpStream,
    started: Instant,
    moved_ms: Arc<AtomicU64>,
    was_shut: bool,
}

impl Watched {
    fn moved(&self) {
        self.moved_ms.store(self.started.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    fn wrote(&self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(1..)) = outcome {
            self.moved();
        }
        outcome
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.was_shut {
            listen::give_up_after(&self.stream, IDLE_TIMEOUT);
        } else {
            listen::reset_on_close(&self.stream);
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.moved();
        }
        outcome
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.wrote(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.was_shut = true;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
