//! Sends commands to the workers of a run, wherever they are.

use std::sync::Arc;

use crate::{
    away::Caller,
    remote::Commander,
    worker::{Command, Commands},
};

/// All workers; may be used from any thread.
#[derive(Debug, Clone, Default)]
pub(crate) struct Commanders {
    pub(crate) threads: Vec<Arc<Commands>>,
    pub(crate) processes: Vec<Commander>,
    pub(crate) elsewhere: Option<Caller>,
}

impl Commanders {
    pub(crate) fn tell(&self, command: &Command) {
        self.threads.iter().for_each(|commands| commands.obey(command.clone()));
        self.processes.iter().for_each(|commander| commander.tell(command));
        self.elsewhere.iter().for_each(|caller| caller.tell(command));
    }
}
