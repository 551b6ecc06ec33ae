//! Checks the repository from this machine, as Argo CD will see it, before anything is written.

use std::path::Path;

use platform::TargetError;

use super::{
    api::{failed, invalid},
    git::{self, Credentials, Fetched, Remote},
    repository::{self, Key, Known},
    step::Tell,
    wanted::Register,
};
use crate::connect::Cluster;

/// Files that Argo CD needs in the repository.
const NEEDED: [&str; 2] = ["argocd/Chart.yaml", "helm-chart/Chart.yaml"];

/// The results of the checks.
pub(super) struct Checked {
    pub(super) repo: String,
    pub(super) revision: String,
    pub(super) commit: Option<String>,
    pub(super) key: Option<Key>,
    /// The revision's files, if they could be fetched.
    pub(super) files: Option<Fetched>,
}

/// Checks the repository from this machine, as Argo CD will see it.
pub(super) async fn check(cluster: &Cluster, wanted: &Register, tell: &Tell) -> Result<Checked, TargetError> {
    let key = wanted.ssh_key_file.as_deref().map(Key::read).transpose()?;
    let mut checkout = None;
    let repo = match &wanted.repo {
        Some(repo) => repo.clone(),
        None => checkout.insert(git::checkout(Path::new(".")).await?).origin.clone(),
    };
    repository::check_address(&repo)?;
    let from_checkout = checkout.as_ref().map(|checkout| checkout.revision.clone());
    let revision = wanted.revision.clone().or(from_checkout).unwrap_or_else(|| "HEAD".to_owned());
    repository::check_revision(&revision)?;
    let credentials = credentials(cluster, &repo, key.as_ref(), tell).await?;
    if !wanted.check {
        tell.note(format!("{repo} at {revision} was not checked: Argo CD will report any problem with it"))
            .await;
        return Ok(Checked { repo, revision, commit: None, key, files: None });
    }
    tell.doing(format!("looking at {revision} of {repo}")).await;
    let remote = Remote { url: repo.clone(), credentials };
    let commit = remote.commit(&revision).await?;
    let files = match remote.fetch(&revision).await {
        Ok(files) => {
            has_what_is_needed(&files, &remote, &revision, wanted)?;
            Some(files)
        }
        Err(error) => {
            tell.note(format!("could not check whether the repository has argocd/ and helm-chart/: {error}"))
                .await;
            None
        }
    };
    if let Some(checkout) =
        checkout.filter(|checkout| checkout.revision == revision && checkout.commit != commit)
    {
        tell.note(format!(
            "this checkout is at {}, and {revision} of {repo} is at {}: Argo CD runs what is pushed",
            short(&checkout.commit),
            short(&commit)
        ))
        .await;
    }
    Ok(Checked { repo, revision, commit: Some(commit), key, files })
}

fn has_what_is_needed(
    fetched: &Fetched,
    remote: &Remote,
    revision: &str,
    wanted: &Register,
) -> Result<(), TargetError> {
    let presets: Vec<String> =
        wanted.presets.iter().flatten().map(|preset| format!("helm-chart/{preset}")).collect();
    let needed: Vec<&str> = NEEDED.into_iter().chain(presets.iter().map(String::as_str)).collect();
    let lacks = fetched.lacks(&needed);
    if lacks.is_empty() {
        return Ok(());
    }
    failed(format!(
        "{} has no {} at {revision} ({}); is it the repository of playctl, and pushed?",
        remote.url,
        lacks.join(" and no "),
        short(&fetched.commit)
    ))
}

/// The credentials that Argo CD uses for the repository, so that the check can use them too. An address that needs a
/// key and has none is an error.
async fn credentials(
    cluster: &Cluster,
    repo: &str,
    key: Option<&Key>,
    tell: &Tell,
) -> Result<Credentials, TargetError> {
    let known = repository::known(cluster, repo).await?;
    if let Some(key) = key {
        if !repository::is_ssh(repo) {
            return invalid(format!(
                "--ssh-key-file cannot open {repo}; expected an address such as git@HOST:PATH"
            ));
        }
        return match known {
            Known::By(name) if name != repository::SECRET => invalid(format!(
                "Argo CD already has credentials for {repo}, in Secret {}/{name}; leave out --ssh-key-file, or delete \
                 that Secret first",
                cluster.namespace
            )),
            _ => Ok(Credentials::Key(key.file.clone())),
        };
    }
    Ok(match known {
        Known::By(_) => Credentials::Own,
        Known::Nothing if repository::is_ssh(repo) => {
            return invalid(format!(
                "Argo CD has no key for {repo}; give it one with --ssh-key-file FILE, or name the repository's https \
                 address with --repo"
            ));
        }
        Known::Nothing => Credentials::None,
        Known::MayNotLook => {
            tell.note(
                "this account may not list Secrets: cannot tell whether Argo CD has credentials for the repository",
            )
            .await;
            Credentials::Own
        }
    })
}

/// A commit in short form.
pub(super) fn short(commit: &str) -> &str {
    commit.get(..8).unwrap_or(commit)
}
