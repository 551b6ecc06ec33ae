//! Kubeconfig files. What is wrong with one is said with its place, and without what it holds: secrets, mostly.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use http::{HeaderValue, Uri};
use kube::config::{AuthInfo, Kubeconfig};
use serde_json::Value;

use crate::error::of_kubeconfig;

/// No kubeconfig comes near; it keeps a wrong name from filling the memory.
const BYTES_MAX: u64 = 16 << 20;

/// The files as one, by kubectl's rules: what comes first wins. Where there are several, those that are not there are passed
/// over.
pub(crate) fn read(files: &[PathBuf]) -> Result<Kubeconfig, String> {
    let mut merged: Option<Kubeconfig> = None;
    for file in files {
        let one = match text(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && files.len() > 1 => continue,
            text => text.map_err(|error| error.to_string()).and_then(|text| parse(file, &text)),
        };
        let one =
            one.map_err(|why| if files.len() > 1 { format!("{}: {why}", file.display()) } else { why })?;
        merged = Some(match merged {
            None => one,
            Some(before) => before.merge(one).map_err(|error| format!("{}: {error}", file.display()))?,
        });
    }
    merged.ok_or_else(|| "none of these files is there".to_owned())
}

fn text(file: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    // It may be a pipe, which can be read only once.
    File::open(file)?.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(io::Error::other("larger than 16 MiB"));
    }
    let unreadable = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
    // Windows' PowerShell writes UTF-16.
    let units = |number: fn([u8; 2]) -> u16| -> Option<String> {
        let (pairs, rest) = bytes[2..].as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().copied().map(number).collect();
        rest.is_empty().then(|| String::from_utf16(&units).ok()).flatten()
    };
    match &bytes[..] {
        [0xff, 0xfe, ..] => units(u16::from_le_bytes).ok_or_else(|| unreadable("it is no text in UTF-16")),
        [0xfe, 0xff, ..] => units(u16::from_be_bytes).ok_or_else(|| unreadable("it is no text in UTF-16")),
        _ => String::from_utf8(bytes).map_err(|_| unreadable("it is no text in UTF-8")),
    }
}

fn parse(file: &Path, text: &str) -> Result<Kubeconfig, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut config = Kubeconfig::from_yaml(text).map_err(|error| of_kubeconfig(&error))?;
    let folder = file.parent().unwrap_or(Path::new(""));
    for cluster in config.clusters.iter_mut().filter_map(|one| one.cluster.as_mut()) {
        absolute(folder, &mut cluster.certificate_authority);
    }
    for named in &mut config.auth_infos {
        let Some(user) = named.auth_info.as_mut() else { continue };
        let AuthInfo { client_certificate, client_key, token_file, exec, .. } = user;
        for path in [client_certificate, client_key, token_file] {
            absolute(folder, path);
        }
        // The system looks for a name without a folder on PATH.
        if let Some(exec) = exec.as_mut()
            && exec.command.as_ref().is_some_and(|command| command.contains('/'))
        {
            absolute(folder, &mut exec.command);
        }
    }
    Ok(config)
}

/// A path in a kubeconfig is relative to the kubeconfig.
fn absolute(folder: &Path, path: &mut Option<String>) {
    let Some(relative) = path.as_ref().filter(|path| Path::new(path).is_relative()) else { return };
    if let Some(joined) = folder.join(relative).to_str() {
        *path = Some(joined.to_owned());
    }
}

/// What of a user cannot be sent in a header. The client panics at some of it, and does not say which it is of the rest.
pub(crate) fn unsendable(user: &AuthInfo) -> Option<&'static str> {
    let fields = serde_json::to_value(user).unwrap_or_default();
    ["token", "as", "as-uid", "as-groups", "as-user-extra"]
        .into_iter()
        .find(|field| !all_fit_a_header(&fields[*field]))
}

/// The token that stands in the kubeconfig itself.
pub(crate) fn token(user: &AuthInfo) -> Option<String> {
    let fields = serde_json::to_value(user).unwrap_or_default();
    fields["token"].as_str().map(str::to_owned)
}

fn all_fit_a_header(field: &Value) -> bool {
    match field {
        Value::String(text) => fits_a_header(text),
        Value::Array(several) => several.iter().all(all_fit_a_header),
        Value::Object(named) => named.values().all(all_fit_a_header),
        _ => true,
    }
}

fn fits_a_header(text: &str) -> bool {
    HeaderValue::from_str(text).is_ok()
}

