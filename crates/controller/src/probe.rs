//! Readiness: when a run is probed, and how its answers count.

use std::time::Duration;

use platform::values::Probe;

use crate::Time;

/// A starting instance is probed often: a probe on loopback costs microseconds, and nobody wants to wait for the
/// next full period. After [`FAST_FOR`] the probe's own period counts.
const FAST: Duration = Duration::from_millis(10);
const FAST_FOR: Duration = Duration::from_secs(5);

/// The interval of probes, and how many consecutive answers change the readiness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProbeSettings {
    pub(crate) period: Duration,
    pub(crate) timeout: Duration,
    pub(crate) failures: u32,
    pub(crate) successes: u32,
}

impl From<&Probe> for ProbeSettings {
    fn from(probe: &Probe) -> Self {
        Self {
            period: probe.period,
            timeout: probe.timeout,
            failures: probe.failure_threshold,
            successes: probe.success_threshold,
        }
    }
}

/// One run's probes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prober {
    began: Time,
    next: Next,
    ready: bool,
    successes: u32,
    failures: u32,
}

/// The next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// None: it has not begun.
    Idle,
    /// A probe, at this time.
    Probe(Time),
    /// The answer to the outstanding probe.
    Answer,
}

/// The change caused by an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    Ready,
    Unready,
}

impl Prober {
    /// A prober that is idle until [`begin`](Self::begin).
    pub(crate) fn idle(began: Time) -> Self {
        Self { began, next: Next::Idle, ready: false, successes: 0, failures: 0 }
    }

    /// The first probe is due at once.
    pub(crate) fn begin(&mut self, now: Time) {
        self.next = Next::Probe(now);
    }

    pub(crate) fn next_due(&self) -> Option<Time> {
        match self.next {
            Next::Probe(at) => Some(at),
            Next::Idle | Next::Answer => None,
        }
    }

    /// Whether to probe now; if so, the next probe waits for the answer.
    pub(crate) fn is_due(&mut self, now: Time) -> bool {
        let due = self.next_due().is_some_and(|at| at <= now);
        if due {
            self.next = Next::Answer;
        }
        due
    }

    /// Counts an answer and returns the change. As in Kubernetes, a threshold of consecutive successes makes it ready,
    /// and one of consecutive failures unready. An unexpected answer, such as a repeated one, does not count.
    pub(crate) fn answered(&mut self, success: bool, settings: ProbeSettings, now: Time) -> Option<News> {
        if self.next != Next::Answer {
            return None;
        }
        if success {
            (self.successes, self.failures) = (self.successes.saturating_add(1), 0);
        } else {
            (self.successes, self.failures) = (0, self.failures.saturating_add(1));
        }
        let news = if !self.ready && self.successes >= settings.successes.max(1) {
            Some(News::Ready)
        } else if self.ready && self.failures >= settings.failures.max(1) {
            Some(News::Unready)
        } else {
            None
        };
        self.ready = match news {
            Some(News::Ready) => true,
            Some(News::Unready) => false,
            None => self.ready,
        };
        let starting = !self.ready && now.since(self.began) < FAST_FOR;
        self.next = Next::Probe(now + if starting { FAST } else { settings.period });
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: ProbeSettings = ProbeSettings {
        period: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        failures: 3,
        successes: 2,
    };

    fn seconds(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_threshold_of_answers_in_a_row_changes_readiness() {
        let mut prober = Prober::idle(Time::ZERO);
        prober.begin(Time::ZERO);
        let mut answer = |success, at| {
            assert!(prober.is_due(seconds(at + 1)));
            prober.answered(success, SETTINGS, seconds(at))
        };
        assert_eq!(answer(true, 0), None);
        assert_eq!(answer(false, 0), None, "a failure restarts the count");
        assert_eq!(answer(true, 1), None);
        assert_eq!(answer(true, 2), Some(News::Ready));
        assert_eq!([answer(false, 3), answer(false, 4), answer(true, 5)], [None; 3]);
        assert_eq!([answer(false, 6), answer(false, 7)], [None; 2]);
        assert_eq!(answer(false, 8), Some(News::Unready));
        assert_eq!([answer(false, 9), answer(true, 10)], [None; 2]);
        assert_eq!(answer(true, 11), Some(News::Ready));
    }

    #[test]
    fn probes_do_not_overlap_and_are_frequent_during_the_start() {
        let mut prober = Prober::idle(Time::ZERO);
        assert!(!prober.is_due(seconds(1)), "it has not begun");
        prober.begin(seconds(1));
        assert!(prober.is_due(seconds(1)));
        assert!(!prober.is_due(seconds(60)), "the answer is still to come");
        prober.answered(false, SETTINGS, seconds(2));
        assert_eq!(prober.next_due(), Some(seconds(2) + FAST));
        assert!(prober.is_due(seconds(3)));
        prober.answered(false, SETTINGS, Time::from_nanos(4_999_999_999));
        assert!(prober.is_due(seconds(5) + FAST));
        prober.answered(false, SETTINGS, seconds(5));
        assert_eq!(prober.next_due(), Some(seconds(6)), "it takes long to start");
        assert!(prober.is_due(seconds(6)));
        prober.answered(false, SETTINGS, seconds(6));
        assert!(prober.is_due(seconds(7)));
        prober.answered(true, SETTINGS, seconds(7));
        assert!(prober.is_due(seconds(8)));
        prober.answered(true, SETTINGS, seconds(8));
        assert_eq!(prober.next_due(), Some(seconds(9)));
    }

    #[test]
    fn a_repeated_answer_counts_once() {
        let mut prober = Prober::idle(Time::ZERO);
        assert_eq!(prober.answered(true, SETTINGS, seconds(0)), None, "nothing was asked");
        assert_eq!(prober.next_due(), None);
        prober.begin(seconds(0));
        assert!(prober.is_due(seconds(0)));
        assert_eq!([(); 3].map(|()| prober.answered(true, SETTINGS, seconds(0))), [None; 3]);
        assert!(prober.is_due(seconds(1)));
        assert_eq!(prober.answered(true, SETTINGS, seconds(1)), Some(News::Ready));
    }
}
