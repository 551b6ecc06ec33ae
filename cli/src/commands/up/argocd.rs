//! `playctl up --target cluster --argocd`

use std::{path::PathBuf, time::Duration};

use ::cluster::argocd::{self, ArgoCd, Follow, Register, Sync};
use platform::{TargetError, exit, values::preset_of};

use super::{BringUp, cluster::ClusterUp};
use crate::{
    commands::argocd::{show, words},
    context::Context,
    failure::{Failure, Outcome},
    options::DEFAULT_PLATFORM,
    platform_source, results,
};

/// Time limits for the registration and the sync.
const TIMEOUT: Duration = Duration::from_mins(10);

/// How Argo CD gets the platform.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Options for up --argocd")]
pub(crate) struct ArgoUp {
    /// Deploy through Argo CD, from a repository; installs Argo CD if there is none
    #[arg(long)]
    pub(super) argocd: bool,
    /// The repository with argocd/ and helm-chart/; default: the checkout's origin
    #[arg(long, value_name = "URL", requires = "argocd")]
    repo: Option<String>,
    /// Branch, tag or commit; default: the checkout's, or HEAD with --repo
    #[arg(long, value_name = "REV", requires = "argocd")]
    revision: Option<String>,
    /// A private key for the repository; Argo CD keeps it in a Secret
    #[arg(long, value_name = "FILE", requires = "argocd")]
    ssh_key_file: Option<PathBuf>,
    /// Argo CD's install manifest; default: the official one of the tested release
    #[arg(long, value_name = "FILE|URL", requires = "argocd")]
    argocd_manifest: Option<String>,
}

/// Registers the platform with Argo CD, and syncs it until it is healthy.
pub(super) fn run(
    context: &Context,
    options: &::cluster::Options,
    args: &ArgoUp,
    bring_up: &BringUp,
    cluster: &ClusterUp,
) -> Outcome {
    let wanted = check(context, args, bring_up, cluster)?;
    let on_wait = platform_source::on_wait(context, "the cluster".to_owned());
    let argocd = ArgoCd::connect(options, argocd::NAMESPACE, Some(&on_wait))?;
    let registered = argocd.register(&wanted, &mut |step| show(context, step)).map_err(not_up)?;
    let sync = Sync {
        applications: Vec::new(),
        prune: false,
        follow: Follow::UntilHealthy,
        timeout: wanted.timeout,
        end_on_interrupt: false,
    };
    let synced = argocd.sync(&sync, &mut |step| show(context, step)).map_err(not_up)?;
    let failure = synced.iter().find_map(|one| words::failure(one, sync.follow));
    let note = match &failure {
        Some(_) => None,
        None => argocd.gateways(wanted.timeout, &mut |step| show(context, step)).map_err(not_up)?,
    };
    context.printer.progress().clear();
    for line in words::registered(&registered).iter().take(1) {
        context.printer.line(line);
    }
    for line in synced.iter().flat_map(words::synced) {
        context.printer.line(&line);
    }
    if let Some(note) = note {
        context.printer.note(&note);
    }
    context.printer.document(&results::UpArgocd { registered, synced });
    if let Some(failure) = failure {
        return Err(Failure::new(exit::BRING_UP_FAILED, failure));
    }
    if let Some(page) = super::cluster::page(&context.global.selection()) {
        context.printer.line(&page);
    }
    context.printer.line("next: playctl status · playctl argocd status · playctl argocd remove");
    Ok(exit::DONE)
}

/// Interprets the command line, before anything is done.
pub(super) fn check(
    context: &Context,
    args: &ArgoUp,
    bring_up: &BringUp,
    cluster: &ClusterUp,
) -> Result<Register, Failure> {
    if context.global.platform != DEFAULT_PLATFORM {
        return Err(Failure::usage(format!(
            "--argocd: argocd/ describes one platform, {DEFAULT_PLATFORM}; leave out --platform, and choose its namespace \
             with -n"
        )));
    }
    wanted(args, bring_up, cluster)
}

fn not_up(error: TargetError) -> TargetError {
    match error {
        TargetError::Other { message } | TargetError::Temporary { message } => {
            TargetError::BringUp { message }
        }
        other => other,
    }
}

