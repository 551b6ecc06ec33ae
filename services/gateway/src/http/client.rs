//! One client's connection as HTTP uses it: whether it may be closed in an orderly way, and when data last moved on it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::stats::Stats;

/// What requests know about their connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: SocketAddr,
    /// There was a request.
    was_asked: AtomicBool,
    /// An answer has begun but not ended: if closed now, the connection must not look complete.
    is_answering: AtomicBool,
    since: Instant,
    /// When something was last read or written, in milliseconds from then.
    moved_ms: AtomicU64,
}

impl Link {
    pub(super) fn asked(&self) {
        self.was_asked.store(true, Ordering::Relaxed);
    }

    pub(super) fn was_asked(&self) -> bool {
        self.was_asked.load(Ordering::Relaxed)
    }

    pub(super) fn answer_begins(&self) {
        self.is_answering.store(true, Ordering::Relaxed);
    }

    pub(super) fn answer_ended(&self) {
        self.is_answering.store(false, Ordering::Relaxed);
    }

    /// Waits until nothing has moved for this long; forever without a limit.
    pub(super) async fn silent_for(&self, timeout: Option<Duration>) {
        let Some(timeout) = timeout else { return std::future::pending().await };
        loop {
            let moved = self.since + Duration::from_millis(self.moved_ms.load(Ordering::Relaxed));
            if moved + timeout <= clock::runtime_now() {
                return;
            }
            tokio::time::sleep_until(moved + timeout).await;
        }
    }

    fn moved(&self) {
        let elapsed = clock::runtime_now().saturating_duration_since(self.since);
        self.moved_ms.store(elapsed.as_millis() as u64, Ordering::Relaxed);
    }
}

/// The connection itself. Counted from start to end, and reset if it ends within an answer.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    link: Arc<Link>,
    stats: Arc<Stats>,
    _place: OwnedSemaphorePermit,
}

impl Wire {
    pub(super) fn new(
        stream: TcpStream,
        peer: SocketAddr,
        place: OwnedSemaphorePermit,
        stats: Arc<Stats>,
    ) -> (Self, Arc<Link>) {
        stats.connection_opened();
        let link = Arc::new(Link {
            peer,
            was_asked: AtomicBool::new(false),
            is_answering: AtomicBool::new(false),
            since: clock::runtime_now(),
            moved_ms: AtomicU64::new(0),
        });
        (Self { stream, link: Arc::clone(&link), stats, _place: place }, link)
    }

    fn note<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match &polled {
            Poll::Ready(Ok(_)) => self.link.moved(),
            // The kernel's verdict about a peer that reads nothing or vanished.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                self.stats.timed_out.increment();
            }
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
                self.stats.reset.increment();
            }
            _ => {}
        }
        polled
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.link.is_answering.load(Ordering::Relaxed) {
            service::listen::reset_on_close(&self.stream);
        }
        self.stats.connection_closed();
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.note(polled)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.link.is_answering.load(Ordering::Relaxed) {
            // An orderly end would be the last thing the client sees before the reset.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
