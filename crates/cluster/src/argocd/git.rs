//! A repository as git sees it from this machine: whether it is reachable, which commit a revision names, what it
//! contains.
//!
//! git never prompts, uses only the protocols that Argo CD supports, and has a time limit.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use platform::TargetError;
use tempfile::TempDir;

use super::{
    api::failed,
    program::{self, Call, Failed, GIT},
};

/// How long a request with little data may take.
const ASK: Duration = Duration::from_secs(30);
/// How long fetching one commit may take.
const FETCH: Duration = Duration::from_mins(3);

/// The credentials that git uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    /// None, as Argo CD does when it has none.
    None,
    /// Only this key.
    Key(PathBuf),
    /// git's own on this machine.
    Own,
}

/// A remote repository, or one that is treated as remote.
#[derive(Debug, Clone)]
pub(super) struct Remote {
    pub(super) url: String,
    pub(super) credentials: Credentials,
}

impl Remote {
    fn call(&self, limit: Duration, arguments: &[&str]) -> Call {
        let mut call = Call::new(limit, &["-c", "core.hooksPath=/dev/null", "-c", "core.symlinks=false"]);
        if self.credentials != Credentials::Own {
            call = call.arg("-c").arg("credential.helper=");
        }
        call.arguments.extend(arguments.iter().map(OsString::from));
        call.environment = vec![
            ("GIT_TERMINAL_PROMPT", "0".into()),
            ("GIT_ASKPASS", "".into()),
            ("SSH_ASKPASS_REQUIRE", "never".into()),
            ("GIT_ALLOW_PROTOCOL", "file:git:http:https:ssh".into()),
            ("GIT_LFS_SKIP_SMUDGE", "1".into()),
            ("GIT_SSH_COMMAND", self.ssh()),
        ];
        call
    }

    fn ssh(&self) -> OsString {
        let mut command = OsString::from("ssh -oBatchMode=yes -oConnectTimeout=10");
        if let Credentials::Key(file) = &self.credentials {
            // No configuration and no agent: Argo CD has neither, and another key that fits would hide a wrong one.
            command.push(" -F none -oIdentitiesOnly=yes -oIdentityAgent=none -i ");
            command.push(quoted(file));
        }
        command
    }

    /// The commit that a revision names. Also shows that the repository is reachable.
    pub(super) async fn commit(&self, revision: &str) -> Result<String, TargetError> {
        let refs = [
            format!("refs/heads/{revision}"),
            format!("refs/tags/{revision}^{{}}"),
            format!("refs/tags/{revision}"),
        ];
        let mut call = self.call(ASK, &["ls-remote", "--", &self.url, "HEAD"]);
        call.arguments.extend(refs.iter().map(OsString::from));
        let listed = program::run(GIT, Path::new("/"), call).await;
        let listed = listed.map_err(|failed| self.unreachable(&failed))?;
        match chosen(&listed, revision, &refs) {
            Some(commit) => Ok(commit),
            None => failed(format!(
                "{} has no branch, tag or full commit id {revision}; is it pushed? Another one is chosen by --revision",
                self.url
            )),
        }
    }

    fn unreachable(&self, failed: &Failed) -> TargetError {
        let said = failed.words(GIT);
        let hint = match &self.credentials {
            _ if matches!(failed, Failed::NotStarted(_)) => "",
            _ if said.contains("Host key verification failed") => {
                "; this machine does not know the host's key: add it to ~/.ssh/known_hosts after comparing it"
            }
            Credentials::Key(_) => "; does the repository accept this key?",
            Credentials::None => {
                "; a private repository needs --ssh-key-file, or credentials in Argo CD. \
                 If Argo CD reaches it and this machine does not: --no-check"
            }
            Credentials::Own => "; if Argo CD reaches it and this machine does not: --no-check",
        };
        TargetError::Other { message: format!("the repository {} cannot be reached: {said}{hint}", self.url) }
    }

