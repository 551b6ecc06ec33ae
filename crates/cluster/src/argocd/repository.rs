//! The repository's address and the key that opens it.

use std::{
    fmt,
    fs::File,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, api::ListParams};
use platform::TargetError;
use serde_json::{Value, json};

use super::api::invalid;
use crate::connect::Cluster;

/// The label by which Argo CD finds its repositories' settings.
const TYPE: &str = "argocd.argoproj.io/secret-type";
/// The name of the Secret with the key.
pub(super) const SECRET: &str = "playground-repository";
/// A key is a few kilobytes long.
const KEY_MAX: u64 = 64 << 10;

/// Refuses addresses that are useless to Argo CD or would publish a password.
pub(super) fn check_address(url: &str) -> Result<(), TargetError> {
    let shown = without_password(url);
    if url.is_empty()
        || url.starts_with('-')
        || url.chars().any(|one| one.is_whitespace() || one.is_control())
    {
        return invalid(format!("{shown:?} is not a repository address"));
    }
    if shown != url {
        return invalid(format!(
            "{shown} has a password or a token in it, which everyone who may read Applications would see; leave it out, and make it \
             known to Argo CD as a repository Secret"
        ));
    }
    let is_scp = !url.contains("://") && url.split_once(':').is_some_and(|(host, _)| !host.contains('/'));
    let known = ["https://", "http://", "ssh://", "git://", "file://"];
    if is_scp || known.iter().any(|scheme| url.starts_with(scheme)) {
        return Ok(());
    }
    invalid(format!(
        "{url} is a path of this machine, where Argo CD does not look; name the address under which it is served: \
         --repo URL"
    ))
}

/// Refuses text that git or Argo CD would not take for a revision.
pub(super) fn check_revision(revision: &str) -> Result<(), TargetError> {
    let is_odd = |one: char| one.is_whitespace() || one.is_control() || "~^:?*[\\".contains(one);
    if revision.is_empty()
        || revision.starts_with('-')
        || revision.contains("..")
        || revision.chars().any(is_odd)
    {
        return invalid(format!(
            "{revision:?} is not a revision; expected a branch, a tag or a full commit id"
        ));
    }
    Ok(())
}

/// The longest name of a user. Tokens, which some servers take instead of one, are longer.
const NAME_MAX: usize = 19;

/// `https://me:word@host/x` as `https://me@host/x`, and `https://TOKEN@host/x` as `https://…@host/x`.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((user, host)) => {
            let user = user.split(':').next().unwrap_or_default();
            let user = if user.len() > NAME_MAX { "…" } else { user };
            format!("{scheme}://{user}@{host}{path}")
        }
        None => url.to_owned(),
    }
}

/// Whether git accesses it by SSH.
pub(super) fn is_ssh(url: &str) -> bool {
    url.starts_with("ssh://") || !url.contains("://")
}

/// A private key. It is never shown.
pub(super) struct Key {
    text: String,
    pub(super) file: PathBuf,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.file.display())
    }
}

impl Key {
    /// Reads a key that only its owner may read and that Argo CD, which cannot ask for a passphrase, can use.
    pub(super) fn read(file: &Path) -> Result<Self, TargetError> {
        let shown = file.display();
        let unreadable = |error| TargetError::Invalid { message: format!("{shown} cannot be read: {error}") };
        let file = std::path::absolute(file).map_err(unreadable)?;
        let opened = File::open(&file).map_err(unreadable)?;
        let about = opened.metadata().map_err(unreadable)?;
        if !about.is_file() || about.len() > KEY_MAX {
            return invalid(format!(
                "{shown} is not a private key: expected a file of at most {} kB",
                KEY_MAX >> 10
            ));
        }
        let mode = about.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return invalid(format!("others may use the key {shown} (mode {mode:03o}); chmod 600 {shown}"));
        }
        let mut text = String::new();
        let read = opened.take(KEY_MAX).read_to_string(&mut text);
        read.map_err(|_| TargetError::Invalid {
            message: format!("{shown} is not a private key: it is not text"),
        })?;
        check_key(&text).map_err(|why| TargetError::Invalid { message: format!("{shown} {why}") })?;
        Ok(Self { text, file })
    }
}

