//! An API server that falls silent.

use std::time::{Duration, Instant};

/// After this long without a word the API server is asked whether it is there. Perhaps nothing happens; if it hangs, its
/// connections stay, and a watch gives one up much later.
const SILENT_AFTER: Duration = Duration::from_secs(15);

/// How long nothing has been heard of the API server, and whether that has been told.
#[derive(Debug)]
pub(super) struct Silence {
    heard: Instant,
    told: bool,
}

impl Silence {
    pub(super) fn new(now: Instant) -> Self {
        Self { heard: now, told: false }
    }

    /// How long it was silent, if that was told.
    pub(super) fn heard(&mut self, now: Instant) -> Option<Duration> {
        let silent = self.told.then(|| now.duration_since(self.heard));
        *self = Self::new(now);
        silent
    }

    /// It is time to ask.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        now.duration_since(self.heard) >= SILENT_AFTER
    }

    /// How long it has been silent, if that is news.
    pub(super) fn unanswered(&mut self, now: Instant) -> Option<Duration> {
        let is_news = self.is_due(now) && !self.told;
        self.told |= is_news;
        is_news.then(|| now.duration_since(self.heard))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_is_told_once_and_so_is_its_end() {
        let began = clock::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut silence = Silence::new(began);
        // A namespace in which nothing happens: it is asked, and answers.
        assert!(!silence.is_due(at(14)) && silence.is_due(at(15)));
        assert_eq!(silence.heard(at(16)), None);
        assert!(!silence.is_due(at(30)));
        assert_eq!(silence.unanswered(at(20)), None, "something else was heard meanwhile");

        assert_eq!(silence.unanswered(at(36)), Some(Duration::from_secs(20)));
        assert_eq!(silence.unanswered(at(37)), None, "it was told");
        assert!(silence.is_due(at(38)), "it is asked on");
        assert_eq!(silence.heard(at(46)), Some(Duration::from_secs(30)));
        assert_eq!(silence.heard(at(47)), None);
    }
}