    /// Fetches one revision without its history.
    pub(super) async fn fetch(&self, revision: &str) -> Result<Fetched, TargetError> {
        let folder = tempfile::Builder::new()
            .prefix("playctl-argocd")
            .tempdir()
            .map_err(|error| TargetError::other(format!("could not make a temporary folder: {error}")))?;
        let what = format!("fetching {revision} of {}", self.url);
        let within = |call: Call| program::run(GIT, folder.path(), call);
        let said = |failed: Failed| program::error(GIT, &failed, &what);
        within(self.call(ASK, &["init", "--quiet", "--template="])).await.map_err(said)?;
        let fetch = ["fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--"];
        let fetch = self.call(FETCH, &fetch).arg(&self.url).arg(revision);
        within(fetch).await.map_err(said)?;
        let commit = within(self.call(ASK, &["rev-parse", "FETCH_HEAD^{commit}"])).await.map_err(said)?;
        let checkout = self.call(FETCH, &["checkout", "--quiet", "--detach", "FETCH_HEAD"]);
        within(checkout).await.map_err(said)?;
        Ok(Fetched { folder, commit: commit.trim().to_owned() })
    }
}

/// One commit in a temporary folder.
#[derive(Debug)]
pub(super) struct Fetched {
    folder: TempDir,
    pub(super) commit: String,
}

impl Fetched {
    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The paths that the commit lacks.
    pub(super) fn lacks<'a>(&self, paths: &[&'a str]) -> Vec<&'a str> {
        paths.iter().copied().filter(|path| !self.path().join(path).is_file()).collect()
    }
}

/// The commit among the lines of `git ls-remote`: a branch takes precedence over a tag, as in Argo CD, and an annotated
/// tag stands for its commit. A full commit id stands for itself; only fetching shows whether it exists.
fn chosen(listed: &str, revision: &str, refs: &[String]) -> Option<String> {
    let lines: Vec<(&str, &str)> = listed.lines().filter_map(|line| line.split_once('\t')).collect();
    let of = |name: &str| lines.iter().find(|(_, known)| *known == name).map(|(id, _)| (*id).to_owned());
    if revision == "HEAD" {
        return of("HEAD");
    }
    refs.iter().find_map(|name| of(name)).or_else(|| is_commit(revision).then(|| revision.to_owned()))
}

fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Quoted for the shell through which git runs the command.
fn quoted(path: &Path) -> OsString {
    let mut text = OsString::from("'");
    text.push(path.to_string_lossy().replace('\'', r"'\''"));
    text.push("'");
    text
}

/// The origin of the checkout in `folder`, and its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checkout {
    pub(super) origin: String,
    /// The current branch, or the commit if the head is detached.
    pub(super) revision: String,
    pub(super) commit: String,
}

