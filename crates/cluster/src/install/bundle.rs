//! The support bundle: everything that helps others diagnose a problem, and no secrets.

use std::{
    collections::BTreeSet,
    fmt,
    fmt::Write as _,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use flate2::{Compression, write::GzEncoder};
use futures_util::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{
    Api,
    api::{ListParams, LogParams},
    core::{ApiResource, DynamicObject},
};
use platform::TargetError;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::{
    AT_ONCE, OnProgress, Progress, Site,
    catalog::{Catalog, Kind},
    helm::Helm,
    manifest::{self, Object},
    plan, ready,
    redact::Redactor,
    release,
};

/// Uncompressed size; later entries are left out, and reported.
const BYTES_MAX: u64 = 256 << 20;
const LOG_LINES: i64 = 5000;
const LOG_BYTES: i64 = 1 << 20;
const PODS_MAX: usize = 100;
/// Objects of one kind in one namespace.
const OBJECTS_MAX: u32 = 500;
/// Of the cluster, what explains most.
const CLUSTER_KINDS: [(&str, &str); 5] = [
    ("", "Node"),
    ("", "Namespace"),
    ("", "PersistentVolume"),
    ("storage.k8s.io", "StorageClass"),
    ("apiregistration.k8s.io", "APIService"),
];

/// A bundle that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Diagnosed {
    pub file: PathBuf,
    pub bytes: u64,
    /// What is in it.
    pub entries: Vec<String>,
    /// What could not be collected, and why.
    pub left_out: Vec<String>,
}

/// A `.tar.gz` that grows entry by entry, without secrets; only its owner may read it. What is dropped unfinished leaves
/// nothing.
pub struct Archive {
    path: PathBuf,
    /// The file that it becomes: what `path` leads to, if that is a link.
    place: PathBuf,
    /// `None`: it goes to a pipe or a device as it grows.
    unfinished: Option<NamedTempFile>,
    tar: tar::Builder<GzEncoder<File>>,
    redactor: Redactor,
    folder: String,
    bytes: u64,
    entries: Vec<String>,
    left_out: Vec<String>,
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive")
            .field("path", &self.path)
            .field("entries", &self.entries)
            .finish_non_exhaustive()
    }
}

impl Archive {
    pub fn create(path: &Path, redactor: Redactor) -> io::Result<Self> {
        let (file, unfinished, place) = match fs::metadata(path) {
            Ok(there) if there.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(there) if !there.is_file() => (File::options().write(true).open(path)?, None, path.to_owned()),
            there => {
                // A link stays one: what it leads to is replaced.
                let place = if there.is_ok() { path.canonicalize()? } else { path.to_owned() };
                let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty());
                let unfinished = tempfile::Builder::new()
                    .prefix(".playctl-")
                    .tempfile_in(folder.unwrap_or(Path::new(".")))?;
                (unfinished.as_file().try_clone()?, Some(unfinished), place)
            }
        };
        let folder = format!("playctl-{}", clock::wall().strftime("%Y%m%dT%H%M%SZ"));
        Ok(Self {
            path: path.to_owned(),
            place,
            unfinished,
            tar: tar::Builder::new(GzEncoder::new(file, Compression::default())),
            redactor,
            folder,
            bytes: 0,
            entries: Vec::new(),
            left_out: Vec::new(),
        })
    }

    pub fn text(&mut self, name: &str, text: &str) -> io::Result<()> {
        let text = self.redactor.text(text);
        self.append(name, text.as_bytes())
    }

    pub fn json(&mut self, name: &str, value: &Value) -> io::Result<()> {
        let redacted = match value {
            Value::Array(items) => items.iter().map(|item| self.redactor.object(item)).collect(),
            other => self.redactor.object(other),
        };
        let text = serde_json::to_string_pretty(&redacted).map_err(io::Error::other)?;
        self.append(name, text.as_bytes())
    }

    pub fn leave_out(&mut self, what: impl Into<String>) {
        self.left_out.push(what.into());
    }

    fn append(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let size = content.len() as u64;
        if self.bytes.saturating_add(size) > BYTES_MAX {
            self.left_out.push(format!("{name}: the bundle is large enough"));
            return Ok(());
        }
        self.bytes += size;
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o600);
        header.set_size(size);
        header.set_mtime(u64::try_from(clock::wall().as_second()).unwrap_or(0));
        self.tar.append_data(&mut header, format!("{}/{name}", self.folder), content)?;
        self.entries.push(name.to_owned());
        Ok(())
    }

    /// Complete, or not there at all.
    pub fn finish(mut self) -> io::Result<Diagnosed> {
        if !self.left_out.is_empty() {
            let text = self.left_out.join("\n");
            self.text("LEFT-OUT.txt", &text)?;
        }
        let mut file = self.tar.into_inner()?.finish()?;
        file.flush()?;
        let bytes = file.metadata()?.len();
        if let Some(unfinished) = self.unfinished {
            unfinished.persist(&self.place)?;
        }
        Ok(Diagnosed { file: self.path, bytes, entries: self.entries, left_out: self.left_out })
    }
}

