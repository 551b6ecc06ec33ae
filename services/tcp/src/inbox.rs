//! A worker's inbox, filled by other threads.
//!
//! Its two kinds of contents are bounded differently. Answers to the worker's own requests and control messages are
//! bounded by the number of requests; broadcasts have a bounded queue, and Kafka holds the rest.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mio::net::TcpStream;
use mio::{Poll, Token};
use parking_lot::Mutex;
use service::mailbox::Mailbox;
use tokio::sync::{Notify, oneshot};

use crate::request::Completion;

/// Maximum number of broadcasts queued for a worker.
const BROADCASTS_MAX: usize = 1024;

/// A message to a worker.
pub(crate) enum News {
    /// A connection handed over by the accepting worker.
    Connection(TcpStream, SocketAddr),
    /// A request of this worker is done.
    Done(Completion),
    /// No more connections will come: the drain's notices may start.
    AcceptingEnded,
    /// Tell this many connections to reconnect elsewhere; answers how many were told.
    Shed(u64, oneshot::Sender<u64>),
}

/// A broadcast ready to send: its bytes and one line end, shared by all clients of all workers.
#[derive(Debug, Clone)]
pub(crate) struct Broadcast(Arc<[u8]>);

impl Broadcast {
    /// Adds no line end if the value already has one.
    pub(crate) fn new(value: &[u8]) -> Self {
        let value = value.strip_suffix(b"\n").unwrap_or(value);
        let mut bytes = Vec::with_capacity(value.len() + 1);
        bytes.extend_from_slice(value);
        bytes.push(b'\n');
        Self(bytes.into())
    }

    /// The bytes for a client, with or without the line end.
    #[inline]
    pub(crate) fn bytes(&self, with_line_end: bool) -> &[u8] {
        if with_line_end { &self.0 } else { &self.0[..self.0.len() - 1] }
    }
}

/// The inbox of one worker.
pub(crate) struct Inbox {
    news: Mailbox<News>,
    broadcasts: Mutex<VecDeque<Broadcast>>,
    room: Notify,
}

impl Inbox {
    /// The inbox of the worker that polls `poll` and knows its waker as `token`.
    pub(crate) fn new(poll: &Poll, token: Token) -> io::Result<Self> {
        Ok(Self { news: Mailbox::new(poll, token)?, broadcasts: Mutex::default(), room: Notify::new() })
    }

    /// Wakes the worker, for instance to check the shutdown's phase.
    pub(crate) fn wake(&self) {
        self.news.wake();
    }

    pub(crate) fn tell(&self, news: News) {
        self.news.put(news);
    }

    /// Queues a broadcast; waits while too many are queued.
    pub(crate) async fn broadcast(&self, broadcast: Broadcast) {
        loop {
            let room = self.room.notified();
            {
                let mut waiting = self.broadcasts.lock();
                if waiting.len() < BROADCASTS_MAX {
                    waiting.push_back(broadcast);
                    let was_empty = waiting.len() == 1;
                    drop(waiting);
                    if was_empty {
                        self.wake();
                    }
                    return;
                }
            }
            room.await;
        }
    }

    /// Moves all messages into `news`, which must be empty.
    pub(crate) fn take(&self, news: &mut Vec<News>) {
        self.news.take(news);
    }

    /// Takes the next broadcast.
    pub(crate) fn next_broadcast(&self) -> Option<Broadcast> {
        let (next, left) = {
            let mut waiting = self.broadcasts.lock();
            (waiting.pop_front(), waiting.len())
        };
        if next.is_some() && left == BROADCASTS_MAX - 1 {
            self.room.notify_one();
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broadcast_ends_with_one_line_end_in_line_mode() {
        for value in [&b"hello"[..], b"hello\n"] {
            let broadcast = Broadcast::new(value);
            assert_eq!(broadcast.bytes(true), b"hello\n");
            assert_eq!(broadcast.bytes(false), b"hello");
        }
        assert_eq!(Broadcast::new(b"").bytes(false), b"");
    }

    #[tokio::test]
    async fn broadcasts_wait_for_room() {
        let poll = Poll::new().unwrap();
        let inbox = Arc::new(Inbox::new(&poll, Token(0)).unwrap());
        for _ in 0..BROADCASTS_MAX {
            inbox.broadcast(Broadcast::new(b"x")).await;
        }
        let one_more = tokio::spawn({
            let inbox = Arc::clone(&inbox);
            async move { inbox.broadcast(Broadcast::new(b"last")).await }
        });
        tokio::task::yield_now().await;
        assert!(!one_more.is_finished());
        assert!(inbox.next_broadcast().is_some());
        one_more.await.unwrap();
        let mut left = 0;
        while inbox.next_broadcast().is_some() {
            left += 1;
        }
        assert_eq!(left, BROADCASTS_MAX);
    }
}
