//! Starts processes of the platform, and handles their output and end.

use std::{collections::BTreeMap, ffi::OsString, io, os::fd::OwnedFd, time::Duration};

use controller::{Exit, Input, RunId};
use tokio::sync::mpsc;

use super::{Message, environment::TO_FIND_US, output::Output, servers::Launch};
use crate::process::{self, Process, Spawner, Start};

/// How long to wait for the output of an ended process.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// This program, even if its file has been replaced or removed since (a build, an update): all processes of a platform
/// run the same program. The child resolves the path, and still is the supervisor's program then.
const SELF: &str = "/proc/self/exe";

#[derive(Debug)]
pub(crate) struct Starter {
    spawner: Spawner,
    output: Output,
    messages: mpsc::Sender<Message>,
    common: BTreeMap<OsString, OsString>,
}

/// A process to start, and the name of its log lines.
pub(crate) struct Named<'a> {
    pub(crate) run: RunId,
    pub(crate) service: &'a str,
    pub(crate) name: &'a str,
}

impl Starter {
    pub(crate) fn new(
        output: Output,
        messages: mpsc::Sender<Message>,
        common: BTreeMap<OsString, OsString>,
    ) -> io::Result<Self> {
        Ok(Self { spawner: Spawner::new()?, output, messages, common })
    }

    /// Starts `playctl serve SERVICE`.
    pub(crate) fn serve(
        &self,
        of: &Named<'_>,
        environment: impl IntoIterator<Item = (String, String)>,
        stdin: Option<OwnedFd>,
    ) -> io::Result<Process> {
        let arguments = vec!["serve".into(), of.service.into()];
        self.start(of, arguments, environment, stdin)
    }

    /// Starts `playctl dashboard`, which finds its listener on standard input; the returned future waits for its end.
    pub(crate) fn page(&self, listener: OwnedFd) -> io::Result<impl Future<Output = ()> + use<>> {
        let arguments = vec!["dashboard".into(), "--inherited".into()];
        let own = TO_FIND_US.iter().filter_map(|name| Some(((*name).into(), std::env::var_os(name)?)));
        let mut environment = self.common.clone();
        environment.extend(own);
        let start = Start { program: SELF.into(), arguments, environment, stdin: Some(listener) };
        let started = self.spawner.start(start)?;
        for pipe in [started.stdout, started.stderr].into_iter().flatten() {
            self.output.collect("page", "page", pipe);
        }
        Ok(async move {
            match started.ended.wait().await {
                Ok(status) if status.success() => {}
                Ok(status) => tracing::warn!(%status, "the process that serves the page has ended"),
                Err(error) => tracing::warn!(%error, "cannot wait for the process that serves the page"),
            }
        })
    }

    /// Starts a program that is not ours, through the wrapper that binds it to this process. `stdin`: the listeners
    /// lent to it.
    pub(crate) fn wrapped(
        &self,
        of: &Named<'_>,
        launch: Launch,
        stdin: Option<OwnedFd>,
    ) -> io::Result<Process> {
        let environment = launch.environment.clone();
        self.start(of, launch.wrapped(stdin.is_some()), environment, stdin)
    }

    fn start(
        &self,
        of: &Named<'_>,
        arguments: Vec<OsString>,
        environment: impl IntoIterator<Item = (String, String)>,
        stdin: Option<OwnedFd>,
    ) -> io::Result<Process> {
        let mut whole = self.common.clone();
        whole.extend(environment.into_iter().map(|(name, value)| (name.into(), value.into())));
        let started =
            self.spawner.start(Start { program: SELF.into(), arguments, environment: whole, stdin })?;
        let pipes = [started.stdout, started.stderr].into_iter().flatten();
        let output: Vec<_> = pipes.map(|pipe| self.output.collect(of.service, of.name, pipe)).collect();
        let (messages, run) = (self.messages.clone(), of.run);
        tokio::task::spawn_local(async move {
            let exit = match started.ended.wait().await {
                Ok(status) => process::exit(status),
                Err(error) => Exit::Lost(error.to_string()),
            };
            // Its last output first: it may say why. A child process of it may hold the pipes open forever.
            let all_read = async {
                for pipe in output {
                    let _ = pipe.await;
                }
            };
            let _ = tokio::time::timeout(LAST_WORDS, all_read).await;
            // The supervisor outlives its processes; if not, nobody needs to know.
            let _ = messages.send(Message::Input(Input::Ended { run, exit })).await;
        });
        Ok(started.process)
    }
}
