//! `playctl argocd register`, `sync`, `status`, `diff` and `remove`

pub(crate) mod words;

use std::{ops::ControlFlow, path::PathBuf, time::Duration};

use clap::Subcommand;
use cluster::argocd::{self, ArgoCd, Follow, Step};
use platform::{TargetError, duration, exit};

use self::words::step_in_words;
use crate::{
    context::Context,
    failure::{Failure, Outcome},
    options::Output,
    platform_source,
};

/// Have Argo CD deploy the platform from its repository
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl argocd register            this checkout's origin and branch
  playctl argocd sync                sync it, and follow the sync
  playctl argocd status              what is out of sync or not healthy
  playctl argocd diff                what a sync would change
  playctl argocd remove              remove it all

The cluster is kubectl's current one, or given by --kubeconfig and --context.
The argocd CLI is not needed: everything goes through the Application objects.
See docs/argocd.md, which also lists the permissions that each command needs.")]
pub(crate) struct Args {
    /// Argo CD's namespace
    #[arg(long, global = true, value_name = "NAME", env = "PLAYCTL_ARGOCD_NAMESPACE", default_value = argocd::NAMESPACE)]
    argocd_namespace: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Register(Box<RegisterArgs>),
    Sync(SyncArgs),
    Status(StatusArgs),
    Diff(DiffArgs),
    Remove(RemoveArgs),
}

/// Register a repository and its applications with Argo CD
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl argocd register
  playctl argocd register --install            and install Argo CD if needed
  playctl argocd register --repo git@host.example:lab/playctl.git \\
    --revision main --ssh-key-file ~/.ssh/deploy-key
  playctl argocd register --image-tag 0.1.1 --auto-sync --self-heal
  playctl argocd register --presets values-production.yaml
  playctl argocd register --auto-sync=false

A second call changes only what you pass: image tag, presets, values and sync
options otherwise stay as they are. --namespace is the release's namespace
[default: playground].")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
struct RegisterArgs {
    /// The repository with argocd/ and helm-chart/; default: the checkout's origin
    #[arg(long, value_name = "URL")]
    repo: Option<String>,
    /// Branch, tag or commit; default: the checkout's, or HEAD with --repo
    #[arg(long, value_name = "REV")]
    revision: Option<String>,
    /// A private key for the repository; Argo CD keeps it in a Secret
    #[arg(long, value_name = "FILE")]
    ssh_key_file: Option<PathBuf>,
    /// Do not check the repository, for when Argo CD can reach it and this machine cannot
    #[arg(long)]
    no_check: bool,
    /// The tag of the loaded image
    #[arg(long, value_name = "TAG")]
    image_tag: Option<String>,
    /// Values files in helm-chart/, later ones override earlier ones
    #[arg(long, value_name = "FILE,…", value_delimiter = ',')]
    presets: Option<Vec<String>>,
    /// Set a chart value
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
    /// Set a chart value, always as a string
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set_string: Vec<(String, String)>,
    /// Have Argo CD sync automatically, not only on command
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    auto_sync: Option<bool>,
    /// With --auto-sync: delete what was removed from the repository
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    prune: Option<bool>,
    /// With --auto-sync: revert manual changes
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    self_heal: Option<bool>,
    /// Do not create the Secrets that the chart refers to
    #[arg(long)]
    no_secrets: bool,
    /// Take over a Helm release: Helm forgets it, its objects stay
    #[arg(long)]
    take_over: bool,
    /// Install Argo CD first if there is none
    #[arg(long)]
    install: bool,
    /// Argo CD's install manifest; default: the official one of the tested release
    #[arg(long, value_name = "FILE|URL", requires = "install")]
    manifest: Option<String>,
    /// Do not wait until Argo CD has created the applications
    #[arg(long)]
    no_wait: bool,
    /// How long to wait
    #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "5m")]
    timeout: Duration,
}

/// Sync applications, and follow the sync until it ends
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl argocd sync                     all, including the latest pushes
  playctl argocd sync playground --prune
  playctl argocd sync --wait --timeout 15m    until everything is healthy, too
  playctl argocd sync --no-wait

