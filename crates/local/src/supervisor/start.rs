//! Starting processes of the platform, with everything around them: output, end, probe.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    os::fd::OwnedFd,
    path::PathBuf,
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{Message, ProcessKey, output::Output, servers::Launch, service::Running};
use crate::{
    child::WRAPPER_COMMAND,
    process::{self, Spawner, Start},
};

/// So long the output of an ended process is waited for.
const LAST_WORDS: Duration = Duration::from_millis(200);

#[derive(Debug)]
pub(crate) struct Starter {
    spawner: Spawner,
    executable: PathBuf,
    output: Output,
    messages: mpsc::Sender<Message>,
    common: BTreeMap<OsString, OsString>,
    keys: u64,
}

impl Starter {
    pub(crate) fn new(
        output: Output,
        messages: mpsc::Sender<Message>,
        common: BTreeMap<OsString, OsString>,
    ) -> io::Result<Self> {
        Ok(Self { spawner: Spawner::new()?, executable: executable()?, output, messages, common, keys: 0 })
    }

    /// Starts `playctl serve SERVICE`; `watch` is run beside it until the process has ended.
    pub(crate) fn serve<Watch: Future<Output = ()> + 'static>(
        &mut self,
        service: &str,
        name: &str,
        environment: impl IntoIterator<Item = (String, String)>,
        stdin: Option<OwnedFd>,
        watch: impl FnOnce(ProcessKey) -> Watch,
    ) -> io::Result<Running> {
        let arguments = vec!["serve".into(), service.into()];
        self.start(service, name, arguments, environment, stdin, watch)
    }

    /// Starts a program that is not ours, through the wrapper that binds it to this process. `stdin`: listeners that it
    /// is lent. `service`: what its log lines go by, beside its name.
    pub(crate) fn wrapped<Watch: Future<Output = ()> + 'static>(
        &mut self,
        service: &str,
        name: &str,
        launch: Launch,
        stdin: Option<OwnedFd>,
        watch: impl FnOnce(ProcessKey) -> Watch,
    ) -> io::Result<Running> {
        let mut arguments: Vec<OsString> = vec![WRAPPER_COMMAND.into()];
        if let Some(directory) = launch.directory {
            arguments.extend(["--directory".into(), directory.into_os_string()]);
        }
        if stdin.is_some() {
            arguments.push("--listeners".into());
        }
        arguments.extend(["--".into(), launch.program.into_os_string()]);
        arguments.extend(launch.arguments);
        self.start(service, name, arguments, launch.environment, stdin, watch)
    }

    fn start<Watch: Future<Output = ()> + 'static>(
        &mut self,
        service: &str,
        name: &str,
        arguments: Vec<OsString>,
        environment: impl IntoIterator<Item = (String, String)>,
        stdin: Option<OwnedFd>,
        watch: impl FnOnce(ProcessKey) -> Watch,
    ) -> io::Result<Running> {
        self.keys += 1;
        let key = ProcessKey(self.keys);
        let mut whole = self.common.clone();
        whole.extend(environment.into_iter().map(|(name, value)| (name.into(), value.into())));
        let started = self.spawner.start(Start {
            program: self.executable.clone(),
            arguments,
            environment: whole,
            stdin,
        })?;
        let pipes = [started.stdout, started.stderr].into_iter().flatten();
        let output: Vec<_> = pipes.map(|pipe| self.output.collect(service, name, pipe)).collect();
        let messages = self.messages.clone();
        tokio::task::spawn_local(async move {
            let how = match started.ended.wait().await {
                Ok(status) => process::in_words(status),
                Err(error) => format!("lost: {error}"),
            };
            // Its last words first: they may say why. A process of its own making may hold the pipes open for ever.
            let all_read = async {
                for pipe in output {
                    let _ = pipe.await;
                }
            };
            let _ = tokio::time::timeout(LAST_WORDS, all_read).await;
            // The actor outlives its processes; if not, nobody needs to know.
            let _ = messages.send(Message::Ended { key, how }).await;
        });
        let probe = tokio::task::spawn_local(watch(key)).abort_handle();
        Ok(Running { key, process: started.process, started: Instant::now(), ready_since: None, probe })
    }

    /// Sends a message to the actor later.
    pub(crate) fn later(&self, delay: Duration, message: Message) {
        let messages = self.messages.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(delay).await;
            let _ = messages.send(message).await;
        });
    }

    pub(crate) fn messages(&self) -> mpsc::Sender<Message> {
        self.messages.clone()
    }
}

/// This program, even if its file was replaced or removed since (a build, an update): the running one is what all
/// processes of a platform should be.
fn executable() -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(if own.exists() { own } else { PathBuf::from("/proc/self/exe") })
}
