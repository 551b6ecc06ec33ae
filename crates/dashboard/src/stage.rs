//! What the page shows: the story so far, the present state, and the number of the latest news.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use platform::Event;
use report::Story;
use tokio::sync::watch;

/// The minimum interval between two serializations of the story.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// See the module. Clones share the story.
#[derive(Clone)]
pub struct Stage {
    shared: Arc<Shared>,
}

struct Shared {
    story: Mutex<Story>,
    /// The present state beyond the story, as JSON.
    present: Mutex<Option<Box<serde_json::value::RawValue>>>,
    written: Mutex<Option<Written>>,
    /// Grows with every event.
    news: watch::Sender<u64>,
    /// When a page last asked for something.
    asked: Mutex<Instant>,
}

struct Written {
    at: Instant,
    news: u64,
    json: Bytes,
}

impl Stage {
    /// `story`: what is known so far.
    pub fn new(story: Story) -> Self {
        let shared = Shared {
            story: Mutex::new(story),
            present: Mutex::default(),
            written: Mutex::default(),
            news: watch::Sender::new(1),
            asked: Mutex::new(clock::now()),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Adds an event.
    pub fn push(&self, event: &Event) {
        self.shared.story.lock().push(event);
        self.tell();
    }

    /// Adds a note about the run as a whole.
    pub fn note(&self, note: &str) {
        self.shared.story.lock().note(note);
        self.tell();
    }

    /// Replaces the present state.
    ///
    /// # Errors
    /// The state cannot be serialized.
    pub fn set_present(&self, present: &impl serde::Serialize) -> serde_json::Result<()> {
        *self.shared.present.lock() = Some(serde_json::value::to_raw_value(present)?);
        self.tell();
        Ok(())
    }

    /// How long no page has been open and nothing has been requested.
    pub fn unseen_for(&self) -> Duration {
        if self.is_watched() { Duration::ZERO } else { self.shared.asked.lock().elapsed() }
    }

    /// Whether a page is open.
    pub fn is_watched(&self) -> bool {
        self.shared.news.receiver_count() > 0
    }

    pub(crate) fn asked(&self) {
        *self.shared.asked.lock() = clock::now();
    }

    fn tell(&self) {
        self.shared.news.send_modify(|news| *news += 1);
    }

    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.shared.news.subscribe()
    }

    /// The latest counts, as JSON.
    pub(crate) fn pulse(&self) -> serde_json::Result<String> {
        serde_json::to_string(&self.shared.story.lock().pulse())
    }

    /// The story with everything known when it was requested, and the number of its latest news. It is serialized at
    /// most once every [`WRITE_EVERY`]; requests in between wait.
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

    /// `Err`: how long until it may be serialized again.
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
        // The number is read before the story, so the story may have more than the number says, never less.
        let news = *self.shared.news.borrow();
        let present = self.shared.present.lock().clone();
        let json = Bytes::from(report::live_data(&self.shared.story.lock(), present.as_deref())?);
        *written = Some(Written { at: clock::now(), news, json: json.clone() });
        Ok(Ok((news, json)))
    }
}
