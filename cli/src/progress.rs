//! Shows the current wait while it lasts: one live line on a terminal, plain lines elsewhere.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;

/// Without a terminal, a changed message is written at most this often.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// The live line. Methods may be called from any thread.
pub(crate) struct Progress {
    bar: ProgressBar,
    plain: Option<Mutex<Plain>>,
}

#[derive(Default)]
struct Plain {
    printed: Option<Instant>,
    stage: String,
}

impl Progress {
    /// `enabled`: false shows nothing at all.
    pub(crate) fn new(enabled: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        let target =
            if enabled && terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        bar.set_style(
            ProgressStyle::with_template("{spinner} {wide_msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        // There is no line until there is something to wait for.
        bar.finish_and_clear();
        Self { bar, plain: (enabled && !terminal).then(Mutex::default) }
    }

    /// Whether there is a line that can be replaced in place.
    pub(crate) fn is_live(&self) -> bool {
        !self.bar.is_hidden()
    }

    /// Shows `detail` of `stage`. On a terminal, replaces the line; elsewhere, writes a line when the stage changes and
    /// then every ten seconds.
    pub(crate) fn show(&self, stage: &str, detail: &str) {
        let detail = report::visible(detail);
        if let Some(plain) = &self.plain {
            let mut plain = plain.lock();
            let due = plain.printed.is_none_or(|at| at.elapsed() >= PLAIN_INTERVAL);
            if due || plain.stage != stage {
                plain.printed = Some(clock::now());
                stage.clone_into(&mut plain.stage);
                let _ = writeln!(io::stderr().lock(), "… {detail}");
            }
        } else {
            if self.bar.is_finished() {
                self.bar.reset();
            }
            self.bar.set_message(detail.into_owned());
            self.bar.tick();
        }
    }

    /// Removes the live line.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// Runs `print` with the live line out of the way.
    pub(crate) fn suspend<R>(&self, print: impl FnOnce() -> R) -> R {
        self.bar.suspend(print)
    }
}
