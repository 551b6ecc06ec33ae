//! The stand-in's folder: which calls it expects, and how it answers them.

use std::{fs, ops::ControlFlow, os::unix::fs::PermissionsExt as _, path::PathBuf, sync::Arc};

use cluster::minikube::{Minikube, Options, Told};
use tempfile::TempDir;

/// The arguments of a call.
pub(crate) struct Arguments(Vec<String>);

impl From<&[&str]> for Arguments {
    fn from(arguments: &[&str]) -> Self {
        Self(arguments.iter().map(|&argument| argument.to_owned()).collect())
    }
}

impl From<Vec<String>> for Arguments {
    fn from(arguments: Vec<String>) -> Self {
        Self(arguments)
    }
}

#[derive(Default)]
pub(crate) struct Answer {
    out: String,
    err: String,
    status: i32,
    stays: bool,
    environment: Option<String>,
}

impl Answer {
    pub(crate) fn out(text: &str) -> Self {
        Self { out: text.to_owned(), ..Self::default() }
    }

    pub(crate) fn err(text: &str) -> Self {
        Self { err: text.to_owned(), ..Self::default() }
    }

    pub(crate) fn status(self, status: i32) -> Self {
        Self { status, ..self }
    }

    /// It does not end by itself.
    pub(crate) fn stays(self) -> Self {
        Self { stays: true, ..self }
    }

    /// A line that its environment has to have.
    pub(crate) fn environment(self, line: &str) -> Self {
        Self { environment: Some(line.to_owned()), ..self }
    }
}

pub(crate) struct StandIn {
    folder: TempDir,
}

impl StandIn {
    pub(crate) fn new<const N: usize>(calls: [(Arguments, Answer); N]) -> Self {
        let stand_in = Self { folder: tempfile::tempdir().unwrap() };
        let program = stand_in.path("minikube");
        fs::write(&program, include_str!("stand-in.sh")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(stand_in.path("next"), "0\n").unwrap();
        stand_in.expect(calls);
        stand_in
    }

    /// Replaces what was expected.
    pub(crate) fn expect<const N: usize>(&self, calls: [(Arguments, Answer); N]) {
        for (number, (Arguments(arguments), answer)) in calls.into_iter().enumerate() {
            let write = |what: &str, text: &str| {
                fs::write(self.path(&format!("{number}.{what}")), text).unwrap();
            };
            let lines: Vec<String> = arguments.iter().map(|argument| format!("{argument}\n")).collect();
            write("args", &lines.concat());
            write("out", &answer.out);
            write("err", &answer.err);
            write("status", &answer.status.to_string());
            if answer.stays {
                write("stay", "");
            }
            if let Some(line) = &answer.environment {
                write("environment", line);
            }
        }
        fs::write(self.path("expected"), N.to_string()).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            program: Some(self.path("minikube")),
            profile: "playground".to_owned(),
            kubeconfig: None,
            folder: self.path("kept"),
        }
    }

    pub(crate) fn minikube(
        &self,
        told: impl Fn(Option<&Told>) -> ControlFlow<()> + Send + Sync + 'static,
    ) -> Minikube {
        Minikube::new(self.options(), Arc::new(told)).unwrap()
    }

    pub(crate) fn quiet(&self) -> Minikube {
        self.minikube(|_| ControlFlow::Continue(()))
    }
}

/// Every call was expected, and every one that was expected came.
impl Drop for StandIn {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let wrong = fs::read_to_string(self.path("wrong")).unwrap_or_default();
        assert!(wrong.is_empty(), "not expected: {wrong}");
        let read = |name: &str| fs::read_to_string(self.path(name)).unwrap().trim().to_owned();
        assert_eq!(read("next"), read("expected"), "calls");
    }
}
