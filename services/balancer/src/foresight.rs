//! Whether the autoscaler is about to want fewer replicas.
//!
//! What it will do is known where it has recommended fewer and only its stabilization window still holds the number. A
//! recommendation counts once it has stood for two looks, so that one that comes and goes costs no writes.

use autoscale::explain::explain;
use platform::target::Case;

/// The recommendations of the last two looks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Foresight {
    before: Option<u32>,
}

impl Foresight {
    /// How many replicas will be wanted, if that is fewer; `case`: the autoscaler as it is now, if it can be seen.
    pub(crate) fn look(&mut self, case: Option<&Case>) -> Option<u32> {
        let now = case.and_then(fewer);
        let before = std::mem::replace(&mut self.before, now);
        // The careful one of the two: who leaves without need moves twice.
        Some(now?.max(before?))
    }
}

fn fewer(case: &Case) -> Option<u32> {
    let explanation = explain(case).ok()?;
    let goal = explanation.proposal?.max(explanation.min_replicas);
    u32::try_from(goal).ok().filter(|goal| i64::from(*goal) < i64::from(explanation.current))
}
