//! The child's side of "children die with the supervisor".
//!
//! The kernel's parent-death signal must be asked for by the child itself: asking in the parent, between fork and
//! exec, would need unsafe code. Between the start of the child and its asking the parent may already be dead,
//! hence the second look at who the parent is.

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

/// Names the process whose end ends this one.
pub const PARENT_VARIABLE: &str = "PLAYCTL_PARENT_PID";

/// Why a process could not be bound to its supervisor.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("{PARENT_VARIABLE}={value:?}: expected the supervisor's process id")]
    BadValue { value: String },
    #[error("the supervisor (pid {parent}) is gone")]
    ParentGone { parent: i32 },
    #[error("cannot ask the kernel for the parent-death signal: {0}")]
    Refused(rustix::io::Errno),
}

/// Makes this process end (SIGKILL) when the supervisor that started it does; does nothing when none did, that is,
/// without [`PARENT_VARIABLE`] in the environment. To be called first of all, before other threads exist.
pub fn bind_to_parent() -> Result<(), BindError> {
    let Some(value) = std::env::var_os(PARENT_VARIABLE) else {
        return Ok(());
    };
    let parent: i32 = value
        .to_str()
        .and_then(|text| text.parse().ok())
        .filter(|pid| *pid > 0)
        .ok_or_else(|| BindError::BadValue { value: value.to_string_lossy().into_owned() })?;
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(BindError::Refused)?;
    if getppid().is_none_or(|found| found.as_raw_nonzero().get() != parent) {
        return Err(BindError::ParentGone { parent });
    }
    Ok(())
}