fn check_key(text: &str) -> Result<(), &'static str> {
    let first = text.trim_start().lines().next().unwrap_or_default();
    if first.starts_with("ssh-") || first.starts_with("ecdsa-") {
        return Err("is the public half of a key; name the file without .pub");
    }
    if !first.starts_with("-----BEGIN ") || !first.contains("PRIVATE KEY") {
        return Err("is not a private key; expected one that begins with -----BEGIN … PRIVATE KEY-----");
    }
    // OpenSSH's own format starts with the name of the cipher: these characters encode "none".
    let body: String = text.lines().skip_while(|line| !line.starts_with("-----BEGIN")).skip(1).collect();
    let is_locked = first.contains("ENCRYPTED")
        || text.contains("Proc-Type: 4,ENCRYPTED")
        || (first.contains("OPENSSH") && !body.starts_with("b3BlbnNzaC1rZXktdjEAAAAABG5vbm"));
    if is_locked {
        return Err(
            "has a passphrase, for which Argo CD cannot ask; make a key of its own for this repository: \
                    ssh-keygen -t ed25519 -N '' -f FILE",
        );
    }
    Ok(())
}

/// What Argo CD already knows about an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Known {
    Nothing,
    /// From this Secret.
    By(String),
    /// This account may not read Secrets.
    MayNotLook,
}

/// Whether Argo CD has credentials for the address.
pub(super) async fn known(cluster: &Cluster, url: &str) -> Result<Known, TargetError> {
    let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let params = ListParams::default().labels(&format!("{TYPE} in (repository,repo-creds)"));
    match cluster.try_ask(secrets.list(&params)).await {
        Ok(list) => {
            let found = list.items.iter().find(|secret| fits(secret, url));
            let name = found.and_then(|secret| secret.metadata.name.clone());
            Ok(name.map_or(Known::Nothing, Known::By))
        }
        Err(call) if call.status() == Some(403) => Ok(Known::MayNotLook),
        Err(call) => Err(call.error("the repositories that Argo CD knows", cluster)),
    }
}

/// A credential template applies to every address with its prefix.
fn fits(secret: &Secret, url: &str) -> bool {
    let of = |key: &str| {
        let bytes = secret.data.as_ref().and_then(|data| data.get(key));
        bytes.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned()).unwrap_or_default()
    };
    let kind = secret.metadata.labels.as_ref().and_then(|labels| labels.get(TYPE));
    let known = of("url");
    if known.is_empty() {
        return false;
    }
    match kind.map(String::as_str) {
        Some("repo-creds") => normal(url).starts_with(&normal(&known)),
        _ => normal(url) == normal(&known),
    }
}

/// Normalised as Argo CD does to compare addresses: without `.git` and a trailing slash, in lower case, and
/// `git@host:x` as a URL.
fn normal(url: &str) -> String {
    let mut url = url.trim().trim_end_matches('/').to_lowercase();
    if !url.contains("://") {
        url = format!("ssh://{}", url.replacen(':', "/", 1));
    }
    url.strip_suffix(".git").unwrap_or(&url).to_owned()
}