/// The command line as parameters of applications: Argo CD takes everything else from the repository.
fn wanted(args: &ArgoUp, bring_up: &BringUp, cluster: &ClusterUp) -> Result<Register, Failure> {
    for (given, flag, instead) in [
        (bring_up.nodes.is_some(), "--nodes", "a cluster has its own nodes"),
        (!bring_up.with.is_empty(), "--with", "a cluster cannot use servers of this machine"),
        (bring_up.chart.is_some(), "--chart", "the chart comes from the repository"),
        (!bring_up.set_json.is_empty(), "--set-json", "Argo CD takes single values: --set"),
        (cluster.dry_run, "--dry-run", "see what would change with: playctl argocd diff"),
        (cluster.ignore_capacity, "--ignore-capacity", "Argo CD does not look at the nodes' room"),
    ] {
        if given {
            return Err(Failure::usage(format!("{flag} cannot be used with --argocd; {instead}")));
        }
    }
    let source = bring_up.source();
    let mut set_string = pairs("--set-string", &source.set_string)?;
    if let Some(image) = &cluster.image {
        let (repository, tag) = super::cluster::split(image)?;
        set_string.push(("image.repository".to_owned(), repository.to_owned()));
        set_string.push(("image.tag".to_owned(), tag.to_owned()));
    }
    let presets: Result<Vec<String>, Failure> = source.files.iter().map(|file| preset(file)).collect();
    let presets = presets?;
    Ok(Register {
        repo: args.repo.clone(),
        revision: args.revision.clone(),
        ssh_key_file: args.ssh_key_file.clone(),
        check: true,
        image_tag: None,
        presets: (!presets.is_empty()).then_some(presets),
        set: pairs("--set", &source.set)?,
        set_string,
        auto_sync: None,
        prune: None,
        self_heal: None,
        secrets: true,
        take_over: cluster.take_ownership,
        install: Some(args.argocd_manifest.clone().unwrap_or_else(|| argocd::MANIFEST.to_owned())),
        wait: true,
        timeout: cluster.timeout.unwrap_or(TIMEOUT),
    })
}

/// `minikube` stands for `values-minikube.yaml` in the repository, a scenario for its preset.
fn preset(file: &std::path::Path) -> Result<String, Failure> {
    let is_name = |name: &&str| name.chars().all(|one| one.is_ascii_alphanumeric() || one == '-');
    match file.to_str().filter(is_name) {
        Some(name) => Ok(format!("values-{}.yaml", preset_of(name))),
        None => Err(Failure::usage(format!(
            "--values {} cannot be used with --argocd, which takes values files from the repository; name a preset of its \
             helm-chart/, such as minikube, or push the file and name it with: playctl argocd register --presets",
            file.display()
        ))),
    }
}

fn pairs(flag: &str, set: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let pair = |text: &String| match text.split_once('=') {
        Some((key, value)) if !value.contains(',') => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Failure::usage(format!(
            "{flag} {text}: with --argocd, expected one value, KEY=VALUE; give the flag again for more"
        ))),
    };
    set.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};

    fn register(words: &[&str]) -> Result<Register, String> {
        let words = ["playctl", "up", "--target", "cluster", "--argocd"].iter().chain(words);
        let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
        let Command::Up(args) = cli.command else { panic!("{:?}", cli.command) };
        wanted(&args.argocd, &args.bring_up, &args.cluster).map_err(|failure| failure.message)
    }

    #[test]
    fn options_become_parameters() {
        let wanted = register(&[
            "-f",
            "minikube",
            "-f",
            "stream-6",
            "--set",
            "tcp.replicas=2",
            "--image",
            "playctl:7",
        ]);
        let wanted = wanted.unwrap();
        let files = ["values-minikube.yaml", "values-streams.yaml"].map(str::to_owned).to_vec();
        assert_eq!(wanted.presets, Some(files));
        assert_eq!(wanted.set, [("tcp.replicas".to_owned(), "2".to_owned())]);
        assert!(wanted.set_string.contains(&("image.tag".to_owned(), "7".to_owned())));
        assert_eq!(wanted.install.as_deref(), Some(argocd::MANIFEST));
        assert_eq!(register(&[]).unwrap().presets, None, "they stay as they are");
        assert!(register(&["--take-ownership"]).unwrap().take_over);
    }

    #[test]
    fn options_that_argo_cd_cannot_take_are_refused_with_an_alternative() {
        for (words, said) in [
            (&["-f", "mine.yaml"][..], "argocd register --presets"),
            (&["-f", "charts/minikube"], "argocd register --presets"),
            (&["--set", "a=1,b=2"], "KEY=VALUE"),
            (&["--set", "a"], "KEY=VALUE"),
            (&["--dry-run"], "argocd diff"),
            (&["--chart", "x"], "from the repository"),
            (&["--nodes", "3"], "its own nodes"),
            (&["--set-json", "a=1"], "--set"),
            (&["--image", "playctl"], "NAME:TAG"),
        ] {
            let error = register(words).unwrap_err();
            assert!(error.contains(said), "{words:?}: {error}");
        }
        assert!(Cli::try_parse_from(["playctl", "up", "--repo", "x"]).is_err());
    }
}
