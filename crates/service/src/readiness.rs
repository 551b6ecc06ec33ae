//! The content of `/readyz`: whether new work may come, and what works only partly.
//!
//! A server starts as not ready, becomes ready once, and is not ready again from the start of its drain. Being
//! *degraded* is different: a backend is down, and the server stays ready and serves what it can. The body of `/readyz`
//! says so for people who look.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::timeout_at;
use tracing::{debug, info, warn};

/// How long readiness waits for news about the backends.
const READY_WITHOUT_AFTER: Duration = Duration::from_secs(2);

/// A part of a service, and the signal that its backend was reached or not.
pub type Awaited = (&'static str, oneshot::Receiver<()>);

/// Whether a server accepts new work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Starting,
    Ready,
    Draining,
}

#[derive(Debug)]
struct Inner {
    state: State,
    degraded: BTreeMap<&'static str, String>,
}

/// A shared handle; clones refer to the same server.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<Mutex<Inner>>);

impl Readiness {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Inner { state: State::Starting, degraded: BTreeMap::new() })))
    }

    /// New work may come. Does nothing once the drain has started. Also releases memory that only the start needed.
    pub fn ready(&self) {
        if self.state() == State::Starting
            && let Err(error) = footprint::give_back_startup_pages()
        {
            debug!(%error, "the start's memory is kept");
        }
        let mut inner = self.0.lock();
        if inner.state == State::Starting {
            inner.state = State::Ready;
        }
    }

    /// Becomes ready when every backend has been tried once, or after two seconds.
    pub async fn ready_after(&self, awaited: Vec<Awaited>) {
        let deadline = clock::runtime_now() + READY_WITHOUT_AFTER;
        for (part, word) in awaited {
            if timeout_at(deadline, word).await.is_err() {
                warn!(part, "no longer waiting for it");
                self.degrade(part, "no answer yet");
            }
        }
        self.ready();
        info!("ready");
    }

    /// No new work from now on.
    pub fn draining(&self) {
        self.0.lock().state = State::Draining;
    }

    pub fn state(&self) -> State {
        self.0.lock().state
    }

    pub fn is_ready(&self) -> bool {
        self.state() == State::Ready
    }

    /// Notes that `part` works only partly or not at all, and why. Returns whether that is news.
    pub fn degrade(&self, part: &'static str, reason: impl Into<String>) -> bool {
        self.0.lock().degraded.insert(part, reason.into()).is_none()
    }

    /// Notes that `part` works again. Returns whether that is news.
    pub fn restore(&self, part: &'static str) -> bool {
        self.0.lock().degraded.remove(part).is_some()
    }

    /// The state and the degraded parts as text: `ready` (or `starting`, `draining`), then one line
    /// `degraded: PART: REASON` for each part.
    pub fn describe(&self) -> String {
        let inner = self.0.lock();
        let mut text = match inner.state {
            State::Starting => "starting\n",
            State::Ready => "ready\n",
            State::Draining => "draining\n",
        }
        .to_owned();
        for (part, reason) in &inner.degraded {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "degraded: {part}: {reason}");
        }
        text
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_is_final() {
        let readiness = Readiness::new();
        assert!(!readiness.is_ready());
        readiness.ready();
        assert!(readiness.is_ready());
        readiness.draining();
        readiness.ready();
        assert_eq!(readiness.state(), State::Draining);
    }

    #[tokio::test]
    async fn a_server_is_ready_when_its_backends_have_answered() {
        let readiness = Readiness::new();
        let (said, word) = oneshot::channel();
        let waiting = tokio::spawn({
            let readiness = readiness.clone();
            async move { readiness.ready_after(vec![("cache", word)]).await }
        });
        tokio::task::yield_now().await;
        assert!(!readiness.is_ready());
        said.send(()).unwrap();
        waiting.await.unwrap();
        assert_eq!(readiness.describe(), "ready\n");
    }

    #[test]
    fn degraded_parts_are_described_and_keep_readiness() {
        let readiness = Readiness::new();
        readiness.ready();
        assert!(readiness.degrade("broadcast", "no broker reachable"));
        assert!(!readiness.degrade("broadcast", "still none"));
        assert!(readiness.is_ready());
        assert_eq!(readiness.describe(), "ready\ndegraded: broadcast: still none\n");
        assert!(readiness.restore("broadcast"));
        assert!(!readiness.restore("broadcast"));
        assert_eq!(readiness.describe(), "ready\n");
    }
}
