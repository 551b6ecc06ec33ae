//! What every command gets.

use platform::exit;

use crate::{
    failure::{Failure, Outcome},
    interrupt::Interrupt,
    options::Global,
    printer::Printer,
};

/// The options that all commands share, and how a command talks to its user.
pub(crate) struct Context {
    pub global: Global,
    pub printer: Printer,
    pub interrupt: Interrupt,
}

impl Context {
    /// The outcome of a command that runs until nobody wants it any more.
    pub(crate) fn ended(&self) -> Outcome {
        if self.interrupt.is_set() { Err(Failure::interrupted()) } else { Ok(exit::DONE) }
    }
}