/// The Secret that gives Argo CD the key.
pub(super) fn secret(namespace: &str, url: &str, key: &Key) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": SECRET,
            "namespace": namespace,
            "labels": {TYPE: "repository", "app.kubernetes.io/part-of": super::names::RELEASE},
        },
        "type": "Opaque",
        "stringData": {"type": "git", "url": url, "sshPrivateKey": key.text},
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn addresses_are_those_that_argo_cd_can_use() {
        for good in [
            "https://host.example/lab/playctl.git",
            "https://me@host.example/lab/playctl",
            "git@host.example:lab/playctl.git",
            "ssh://git@host.example:2222/lab/playctl",
            "file:///srv/repo.git",
        ] {
            assert_eq!(check_address(good), Ok(()), "{good}");
        }
        for (wrong, why) in [
            ("/home/me/playctl", "path of this machine"),
            ("../playctl", "path of this machine"),
            ("./a:b/c", "path of this machine"),
            ("C/repo:x", "path of this machine"),
            ("", "not a repository address"),
            ("--upload-pack=evil", "not a repository address"),
            ("https://host/a b", "not a repository address"),
            ("ftp://host/x", "path of this machine"),
        ] {
            let error = check_address(wrong).unwrap_err().to_string();
            assert!(error.contains(why), "{wrong}: {error}");
        }
        let token = "ghp_0123456789abcdef0123456789abcdef0123";
        let error = check_address(&format!("https://{token}@host.example/x")).unwrap_err().to_string();
        assert!(error.contains("https://…@host.example/x") && !error.contains("ghp_"), "{error}");
        let error = check_address("https://me:hunter2@host.example/x").unwrap_err().to_string();
        assert!(error.contains("https://me@host.example/x") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn revisions_are_names_and_not_expressions() {
        for good in ["main", "feature/x", "v1.0", "0123456789012345678901234567890123456789"] {
            assert_eq!(check_revision(good), Ok(()), "{good}");
        }
        for wrong in ["", "-x", "main..other", "main~1", "a b", "refs:x", "v1.*"] {
            assert!(check_revision(wrong).is_err(), "{wrong}");
        }
    }

    fn key(folder: &Path, text: &str, mode: u32) -> Result<Key, TargetError> {
        let file = folder.join("key");
        let _ = fs::remove_file(&file);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        Key::read(&file)
    }

    #[test]
    fn a_key_is_private_and_without_a_passphrase() {
        let folder = tempfile::tempdir().unwrap();
        let block =
            |kind: &str, body: &str| format!("-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n");
        let open = block("OPENSSH PRIVATE KEY", "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABsecret");
        let read = key(folder.path(), &open, 0o600).unwrap();
        assert!(!format!("{read:?}").contains("secret"), "{read:?}");
        assert!(key(folder.path(), &open, 0o400).is_ok());
        assert!(key(folder.path(), &block("RSA PRIVATE KEY", "MIIsecret"), 0o600).is_ok());
        let locked =
            block("OPENSSH PRIVATE KEY", "b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0secret");
        for (text, mode, why) in [
            (open.as_str(), 0o644, "chmod 600"),
            (open.as_str(), 0o660, "chmod 600"),
            ("ssh-ed25519 AAAAsecret me@host", 0o600, "public half"),
            ("just secret words", 0o600, "not a private key"),
            (locked.as_str(), 0o600, "passphrase"),
            (&block("ENCRYPTED PRIVATE KEY", "secret"), 0o600, "passphrase"),
            (&block("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\nsecret"), 0o600, "passphrase"),
            (&"secret".repeat(20_000), 0o600, "at most 64 kB"),
        ] {
            let error = key(folder.path(), text, mode).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("/key") && !error.contains("secret"), "{error}");
        }
        let error = Key::read(&folder.path().join("none")).unwrap_err().to_string();
        assert!(error.contains("none cannot be read"), "{error}");
    }

    #[test]
    fn argo_cds_credentials_match_by_address_or_prefix() {
        let secret = |kind: &str, url: &str| -> Secret {
            serde_json::from_value(json!({
                "metadata": {"name": "x", "labels": {TYPE: kind}},
                "data": {"url": k8s_openapi::ByteString(url.as_bytes().to_vec())},
            }))
            .unwrap()
        };
        let url = "https://host.example/lab/playctl";
        assert!(fits(&secret("repository", "https://Host.example/lab/playctl.git"), url));
        assert!(!fits(&secret("repository", "https://host.example/lab"), url));
        assert!(fits(&secret("repo-creds", "https://host.example/lab"), url));
        assert!(!fits(&secret("repo-creds", ""), url));
        assert!(fits(&secret("repository", "ssh://git@host.example/lab/x"), "git@host.example:lab/x.git"));
    }
}
