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

    /// The story with the number of the news that it has; a moment old, perhaps.
    pub(crate) fn written(&self) -> serde_json::Result<(u64, Bytes)> {
        let mut written = self.shared.written.lock();
        let news = *self.shared.news.borrow();
        if let Some(known) =
            written.as_ref().filter(|known| known.news == news || known.at.elapsed() < WRITE_EVERY)
        {
            return Ok((known.news, known.json.clone()));
        }
        let json = Bytes::from(report::data(&self.shared.story.lock(), None)?);
        *written = Some(Written { at: clock::now(), news, json: json.clone() });
        Ok((news, json))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use platform::EventKind;
    use platform::event::{Source, Stamper};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_is_written_never_claims_news_that_it_lacks() {
        let stage = Stage::new(Story::new("x"));
        let mut stamper = Stamper::new(Uuid::nil(), Source::Local, Timestamp::UNIX_EPOCH);
        for number in 0..100 {
            let message = format!("warning {number}.");
            stage.push(&stamper.stamp(0, EventKind::Warning { message }));
            let (news, json) = stage.written().unwrap();
            let text = String::from_utf8(json.to_vec()).unwrap();
            assert_eq!(news as usize - 1, text.matches("\"warning ").count(), "one line for each");
        }
    }
}
