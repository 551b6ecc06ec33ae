//! The child's side of "children die with the supervisor".
//!
//! Our own services call [`bind_to_parent`] first of all. A foreign program is started through [`Wrapped`], which does
//! the same and then becomes that program: the parent-death signal outlives an `exec`.
//!
//! The child itself must ask for the kernel's parent-death signal: doing so in the parent, between fork and exec, would
//! need unsafe code. The parent may die between the child's start and its request, hence the second check of the
//! parent.

use std::{
    convert::Infallible,
    ffi::OsString,
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::PathBuf,
    process::Command,
};

use ::platform::values::Protocol;
use rustix::{
    io::{FdFlags, fcntl_setfd},
    process::{Resource, Rlimit, Signal, getppid, getrlimit, set_parent_process_death_signal, setrlimit},
};
use service::handover;

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

/// Makes this process end (SIGKILL) when the supervisor that started it does; does nothing without [`PARENT_VARIABLE`]
/// in the environment. Call this first of all, before other threads exist.
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

/// The command of this program that becomes another program; what follows is for [`Wrapped`].
pub const WRAPPER_COMMAND: &str = "run-child";
/// Prefix of the variables that tell a wrapped program the descriptors of its listeners, numbered from 0.
pub(crate) const LISTENER_VARIABLE: &str = "LISTENER_";

/// A program that is not ours, started as if it were.
#[derive(Debug)]
pub struct Wrapped {
    /// Its working directory.
    pub directory: Option<PathBuf>,
    /// Takes listeners from standard input, and passes their descriptors in `LISTENER_0`, `LISTENER_1`….
    pub listeners: bool,
    pub program: OsString,
    pub arguments: Vec<OsString>,
}

impl Wrapped {
    /// Becomes the program; returns only if that fails. Call it before other threads exist.
    pub fn exec(self) -> io::Result<Infallible> {
        bind_to_parent().map_err(io::Error::other)?;
        raise_open_files()?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        // They must live until the exec, and are closed only if it fails.
        let listeners: Vec<OwnedFd> =
            if self.listeners { handover::receive(io::stdin(), Protocol::Tcp)? } else { Vec::new() };
        for (index, listener) in listeners.iter().enumerate() {
            fcntl_setfd(listener, FdFlags::empty())?;
            command.env(format!("{LISTENER_VARIABLE}{index}"), listener.as_raw_fd().to_string());
        }
        let error = command.exec();
        Err(io::Error::new(error.kind(), format!("cannot run {}: {error}", self.program.display())))
    }
}

/// As many open files as are allowed; our own services do the same.
fn raise_open_files() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(())
}
