//! What is shown: the story so far, and the number of its latest news.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use platform::Event;
use report::Story;
use tokio::sync::watch;

/// How often the story is written out at most.
const WRITE_EVERY: Duration = Duration::from_millis(500);

/// See the module. Clones share the story.
#[derive(Clone)]
pub struct Stage {
    shared: Arc<Shared>,
}

struct Shared {
    story: Mutex<Story>,
    written: Mutex<Option<Written>>,
    /// Grows with every event.
    news: watch::Sender<u64>,
}

struct Written {
    at: Instant,
    news: u64,
    json: Bytes,
}

impl Stage {
    /// `story`: what is known already.
    pub fn new(story: Story) -> Self {
        let shared =
            Shared { story: Mutex::new(story), written: Mutex::default(), news: watch::Sender::new(1) };
        Self { shared: Arc::new(shared) }
    }

    /// The next event.
    pub fn push(&self, event: &Event) {
        self.shared.story.lock().push(event);
        self.tell();
    }

    /// What a reader should know about the run as such.
    pub fn note(&self, note: &str) {
        self.shared.story.lock().note(note);
        self.tell();
    }

    fn tell(&self) {
        self.shared.news.send_modify(|news| *news += 1);
    }

    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.shared.news.subscribe()
    }

    /// The story, with all that was known when it was asked for, and the number of its latest news. It is written out at
    /// most every [`WRITE_EVERY`]; requests in between wait.
    pub(crate) async fn written(&self) -> serde_json::Result<(u64, Bytes)> {
        let wanted = *self.shared.news.borrow();
        loop {
            let wait = match self.at_least(wanted)? {
                Ok(written) => return Ok(written),
                Err(wait) => wait,
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// `Err`: how long until it may be written out again.
    fn at_least(&self, wanted: u64) -> serde_json::Result<Result<(u64, Bytes), Duration>> {
        let mut written = self.shared.written.lock();
        if let Some(Written { at, news, json }) = written.as_ref() {
            if *news >= wanted {
                return Ok(Ok((*news, json.clone())));
            }
            let wait = WRITE_EVERY.saturating_sub(at.elapsed());
            if !wait.is_zero() {
                return Ok(Err(wait));
            }
        }
        // Before the story is read: it may have more than it is said to have, never less.
        let news = *self.shared.news.borrow();
        let json = Bytes::from(report::data(&self.shared.story.lock(), None)?);
        *written = Some(Written { at: clock::now(), news, json: json.clone() });
        Ok(Ok((news, json)))
    }
}