pub(super) async fn diagnose(
    site: &Site,
    file: &Path,
    program: &str,
    tell: &mut OnProgress<'_>,
) -> Result<Diagnosed, TargetError> {
    tell(Progress::Doing { stage: "diagnose", detail: "reading the release".to_owned() });
    let catalog = Catalog::read(&site.cluster).await?;
    let history = release::history(site).await;
    let release = match history.as_ref().ok().and_then(|history| history.last()) {
        Some(head) => release::whole(site, head).await.ok(),
        None => None,
    };
    let text = release.as_ref().and_then(|release| release["manifest"].as_str()).unwrap_or_default();
    let objects = manifest::parse("Helm's release", text, site.namespace(), &catalog).unwrap_or_default();
    let namespaces = plan::names(site, &objects);
    let (redactor, unread) = secrets(site, &namespaces).await;
    let unwritten =
        |error: io::Error| TargetError::other(format!("could not write {}: {error}", file.display()));
    let mut archive = Archive::create(file, redactor).map_err(unwritten)?;
    for unread in unread {
        archive.leave_out(unread);
    }
    let written = async {
        versions(site, program, &mut archive).await?;
        match (&history, &release) {
            (Ok(_), Some(release)) => of_release(release, &objects, &mut archive)?,
            (Ok(_), None) => archive.leave_out(format!(
                "there is no release {} in namespace {}",
                site.release,
                site.namespace()
            )),
            (Err(error), _) => archive.leave_out(error.to_string()),
        }
        let reasons = ready::reasons(site, &manifest::workloads(&objects)).await;
        archive.text("PROBLEMS.txt", &reasons.join("\n"))?;
        for (group, kind) in CLUSTER_KINDS {
            let Some(kind) = catalog.get(group, kind) else { continue };
            list(site, kind, None, &mut archive).await?;
        }
        for namespace in &namespaces {
            tell(Progress::Doing { stage: "diagnose", detail: format!("collecting namespace {namespace}") });
            for kind in catalog.kinds().filter(|kind| kind.namespaced && kind.listable) {
                list(site, kind, Some(namespace), &mut archive).await?;
            }
            logs(site, namespace, &mut archive).await?;
        }
        Ok(())
    };
    written.await.map_err(unwritten)?;
    archive.finish().map_err(unwritten)
}

/// The values of the Secrets, to find them in other places, and where they could not be read. They are kept in memory alone.
async fn secrets(site: &Site, namespaces: &BTreeSet<String>) -> (Redactor, Vec<String>) {
    let (mut redactor, mut unread) = (Redactor::default(), Vec::new());
    for namespace in namespaces {
        let api: Api<Secret> = Api::namespaced(site.cluster.client.clone(), namespace);
        let list = match site.cluster.try_ask(api.list(&ListParams::default())).await {
            Ok(list) => list,
            Err(call) => {
                unread.push(format!(
                    "the Secrets of namespace {namespace}: {}; a value of theirs that shows elsewhere, as in a log, is \
                     blanked out only where it looks like a secret",
                    call.words()
                ));
                continue;
            }
        };
        let own = |secret: &Secret| secret.type_.as_deref() != Some("helm.sh/release.v1");
        for value in list.items.iter().filter(|one| own(one)).flat_map(|secret| secret.data.iter().flatten())
        {
            redactor.add(&String::from_utf8_lossy(&value.1.0));
            redactor.add(&BASE64_STANDARD.encode(&value.1.0));
        }
    }
    (redactor, unread)
}

