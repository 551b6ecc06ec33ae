//! The options that every command takes: which platform, and how to print.

use std::{fmt::Write as _, path::PathBuf};

use clap::{Args, ValueEnum};
use cluster::shell::quoted;

use crate::failure::Failure;

/// The platform without a name of its own.
pub(crate) const DEFAULT_PLATFORM: &str = "playground";

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The platform's name; platforms with different names run side by side
    #[arg(long, global = true, value_name = "NAME", env = "PLAYCTL_PLATFORM", default_value = DEFAULT_PLATFORM)]
    pub platform: String,
    /// Where the platform runs
    #[arg(long, global = true, value_name = "TARGET", value_enum, env = "PLAYCTL_TARGET", default_value_t = TargetKind::Local)]
    pub target: TargetKind,
    /// Format of the result
    #[arg(long, global = true, value_name = "FORMAT", value_enum, default_value_t = Output::Human)]
    pub output: Output,
    /// When to use colours (`NO_COLOR` is honoured)
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t = When::Auto)]
    pub color: When,
    /// Print no progress on stderr
    #[arg(long, short, global = true)]
    pub quiet: bool,
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// The minikube profile (--target minikube); default: the platform's name
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// Which of the options that name a platform were typed; what comes from the environment is not.
    #[arg(skip)]
    pub typed: Vec<&'static str>,
}

/// The options that name a platform, as clap knows them and as they are typed.
pub(crate) const NAMES_A_PLATFORM: [(&str, &str); 7] = [
    ("platform", "--platform"),
    ("target", "--target"),
    ("profile", "--profile"),
    ("kubeconfig", "--kubeconfig"),
    ("context", "--context"),
    ("namespace", "--namespace"),
    ("hpa", "--hpa"),
];

/// Which cluster, and what of it.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Options for --target cluster and minikube")]
pub(crate) struct ClusterArgs {
    /// The kubeconfig; default: KUBECONFIG, ~/.kube/config or, in a pod, its service account
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context; default: the current one
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// The namespace; default: the context's
    #[arg(long, short = 'n', global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Only this autoscaler and its target; default: all in the namespace (`explain` also takes a manifest: --hpa FILE)
    #[arg(long, global = true, value_name = "NAME")]
    pub hpa: Option<String>,
}

impl ClusterArgs {
    /// As options, each followed by a blank.
    fn selection(&self) -> String {
        let Self { kubeconfig, context, namespace, hpa } = self;
        let kubeconfig = kubeconfig.as_ref().map(|file| file.display().to_string());
        let mut text = String::new();
        for (flag, value) in
            [("--kubeconfig", &kubeconfig), ("--context", context), ("-n", namespace), ("--hpa", hpa)]
        {
            if let Some(value) = value {
                // Writing to a string cannot fail.
                let _ = write!(text, "{flag} {} ", quoted(value));
            }
        }
        text
    }

    /// The first that was given: it says nothing about a platform on this machine.
    pub(crate) fn first_given(&self) -> Option<&'static str> {
        let Self { kubeconfig, context, namespace, hpa } = self;
        [
            (kubeconfig.is_some(), "--kubeconfig"),
            (context.is_some(), "--context"),
            (namespace.is_some(), "--namespace"),
            (hpa.is_some(), "--hpa"),
        ]
        .into_iter()
        .find_map(|(given, flag)| given.then_some(flag))
    }
}

impl Global {
    /// A recorded run is of no platform that could be named. `run`: what names the run.
    pub(crate) fn refuse_platform(&self, run: &str) -> Result<(), Failure> {
        let Some(flag) = self.typed.first() else { return Ok(()) };
        Err(Failure::usage(format!(
            "{run} and {flag} conflict: a recorded run needs no platform; leave one of them out"
        )))
    }

    /// minikube's profile.
    pub(crate) fn minikube_profile(&self) -> &str {
        self.profile.as_deref().unwrap_or(&self.platform)
    }

    /// The same as [`Self::selection`], word by word, for a command that is started.
    #[cfg(feature = "local")]
    pub(crate) fn selection_words(&self) -> Vec<String> {
        let ClusterArgs { kubeconfig, context, namespace, hpa } = &self.cluster;
        let kubeconfig = kubeconfig.as_ref().map(|path| path.display().to_string());
        let target = match self.target {
            TargetKind::Local => "local",
            TargetKind::Cluster => "cluster",
            TargetKind::Minikube => "minikube",
        };
        let all = [
            ("--platform", Some(self.platform.clone())),
            ("--target", Some(target.to_owned())),
            ("--profile", self.profile.clone()),
            ("--kubeconfig", kubeconfig),
            ("--context", context.clone()),
            ("--namespace", namespace.clone()),
            ("--hpa", hpa.clone()),
        ];
        all.into_iter().filter_map(|(flag, value)| Some(format!("{flag}={}", value?))).collect()
    }

    /// The options that name the platform which this invocation is about, ready to be put before a command; empty where
    /// that is the default one.
    pub(crate) fn selection(&self) -> String {
        match self.target {
            TargetKind::Local if self.platform == DEFAULT_PLATFORM => String::new(),
            TargetKind::Local => format!("--platform {} ", self.platform),
            TargetKind::Cluster => format!("--target cluster {}", self.cluster.selection()),
            TargetKind::Minikube => {
                let profile = match self.minikube_profile() {
                    DEFAULT_PLATFORM => String::new(),
                    other => format!("--profile {other} "),
                };
                format!("--target minikube {profile}{}", self.cluster.selection())
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TargetKind {
    /// On this machine, as processes
    Local,
    /// In a Kubernetes cluster of its own, created by minikube
    Minikube,
    /// In a Kubernetes cluster
    Cluster,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Human,
    /// One JSON document at the end
    Json,
    /// One JSON object per line, as things happen
    Jsonl,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    Auto,
    Always,
    Never,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_can_be_copied_into_a_shell() {
        let cluster = ClusterArgs {
            kubeconfig: Some("my config".into()),
            context: Some("it's".to_owned()),
            namespace: Some("chat".to_owned()),
            hpa: None,
        };
        assert_eq!(cluster.selection(), r"--kubeconfig 'my config' --context 'it'\''s' -n chat ");
    }
}