Ctrl-C stops following, and the sync continues; with --end-on-interrupt the sync
ends as well. Whatever was already applied stays.")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
struct SyncArgs {
    /// The applications; default: all that the app of apps created
    #[arg(value_name = "APP")]
    applications: Vec<String>,
    /// Delete what was removed from the repository
    #[arg(long)]
    prune: bool,
    /// Also wait until everything is healthy
    #[arg(long, conflicts_with = "no_wait")]
    wait: bool,
    /// Start the sync and return
    #[arg(long)]
    no_wait: bool,
    /// How long to follow the sync
    #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "10m")]
    timeout: Duration,
    /// On Ctrl-C, also end the sync
    #[arg(long, conflicts_with = "no_wait")]
    end_on_interrupt: bool,
}

/// Show what is out of sync, what is unhealthy and why, and the last sync
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl argocd status
  playctl argocd status --exit-code && echo all is well
  playctl argocd status --output json | jq '.applications[].sync.status'")]
struct StatusArgs {
    /// Exit with 3 unless everything is Synced and Healthy
    #[arg(long)]
    exit_code: bool,
}

/// Show what a sync would change, by a dry run on the API server
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl argocd diff                       the followed branch
  playctl argocd diff --revision my-branch  what another one would change
  playctl argocd diff --local .             this checkout, before you push it
  playctl argocd diff --exit-code

Needs git and helm. Writes nothing: the API server dry-runs each object.
Secret values are never shown.")]
struct DiffArgs {
    /// The applications; default: all
    #[arg(value_name = "APP")]
    applications: Vec<String>,
    /// Another branch, tag or commit
    #[arg(long, value_name = "REV")]
    revision: Option<String>,
    /// A checkout on this machine instead of the repository
    #[arg(long, value_name = "DIR", conflicts_with_all = ["revision", "ssh_key_file"])]
    local: Option<PathBuf>,
    /// A private key for the repository; default: git's own credentials
    #[arg(long, value_name = "FILE")]
    ssh_key_file: Option<PathBuf>,
    /// Exit with 3 if something would change
    #[arg(long)]
    exit_code: bool,
}

/// Remove the applications and everything they created
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl argocd remove
  playctl argocd remove --keep-objects     the platform keeps running,
                                           unmanaged

The release's namespace and its Secrets stay, and so does Argo CD.")]
struct RemoveArgs {
    /// Keep everything that the applications created running
    #[arg(long)]
    keep_objects: bool,
    /// How long to wait
    #[arg(long, value_name = "TIME", value_parser = duration::parse, default_value = "5m")]
    timeout: Duration,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE, such as tcp.replicas=2".to_owned()),
    }
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let options = platform_source::options(context)?;
    let on_wait = platform_source::on_wait(context, "the cluster".to_owned());
    let argocd = ArgoCd::connect(&options, &args.argocd_namespace, Some(&on_wait))?;
    let mut on_step = |step: &Step| show(context, step);
    match &args.command {
        Command::Register(args) => {
            let registered = argocd.register(&args.wanted(), &mut on_step)?;
            finish(context, words::registered(&registered), &registered);
            Ok(exit::DONE)
        }
        Command::Sync(args) => sync(context, &argocd, args),
        Command::Status(args) => {
            let status = argocd.status(&mut on_step)?;
            finish(context, words::status(&status, context.printer.width()), &status);
            Ok(exit_code(args.exit_code, status.is_well()))
        }
        Command::Diff(args) => {
            let wanted = argocd::Diff {
                applications: args.applications.clone(),
                revision: args.revision.clone(),
                local: args.local.clone(),
                ssh_key_file: args.ssh_key_file.clone(),
            };
            let differences = argocd.diff(&wanted, &mut on_step)?;
            finish(context, words::differences(&differences), &differences);
            let is_same = differences.iter().all(|one| one.differences.is_empty());
            Ok(exit_code(args.exit_code, is_same))
        }
        Command::Remove(args) => {
            let removed = argocd.remove(args.keep_objects, args.timeout, &mut on_step)?;
            finish(context, words::removed(&removed), &removed);
            Ok(exit::DONE)
        }
    }
}

fn finish(context: &Context, lines: Vec<String>, result: &impl serde::Serialize) {
    context.printer.progress().clear();
    for line in lines {
        context.printer.line(&line);
    }
    context.printer.document(result);
}