async fn versions(site: &Site, program: &str, archive: &mut Archive) -> io::Result<()> {
    let helm = Helm::find(site).await.map(|helm| helm.version);
    let versions = json!({
        "playctl": program,
        "kubernetes": site.version,
        "helm": helm.unwrap_or_else(|error| error.to_string()),
        "context": site.cluster.context,
        "namespace": site.namespace(),
        "release": site.release,
        "collected": clock::wall().to_string(),
    });
    archive.json("versions.json", &versions)
}

fn of_release(release: &Value, objects: &[Object], archive: &mut Archive) -> io::Result<()> {
    let metadata = &release["chart"]["metadata"];
    let info = json!({
        "name": release["name"], "revision": release["version"], "namespace": release["namespace"],
        "info": {"status": release["info"]["status"], "description": release["info"]["description"],
            "first_deployed": release["info"]["first_deployed"], "last_deployed": release["info"]["last_deployed"]},
        "chart": {"name": metadata["name"], "version": metadata["version"], "appVersion": metadata["appVersion"]},
    });
    archive.json("release/release.json", &info)?;
    archive.json("release/values.json", &release["config"])?;
    archive.json("release/manifest.json", &objects.iter().map(|object| object.value.clone()).collect())
}

/// All objects of a kind; outside the platform's own namespace only the release's.
async fn list(site: &Site, kind: &Kind, namespace: Option<&str>, archive: &mut Archive) -> io::Result<()> {
    let resource: &ApiResource = &kind.resource;
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(site.cluster.client.clone(), namespace, resource),
        None => Api::all_with(site.cluster.client.clone(), resource),
    };
    let mut params = ListParams::default().limit(OBJECTS_MAX);
    let is_event = resource.kind == "Event";
    if namespace.is_some_and(|namespace| namespace != site.namespace()) && !is_event {
        params = params.labels(&format!("app.kubernetes.io/instance={}", site.release));
    }
    let place = namespace.unwrap_or("cluster");
    let group = if resource.group.is_empty() { String::new() } else { format!(".{}", resource.group) };
    let name = format!("objects/{place}/{}{group}.json", resource.plural);
    // Of Secrets, names alone.
    let items: Vec<Value> = if resource.kind == "Secret" {
        match site.cluster.try_ask(api.list_metadata(&params)).await {
            Ok(list) => list.items.into_iter().map(|one| json!({"metadata": one.metadata})).collect(),
            Err(call) => {
                archive.leave_out(format!("{name}: {}", call.words()));
                return Ok(());
            }
        }
    } else {
        match site.cluster.try_ask(api.list(&params)).await {
            Ok(list) => {
                if list.metadata.continue_.as_ref().is_some_and(|token| !token.is_empty()) {
                    archive.leave_out(format!("{name}: more than {OBJECTS_MAX}"));
                }
                list.items.into_iter().map(|one| serde_json::to_value(one).unwrap_or_default()).collect()
            }
            Err(call) => {
                archive.leave_out(format!("{name}: {}", call.words()));
                return Ok(());
            }
        }
    };
    if items.is_empty() {
        return Ok(());
    }
    if is_event && resource.group.is_empty() {
        archive.text(&format!("events/{place}.txt"), &told(&items))?;
    }
    archive.json(&name, &items.into())
}

