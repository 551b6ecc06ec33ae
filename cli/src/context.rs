//! The context of every command.

use platform::exit;

use crate::{
    failure::{Failure, Outcome},
    interrupt::Interrupt,
    options::Global,
    printer::Printer,
};

/// The options common to all commands, and the command's output.
pub(crate) struct Context {
    pub global: Global,
    pub printer: Printer,
    pub interrupt: Interrupt,
}

impl Context {
    /// The outcome of a command that runs until it is stopped, or until nobody reads its output.
    pub(crate) fn ended(&self) -> Outcome {
        if self.interrupt.is_set() {
            Err(Failure::stopped())
        } else if self.printer.closed() {
            Ok(exit::UNREAD)
        } else {
            Ok(exit::DONE)
        }
    }
}
