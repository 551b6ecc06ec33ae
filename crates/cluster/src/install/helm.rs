//! The `helm` on PATH.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use platform::TargetError;
use rustix::process::Signal;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Command,
};

use super::{Site, Stop, words};
use crate::group::Group;

/// The first whose `template` asks the cluster when it is told to.
const OLDEST: (u32, u32) = (3, 13);
/// The first that hands objects over to a release.
const TAKES_OWNERSHIP: (u32, u32) = (3, 17);
/// What it may print. The chart renders 200 KB.
const OUTPUT_MAX: u64 = 32 << 20;
/// How long it may take to tidy up once it was told to end.
const TIDIES_UP: Duration = Duration::from_secs(15);
/// How long its end may take after that. Only a process that left helm's group can hold it up.
const DIES: Duration = Duration::from_secs(5);
/// How long it may take for what makes no changes.
const READS: Duration = Duration::from_mins(2);

/// The program, and how it finds the cluster.
#[derive(Debug, Clone)]
pub(super) struct Helm {
    program: PathBuf,
    pub(super) version: String,
    /// Options of every call.
    selection: Vec<OsString>,
}

/// Why a call failed.
#[derive(Debug)]
pub(super) enum HelmError {
    /// It said this.
    Said(String),
    Interrupted,
    /// It did not end.
    TimedOut(Duration),
    Start(std::io::Error),
}

impl Helm {
    pub(super) async fn find(site: &Site) -> Result<Self, TargetError> {
        let Some(program) = on_path(env::var_os("PATH")) else {
            let message =
                "helm is not on PATH, and it installs the chart: https://helm.sh/docs/intro/install"
                    .to_owned();
            return Err(TargetError::BringUp { message });
        };
        let mut selection = vec![OsString::from("--namespace"), site.namespace().into()];
        if let Some(file) = &site.options.kubeconfig {
            selection.extend(["--kubeconfig".into(), file.into()]);
        }
        if let Some(context) = &site.options.context {
            selection.extend(["--kube-context".into(), context.into()]);
        }
        let mut helm = Self { program, version: String::new(), selection };
        let said = helm.read(&["version", "--template", "{{.Version}}"], site).await?;
        said.trim().clone_into(&mut helm.version);
        if !helm.is_at_least(OLDEST) {
            let message = format!(
                "{} is helm {}; expected 3.{} or newer: https://helm.sh/docs/intro/install",
                helm.program.display(),
                helm.version,
                OLDEST.1
            );
            return Err(TargetError::BringUp { message });
        }
        Ok(helm)
    }

    /// Whether it can hand objects of others over.
    pub(super) fn takes_ownership(&self) -> bool {
        self.is_at_least(TAKES_OWNERSHIP)
    }

    fn is_at_least(&self, wanted: (u32, u32)) -> bool {
        numbers(&self.version).is_some_and(|version| version >= wanted)
    }

    /// Runs a command that changes nothing; its errors are ours.
    pub(super) async fn read(&self, arguments: &[&str], site: &Site) -> Result<String, TargetError> {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        self.run(&arguments, &site.stop, READS).await.map_err(|error| error.explained(site))
    }

    /// Runs a command to its end. If it is stopped, helm is told to end as by Ctrl-C, and it notes in the release
    /// that it was interrupted.
    pub(super) async fn run(
        &self,
        arguments: &[OsString],
        stop: &Stop,
        limit: Duration,
    ) -> Result<String, HelmError> {
        let mut command = Command::new(&self.program);
        command.args(arguments).args(&self.selection);
        // These would make it speak to another cluster, or keep its releases where nobody looks.
        for (name, _) in env::vars_os().filter(|(name, _)| {
            let name = name.to_string_lossy();
            name.starts_with("HELM_KUBE") || name == "HELM_NAMESPACE" || name == "HELM_DRIVER"
        }) {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C in a terminal would reach it twice: from there and from here.
        command.process_group(0);
        let mut child = command.spawn().map_err(HelmError::Start)?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        // If nobody waits for it any more, nothing is left of it.
        let mut group = Group::of(child.id());
        let ended = async {
            let (out, err) = tokio::join!(text(out), text(err));
            (child.wait().await, out, err)
        };
        let mut ended = std::pin::pin!(ended);
        let why = tokio::select! {
            (status, out, err) = &mut ended => {
                group.ended();
                return match status {
                    Ok(status) if status.success() => Ok(out),
                    Ok(status) if err.trim().is_empty() => Err(HelmError::Said(format!("helm ended with {status}"))),
                    Ok(_) => Err(HelmError::Said(err)),
                    Err(error) => Err(HelmError::Start(error)),
                };
            }
            () = stop.stopped() => HelmError::Interrupted,
            () = tokio::time::sleep(limit) => HelmError::TimedOut(limit),
        };
        // What it has started itself, such as the program by which a kubeconfig logs in, hears of it as by Ctrl-C: it may
        // have helm wait, and holds our pipes.
        group.signal(Signal::INT);
        if tokio::time::timeout(TIDIES_UP, &mut ended).await.is_ok() {
            group.ended();
        } else {
            group.signal(Signal::KILL);
            let _ = tokio::time::timeout(DIES, &mut ended).await;
        }
        Err(why)
    }
}

impl HelmError {
    /// As it is, what it means, and what to do next.
    pub(super) fn explained(self, site: &Site) -> TargetError {
        let message = match self {
            Self::Interrupted => return TargetError::Interrupted,
            Self::Said(said) => words::explained(&said, site),
            Self::TimedOut(limit) => {
                format!("helm did not end within {} s; does the API server answer?", limit.as_secs())
            }
            Self::Start(error) => format!("could not run helm: {error}"),
        };
        TargetError::BringUp { message }
    }
}

async fn text(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        // What was read before an error is what there is.
        let _ = stream.take(OUTPUT_MAX).read_to_end(&mut bytes).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn on_path(path: Option<OsString>) -> Option<PathBuf> {
    env::split_paths(&path?).map(|folder| folder.join("helm")).find(|program| is_program(program))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// Major and minor of `v3.22.0`.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim().trim_start_matches('v').split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        let at_least = |version: &str, wanted| numbers(version).is_some_and(|version| version >= wanted);
        assert!(at_least("v3.22.0", OLDEST) && at_least("v4.0.1+gabc", OLDEST) && at_least("3.13", OLDEST));
        assert!(!at_least("v3.9.4", OLDEST) && !at_least("v2.17.0", OLDEST) && !at_least("helm", OLDEST));
    }

    #[tokio::test]
    async fn what_helm_started_ends_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let (program, began) = (folder.path().join("helm"), folder.path().join("began"));
        // A shell heeds the signal only when its command has ended, and that has our pipes.
        // The tests may be run with SIGINT ignored, and a shell that inherits that never hears of it.
        let shell = "/usr/bin/env -S --default-signal=INT sh";
        let script = format!("#!{shell}\ntouch {}\nsleep 1000\n", began.display());
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let helm = Helm { program, version: String::new(), selection: Vec::new() };
        let stop = Stop::default();
        let stopped = async {
            while !began.exists() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            stop.stop();
        };
        let running = async { tokio::join!(helm.run(&[], &stop, Duration::from_mins(20)), stopped).0 };
        let ended = tokio::time::timeout(Duration::from_mins(10), running).await.expect("it ended");
        assert!(matches!(ended, Err(HelmError::Interrupted)), "{ended:?}");
    }

    #[test]
    fn a_folder_called_helm_is_no_program() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("helm")).unwrap();
        assert_eq!(on_path(Some(folder.path().into())), None);
        assert_eq!(on_path(None), None);
    }
}