/// Events as lines, oldest first.
fn told(events: &[Value]) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut lines: Vec<String> = events
        .iter()
        .map(|event| {
            let at = [&event["lastTimestamp"], &event["eventTime"], &event["metadata"]["creationTimestamp"]];
            let at = at.into_iter().find_map(Value::as_str).unwrap_or_default();
            let of = &event["involvedObject"];
            format!(
                "{at} {} {} {}/{}: {}",
                text(&event["type"]),
                text(&event["reason"]),
                text(&of["kind"]),
                text(&of["name"]),
                text(&event["message"]).replace('\n', " ")
            )
        })
        .collect();
    lines.sort();
    lines.join("\n")
}

/// What the release's pods wrote: in its own namespace all pods.
async fn logs(site: &Site, namespace: &str, archive: &mut Archive) -> io::Result<()> {
    let api: Api<Pod> = Api::namespaced(site.cluster.client.clone(), namespace);
    let mut params = ListParams::default();
    if namespace != site.namespace() {
        params = params.labels(&format!("app.kubernetes.io/instance={}", site.release));
    }
    let pods = match site.cluster.try_ask(api.list(&params)).await {
        Ok(pods) => pods.items,
        Err(call) => {
            archive.leave_out(format!("logs of namespace {namespace}: {}", call.words()));
            return Ok(());
        }
    };
    if pods.len() > PODS_MAX {
        archive.leave_out(format!("logs of {} more pods of namespace {namespace}", pods.len() - PODS_MAX));
    }
    let wanted = pods.iter().take(PODS_MAX).flat_map(|pod| {
        let spec = pod.spec.iter();
        let containers = spec.flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
        let pod = pod.metadata.name.clone().unwrap_or_default();
        containers.flat_map(move |container| {
            [false, true].map(|previous| (pod.clone(), container.name.clone(), previous))
        })
    });
    let api = &api;
    let mut texts = stream::iter(wanted.collect::<Vec<_>>())
        .map(|(pod, container, previous)| async move {
            let params = LogParams {
                container: Some(container.clone()),
                previous,
                tail_lines: Some(LOG_LINES),
                limit_bytes: Some(LOG_BYTES),
                timestamps: true,
                ..LogParams::default()
            };
            let log = site.cluster.try_ask(api.logs(&pod, &params)).await;
            (pod, container, previous, log)
        })
        .buffered(AT_ONCE);
    while let Some((pod, container, previous, log)) = texts.next().await {
        let suffix = if previous { ".previous" } else { "" };
        let name = format!("logs/{namespace}/{pod}/{container}{suffix}.log");
        match log {
            Ok(log) if log.is_empty() => {}
            Ok(log) => archive.text(&name, &log)?,
            // There was no run before, or none yet.
            Err(call) if previous || call.status() == Some(400) => {}
            Err(call) => {
                let mut words = name;
                // Writing to a string cannot fail.
                let _ = write!(words, ": {}", call.words());
                archive.leave_out(words);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};

    use super::*;

    fn archive(path: &Path) -> io::Result<Archive> {
        let mut archive = Archive::create(path, Redactor::default())?;
        archive.text("text", "hello")?;
        Ok(archive)
    }

    #[test]
    fn it_is_whole_or_not_there_and_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("bundle"), folder.path().join("link"));
        fs::write(&file, "before").unwrap();
        symlink(&file, &link).unwrap();
        drop(archive(&link).unwrap());
        assert_eq!(fs::read_to_string(&file).unwrap(), "before");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing unfinished is left");

        let diagnosed = archive(&link).unwrap().finish().unwrap();
        assert_eq!(diagnosed.bytes, fs::metadata(&file).unwrap().len());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(link.is_symlink());
        assert_eq!(diagnosed.file, link, "as it was given");
        assert_eq!(archive(folder.path()).unwrap_err().kind(), io::ErrorKind::IsADirectory);
    }

    #[test]
    fn a_pipe_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let reading = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).unwrap()
        });
        archive(&pipe).unwrap().finish().unwrap();
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo(), "it was replaced");
        assert_eq!(reading.join().unwrap()[..2], [0x1f, 0x8b], "it is compressed by gzip");
    }
}
