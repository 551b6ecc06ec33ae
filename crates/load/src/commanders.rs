//! Sends commands to the workers of a run, wherever they are.

use std::sync::Arc;

use crate::messages::Command;

/// Takes commands to workers, from any thread.
pub(crate) trait Tell: Send + Sync {
    fn tell(&self, command: &Command);
}

/// All workers; may be used from any thread.
#[derive(Clone)]
pub(crate) struct Commanders(Arc<dyn Tell>);

impl Commanders {
    pub(crate) fn new(all: impl Tell + 'static) -> Self {
        Self(Arc::new(all))
    }

    pub(crate) fn tell(&self, command: &Command) {
        self.0.tell(command);
    }
}