/// The checkout that contains the current folder.
pub(super) async fn checkout(folder: &Path) -> Result<Checkout, TargetError> {
    let ask = async |arguments: &[&str]| {
        let answer = program::run(GIT, folder, Call::new(ASK, arguments)).await;
        answer.map(|answer| answer.trim().to_owned())
    };
    let origin = ask(&["remote", "get-url", "origin"]).await.map_err(|failed| TargetError::Invalid {
        message: format!(
            "which repository? This folder has no git remote `origin` ({}); name it by --repo URL --revision REV",
            failed.words(GIT)
        ),
    })?;
    let said = |failed: Failed| program::error(GIT, &failed, "looking at this checkout");
    let commit = ask(&["rev-parse", "HEAD"]).await.map_err(said)?;
    let revision = match ask(&["symbolic-ref", "--short", "--quiet", "HEAD"]).await {
        Ok(branch) => branch,
        Err(Failed::Status(_)) => commit.clone(),
        Err(failed) => return Err(said(failed)),
    };
    Ok(Checkout { origin, revision, commit })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn git(folder: &Path, arguments: &[&str]) -> String {
        let who = ["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "init.defaultBranch=main"];
        let output = Command::new("git").current_dir(folder).args(who).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn wait<T>(answer: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(answer)
    }

    /// A repository with a branch and an annotated tag on an older commit.
    fn repository() -> (TempDir, Remote) {
        let folder = tempfile::tempdir().unwrap();
        git(folder.path(), &["init", "--quiet"]);
        std::fs::create_dir(folder.path().join("argocd")).unwrap();
        std::fs::write(folder.path().join("argocd/Chart.yaml"), "name: x\n").unwrap();
        git(folder.path(), &["add", "."]);
        git(folder.path(), &["commit", "--quiet", "-m", "first"]);
        git(folder.path(), &["tag", "-a", "-m", "one", "v1"]);
        std::fs::write(folder.path().join("second"), "").unwrap();
        git(folder.path(), &["add", "."]);
        git(folder.path(), &["commit", "--quiet", "-m", "second"]);
        let url = format!("file://{}", folder.path().display());
        (folder, Remote { url, credentials: Credentials::None })
    }

    #[test]
    fn a_revision_is_a_branch_a_tag_or_a_commit() {
        let (folder, remote) = repository();
        let head = git(folder.path(), &["rev-parse", "HEAD"]);
        let first = git(folder.path(), &["rev-parse", "HEAD~1"]);
        assert_eq!(wait(remote.commit("main")), Ok(head.clone()));
        assert_eq!(wait(remote.commit("HEAD")), Ok(head.clone()));
        assert_eq!(wait(remote.commit("v1")), Ok(first), "a tag stands for its commit");
        assert_eq!(wait(remote.commit(&head)), Ok(head));
        for wrong in ["man", "v", "abcdef0", "refs/heads/main"] {
            let error = wait(remote.commit(wrong)).unwrap_err().to_string();
            assert!(error.contains("no branch, tag or full commit id") && error.contains(wrong), "{error}");
        }
    }

    #[test]
    fn a_repository_that_is_not_there_is_said_with_what_git_says() {
        let remote = Remote { url: "file:///nowhere/at-all".to_owned(), credentials: Credentials::None };
        let error = wait(remote.commit("main")).unwrap_err().to_string();
        assert!(
            error.contains("file:///nowhere/at-all cannot be reached") && error.contains("--no-check"),
            "{error}"
        );
        // A protocol that would run a program.
        let remote = Remote { url: "ext::sh -c true".to_owned(), credentials: Credentials::None };
        let error = wait(remote.commit("main")).unwrap_err().to_string();
        assert!(error.contains("not allowed"), "{error}");
    }

    #[test]
    fn one_commit_is_fetched() {
        let (folder, remote) = repository();
        let fetched = wait(remote.fetch("v1")).unwrap();
        assert_eq!(fetched.commit, git(folder.path(), &["rev-parse", "HEAD~1"]));
        let paths = ["argocd/Chart.yaml", "helm-chart/Chart.yaml", "second"];
        assert_eq!(fetched.lacks(&paths), ["helm-chart/Chart.yaml", "second"]);
        assert!(wait(remote.fetch("main")).unwrap().lacks(&["second"]).is_empty());
        let error = wait(remote.fetch(&"a".repeat(40))).unwrap_err().to_string();
        assert!(error.contains("fetching aaaa"), "{error}");
    }

    #[test]
    fn links_in_a_repository_lead_nowhere() {
        let (folder, remote) = repository();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
        git(folder.path(), &["add", "."]);
        git(folder.path(), &["commit", "--quiet", "-m", "link"]);
        let fetched = wait(remote.fetch("main")).unwrap();
        assert_eq!(std::fs::read_to_string(fetched.path().join("link")).unwrap(), "/etc/passwd");
    }

    #[test]
    fn the_checkout_is_where_one_is() {
        let (folder, remote) = repository();
        let clone = tempfile::tempdir().unwrap();
        git(clone.path(), &["clone", "--quiet", &remote.url, "."]);
        let head = git(folder.path(), &["rev-parse", "HEAD"]);
        let expected =
            Checkout { origin: remote.url.clone(), revision: "main".to_owned(), commit: head.clone() };
        assert_eq!(wait(checkout(clone.path())), Ok(expected));
        git(clone.path(), &["checkout", "--quiet", "--detach"]);
        assert_eq!(wait(checkout(clone.path())).unwrap().revision, head);
        let error = wait(checkout(folder.path())).unwrap_err().to_string();
        assert!(error.contains("--repo URL"), "{error}");
    }

    #[test]
    fn a_key_is_the_only_credential_there_is() {
        let key = Credentials::Key("/keys/it's mine".into());
        let remote = Remote { url: "git@host:x".to_owned(), credentials: key };
        let ssh = remote.ssh().into_string().unwrap();
        assert!(
            ssh.ends_with(r"-F none -oIdentitiesOnly=yes -oIdentityAgent=none -i '/keys/it'\''s mine'"),
            "{ssh}"
        );
        let call = remote.call(ASK, &["ls-remote"]);
        assert!(call.arguments.iter().any(|argument| argument == "credential.helper="));
    }
}