fn exit_code(is_asked: bool, is_well: bool) -> u8 {
    if is_asked && !is_well { exit::EXPECTATION_NOT_MET } else { exit::DONE }
}

fn sync(context: &Context, argocd: &ArgoCd, args: &SyncArgs) -> Outcome {
    let wanted = argocd::Sync {
        applications: args.applications.clone(),
        prune: args.prune,
        follow: match (args.no_wait, args.wait) {
            (true, _) => Follow::Not,
            (false, true) => Follow::UntilHealthy,
            (false, false) => Follow::ToTheEnd,
        },
        timeout: args.timeout,
        end_on_interrupt: args.end_on_interrupt,
    };
    let synced = match argocd.sync(&wanted, &mut |step: &Step| show(context, step)) {
        Err(TargetError::Interrupted) => {
            context.printer.progress().clear();
            context.printer.note(if args.end_on_interrupt {
                "ending the running sync; what it has applied stays"
            } else {
                "no longer following; a started sync continues: playctl argocd status"
            });
            return Err(Failure::interrupted());
        }
        other => other?,
    };
    finish(context, synced.iter().flat_map(words::synced).collect(), &synced);
    match synced.iter().find_map(|one| words::failure(one, wanted.follow)) {
        Some(failure) => Err(Failure::failed(failure)),
        None => Ok(exit::DONE),
    }
}

/// Shows a step, and returns whether to continue.
pub(crate) fn show(context: &Context, step: &Step) -> ControlFlow<()> {
    let printer = &context.printer;
    match step {
        Step::Waiting => {}
        Step::Doing { what } => printer.progress().show("argocd", what),
        step if printer.output() == Output::Jsonl => printer.json_line(step),
        step => {
            if let Some(text) = step_in_words(step) {
                printer.note(&text);
            }
        }
    }
    if context.interrupt.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

impl RegisterArgs {
    fn wanted(&self) -> argocd::Register {
        let manifest = || self.manifest.clone().unwrap_or_else(|| argocd::MANIFEST.to_owned());
        argocd::Register {
            repo: self.repo.clone(),
            revision: self.revision.clone(),
            ssh_key_file: self.ssh_key_file.clone(),
            check: !self.no_check,
            image_tag: self.image_tag.clone(),
            presets: self.presets.clone(),
            set: self.set.clone(),
            set_string: self.set_string.clone(),
            auto_sync: self.auto_sync,
            prune: self.prune,
            self_heal: self.self_heal,
            secrets: !self.no_secrets,
            take_over: self.take_over,
            install: self.install.then(manifest),
            wait: !self.no_wait,
            timeout: self.timeout,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{self, Cli};

    fn register(words: &[&str]) -> argocd::Register {
        let words = ["playctl", "argocd", "register"].iter().chain(words);
        let cli = Cli::try_parse_from(words).unwrap();
        let args::Command::Argocd(Args { command: Command::Register(args), .. }) = cli.command else {
            panic!("{:?}", cli.command);
        };
        args.wanted()
    }

    #[test]
    fn a_switch_is_on_off_or_unchanged() {
        assert_eq!(register(&[]).auto_sync, None);
        assert_eq!(register(&["--auto-sync"]).auto_sync, Some(true));
        assert_eq!(register(&["--auto-sync=false", "--prune"]).auto_sync, Some(false));
        assert_eq!(register(&["--auto-sync=false", "--prune"]).prune, Some(true));
    }

    #[test]
    fn the_manifest_is_the_official_one_unless_another_is_named() {
        assert_eq!(register(&[]).install, None);
        assert_eq!(register(&["--install"]).install.as_deref(), Some(argocd::MANIFEST));
        assert_eq!(register(&["--install", "--manifest", "x.yaml"]).install.as_deref(), Some("x.yaml"));
        assert!(Cli::try_parse_from(["playctl", "argocd", "register", "--manifest", "x.yaml"]).is_err());
    }

    #[test]
    fn values_are_keys_with_a_value() {
        assert_eq!(key_and_value("a.b=c=d"), Ok(("a.b".to_owned(), "c=d".to_owned())));
        assert!(key_and_value("a").is_err() && key_and_value("=b").is_err());
    }
}
