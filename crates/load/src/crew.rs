//! The workers of a run, wherever they are.

use std::sync::mpsc;

use crate::{
    commanders::Commanders,
    control::Control,
    error::LoadError,
    messages::{Report, Spec},
};

/// Maximum number of queued reports. If nobody reads them, workers continue measuring and report later.
pub(crate) const REPORTS_QUEUED: usize = 256;

/// Where a load is made.
pub(crate) trait Place {
    /// The number of workers there.
    fn workers(&self) -> u32;
    /// Starts them. `spec`'s worker number is replaced. `identify`: `None` leaves it to the target's answer.
    fn start(&self, spec: Spec, identify: Option<bool>, control: &Control) -> Result<Crew, LoadError>;
}

/// The workers of a run. Dropping them stops them at once and waits for them.
pub(crate) trait Workers {
    fn commanders(&self) -> Commanders;
}

/// The running workers, and what they report. Dropping it stops them at once and waits for them.
pub(crate) struct Crew {
    // Dropped first, so that no worker waits for room in a channel that nobody reads.
    reports: mpsc::Receiver<(u32, Report)>,
    _workers: Box<dyn Workers>,
    commanders: Commanders,
}

impl Crew {
    pub(crate) fn new(workers: impl Workers + 'static, reports: mpsc::Receiver<(u32, Report)>) -> Self {
        Self { reports, commanders: workers.commanders(), _workers: Box::new(workers) }
    }

    pub(crate) fn commanders(&self) -> &Commanders {
        &self.commanders
    }

    /// The next report of any worker; `None`: all have ended.
    pub(crate) fn next_report(&self) -> Option<(u32, Report)> {
        self.reports.recv().ok()
    }
}
