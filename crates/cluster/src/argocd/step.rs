//! Progress reports of long operations, and their cancellation.

use std::{ops::ControlFlow, pin::pin, time::Duration};

use platform::TargetError;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::mpsc;

use super::results::{Put, ResourceName};

/// How often the caller can cancel.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// Steps that wait for a slow reader; when the queue is full, the work waits too.
const QUEUE: usize = 256;

/// One step of the work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Step {
    /// Nothing has happened for a moment; a chance to break off.
    #[serde(skip)]
    Waiting,
    /// This is being done, or waited for.
    Doing { what: String },
    /// Something that the user should know.
    Note { text: String },
    /// An object is up to date.
    Put(Put),
    /// Argo CD has applied, deleted or refused an object.
    Resource {
        application: String,
        #[serde(flatten)]
        resource: ResourceName,
        /// The sync wave, if Argo CD says it.
        wave: Option<i64>,
        /// `Synced`, `SyncFailed`, `Pruned`, `PruneSkipped`, or the phase of a hook.
        result: String,
        message: String,
    },
}

/// Receives the steps, and may cancel.
pub type OnStep<'a> = dyn FnMut(&Step) -> ControlFlow<()> + 'a;

/// Where an operation reports its steps.
#[derive(Debug, Clone)]
pub(crate) struct Tell(mpsc::Sender<Step>);

impl Tell {
    pub(crate) async fn step(&self, step: Step) {
        // The receiver exists as long as the operation.
        let _ = self.0.send(step).await;
    }

    pub(crate) async fn doing(&self, what: impl Into<String>) {
        self.step(Step::Doing { what: what.into() }).await;
    }

    /// The same without waiting for a slow reader, who misses it.
    pub(crate) fn doing_now(&self, what: String) {
        let _ = self.0.try_send(Step::Doing { what });
    }

    pub(crate) async fn note(&self, text: impl Into<String>) {
        self.step(Step::Note { text: text.into() }).await;
    }
}

/// Runs the operation and passes its steps on until it is done or cancelled.
pub(crate) async fn attended<T>(
    on_step: &mut OnStep<'_>,
    work: impl AsyncFnOnce(Tell) -> Result<T, TargetError>,
) -> Result<T, TargetError> {
    let (sender, mut steps) = mpsc::channel(QUEUE);
    let mut work = pin!(work(Tell(sender)));
    loop {
        let step = tokio::select! {
            biased;
            Some(step) = steps.recv() => step,
            answer = &mut work => {
                while let Ok(step) = steps.try_recv() {
                    // The operation is done, so there is nothing left to cancel.
                    let _ = on_step(&step);
                }
                return answer;
            }
            () = tokio::time::sleep(ASK_EVERY) => Step::Waiting,
        };
        if on_step(&step).is_break() {
            return Err(TargetError::Interrupted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(
        on_step: &mut OnStep<'_>,
        work: impl AsyncFnOnce(Tell) -> Result<T, TargetError>,
    ) -> Result<T, TargetError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(attended(on_step, work))
    }

    #[test]
    fn every_step_arrives_in_order_even_if_there_are_more_than_the_queue_holds() {
        let mut seen = Vec::new();
        let mut on_step = |step: &Step| {
            seen.push(step.clone());
            ControlFlow::Continue(())
        };
        let outcome = run(&mut on_step, async |tell: Tell| {
            for number in 0..QUEUE * 3 {
                tell.note(number.to_string()).await;
            }
            Ok(7)
        });
        assert_eq!(outcome, Ok(7));
        let notes = seen.iter().filter_map(|step| match step {
            Step::Note { text } => Some(text.parse::<usize>().unwrap()),
            _ => None,
        });
        assert!(notes.eq(0..QUEUE * 3));
    }

    #[test]
    fn work_that_never_ends_can_be_broken_off() {
        let mut on_step = |step: &Step| match step {
            Step::Waiting => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        let outcome: Result<(), _> = run(&mut on_step, async |_| std::future::pending().await);
        assert_eq!(outcome, Err(TargetError::Interrupted));
    }
}