/// Who gives a user's token, if that is not the kubeconfig itself.
pub(crate) fn giver(user: &AuthInfo) -> String {
    let command = user.exec.as_ref().and_then(|exec| exec.command.as_ref());
    match (&user.auth_provider, command) {
        (Some(provider), _) => format!("the auth-provider {}", provider.name),
        (None, Some(command)) => format!("the program by which the kubeconfig logs in (exec: {command})"),
        (None, None) => "the kubeconfig".to_owned(),
    }
}

/// What the kubeconfig says to do where its login program is missing.
pub(crate) fn install_hint(user: &AuthInfo) -> Option<String> {
    let exec = user.exec.as_ref()?;
    let hint: Vec<&str> = exec.install_hint.as_ref()?.split_whitespace().collect();
    (!hint.is_empty()).then(|| hint.join(" "))
}

/// An address without the password that it may have.
pub(crate) fn without_password(address: &Uri) -> String {
    let user = address.authority().and_then(|authority| authority.as_str().rsplit_once('@'));
    let address = address.to_string();
    user.map_or(address.clone(), |(user, _)| address.replacen(&format!("{user}@"), "", 1))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn written(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn a_broken_one_is_named_with_the_place_and_without_its_secrets() {
        let folder = tempfile::tempdir().unwrap();
        for text in [
            "users:\n- name: u\n  user:\n    token: HUNTER2\n    password: [HUNTER2\ncontexts: []\n",
            "users:\n- name: u\n  user: HUNTER2\n",
            "users:\n- name: u\n  user:\n    exec: HUNTER2\n",
            "users:\n- name: u\n  user: {exec: {interactiveMode: HUNTER2}}\n",
            "users:\n- name: u\n  user: {token: \"HUNTER2\\nHUNTER2\"}\n",
            "users:\n- name: u\n  user: {token: 'HUNTER2}\n",
            "users: \"HUNTER2\"\n",
            "users: 'HUNTER2 it''s \"HUNTER2\"'\n",
            "HUNTER2",
            "a: &a HUNTER2\nb: *HUNTER2\n",
            "HUNTER2: 1\nHUNTER2: 2\n",
        ] {
            let file = written(folder.path(), "broken", text);
            if let Err(error) = read(&[file]) {
                assert!(!error.contains("HUNTER2") && !error.contains('\n'), "{text}\n{error}");
                assert!(!error.is_empty(), "{text}");
            }
        }
        let file = written(folder.path(), "place", "apiVersion: v1\nclusters: [\n");
        assert!(read(&[file]).unwrap_err().contains("line "));
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (bytes, why) in [
            (&[0xff, 0xfe, b'a'][..], "UTF-16"),
            (&[0xfe, 0xff, 0xd8, 0x00, 0x00, b'a'], "UTF-16"),
            (&[b'a', 0xff], "UTF-8"),
        ] {
            let error = read(&[written(folder.path(), "bytes", bytes)]).unwrap_err();
            assert!(error.contains(why), "{bytes:?}: {error}");
        }
        let text = "current-context: one\n";
        let wide: Vec<u8> =
            [0xff, 0xfe].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect();
        for good in [wide, format!("\u{feff}{text}").into_bytes()] {
            let config = read(&[written(folder.path(), "good", good)]).unwrap();
            assert_eq!(config.current_context.as_deref(), Some("one"));
        }
        assert!(read(&[PathBuf::from("/dev/zero")]).unwrap_err().contains("16 MiB"));
    }

    #[test]
    fn several_are_one_and_those_that_are_not_there_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let one = written(folder.path(), "one", "current-context: one\n");
        let two = written(
            folder.path(),
            "two",
            "current-context: two\nclusters: [{name: c, cluster: {server: s, certificate-authority: ca.crt}}]\n",
        );
        let gone = folder.path().join("gone");
        let all = read(&[gone.clone(), one, two]).unwrap();
        assert_eq!(all.current_context.as_deref(), Some("one"));
        let ca = all.clusters[0].cluster.as_ref().unwrap().certificate_authority.clone().unwrap();
        assert_eq!(Path::new(&ca), folder.path().join("ca.crt"));
        assert!(read(&[gone.clone(), gone.clone()]).unwrap_err().contains("none of these"));
        assert!(read(&[gone]).unwrap_err().contains("No such file"));
        let broken = written(folder.path(), "broken", "[");
        let fine = written(folder.path(), "fine", "{}");
        assert!(read(&[fine, broken.clone()]).unwrap_err().contains(&broken.display().to_string()));
    }
}
