//! Exit codes of `playctl`, by cause. They are a contract: scripts depend on them.

/// Everything asked for was done.
pub const DONE: u8 = 0;
/// Something failed that has no code of its own.
pub const FAILED: u8 = 1;
/// The command line, a variable or a file is wrong; nothing was started.
pub const USAGE: u8 = 2;
/// The run finished, but an expectation of the scenario or the command line was not met.
pub const EXPECTATION_NOT_MET: u8 = 3;
/// The platform did not come up.
pub const BRING_UP_FAILED: u8 = 4;
/// The platform was taken down, but something of it is left.
pub const TEARDOWN_LEFT_SOMETHING: u8 = 5;
/// Interrupted by Ctrl-C or SIGTERM.
pub const INTERRUPTED: u8 = 130;
/// Cut off, because nobody reads standard output any more: 128 and SIGPIPE, as shells show for a program that a closed
/// pipe ends.
pub const UNREAD: u8 = 141;
