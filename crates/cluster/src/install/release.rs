//! Helm's records of a release: one Secret for each revision (`sh.helm.release.v1.NAME.vN`), which contains JSON, compressed and
//! base64-encoded. Helm 3 and 4 share this format.

use std::io::{Read as _, Write as _};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use platform::TargetError;
use serde_json::Value;

use super::{MANAGER, Site};

/// Largest release that is unpacked. A Secret holds 1 MiB of it packed.
const UNPACKED_MAX: u64 = 64 << 20;
/// The key of a Secret under which Helm keeps it.
const KEY: &str = "release";

/// One revision, as its labels say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Revision {
    pub(super) secret: String,
    pub(super) number: u32,
    /// `deployed`, `failed`, `pending-install`, `superseded`….
    pub(super) status: String,
    /// When Helm last wrote it.
    pub(super) modified: Option<Timestamp>,
    /// Changes with every write.
    resource_version: Option<String>,
}

impl Revision {
    /// Helm is working on it, or was killed meanwhile.
    pub(super) fn is_pending(&self) -> bool {
        self.status.starts_with("pending-")
    }
}

/// The revisions that there are, oldest first.
pub(super) async fn history(site: &Site) -> Result<Vec<Revision>, TargetError> {
    let params = ListParams::default().labels(&format!("owner=helm,name={}", site.release));
    let list = site.cluster.ask("Helm's releases (Secrets)", secrets(site).list_metadata(&params)).await?;
    let mut revisions: Vec<Revision> = list
        .items
        .into_iter()
        .filter_map(|secret| {
            let labels = secret.metadata.labels.unwrap_or_default();
            let written = labels.get("modifiedAt").or_else(|| labels.get("createdAt"));
            Some(Revision {
                number: labels.get("version")?.parse().ok()?,
                status: labels.get("status")?.clone(),
                modified: written.and_then(|at| Timestamp::from_second(at.parse().ok()?).ok()).or(secret
                    .metadata
                    .creation_timestamp
                    .as_ref()
                    .map(|at| at.0)),
                secret: secret.metadata.name?,
                resource_version: secret.metadata.resource_version,
            })
        })
        .collect();
    revisions.sort_by_key(|revision| revision.number);
    Ok(revisions)
}

/// The manifest of a revision.
pub(super) async fn manifest(site: &Site, revision: &Revision) -> Result<String, TargetError> {
    let secret = read(site, revision).await?;
    let release = unpacked(&secret).map_err(|why| unreadable(revision, &why))?;
    Ok(release["manifest"].as_str().unwrap_or_default().to_owned())
}

/// All that Helm has of a revision.
pub(super) async fn whole(site: &Site, revision: &Revision) -> Result<Value, TargetError> {
    let secret = read(site, revision).await?;
    unpacked(&secret).map_err(|why| unreadable(revision, &why))
}

/// Marks an abandoned pending revision as failed: Helm refuses to touch a pending one, but upgrades from a failed one.
pub(super) async fn mark_failed(site: &Site, revision: &Revision) -> Result<(), TargetError> {
    let mut secret = read(site, revision).await?;
    let mut release = unpacked(&secret).map_err(|why| unreadable(revision, &why))?;
    release["info"]["status"] = "failed".into();
    release["info"]["description"] = "Interrupted, as playctl found".into();
    let packed = packed(&release).map_err(|why| unreadable(revision, &why))?;
    secret.data.get_or_insert_default().insert(KEY.to_owned(), ByteString(packed));
    let labels = secret.metadata.labels.get_or_insert_default();
    labels.insert("status".to_owned(), "failed".to_owned());
    labels.insert("modifiedAt".to_owned(), clock::wall().as_second().to_string());
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    // It carries the resource version: if somebody changes the Secret meanwhile, this write fails.
    let replaced = async { secrets(site).replace(&revision.secret, &params, &secret).await };
    site.cluster
        .ask(format!("marking revision {} of {} as failed", revision.number, site.release), replaced)
        .await?;
    Ok(())
}

fn secrets(site: &Site) -> Api<Secret> {
    Api::namespaced(site.cluster.client.clone(), site.namespace())
}

async fn read(site: &Site, revision: &Revision) -> Result<Secret, TargetError> {
    let what = format!("revision {} of release {}", revision.number, site.release);
    site.cluster.ask(what, secrets(site).get(&revision.secret)).await
}

fn unreadable(revision: &Revision, why: &str) -> TargetError {
    TargetError::other(format!("what Helm noted in the Secret {} cannot be read: {why}", revision.secret))
}

fn unpacked(secret: &Secret) -> Result<Value, String> {
    let data = secret.data.as_ref().and_then(|data| data.get(KEY)).ok_or("it is empty")?;
    let packed = BASE64_STANDARD.decode(&data.0).map_err(|error| error.to_string())?;
    let mut text = Vec::new();
    let mut reader = GzDecoder::new(packed.as_slice()).take(UNPACKED_MAX);
    reader.read_to_end(&mut text).map_err(|error| error.to_string())?;
    serde_json::from_slice(&text).map_err(|error| error.to_string())
}

fn packed(release: &Value) -> Result<Vec<u8>, String> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(release.to_string().as_bytes()).map_err(|error| error.to_string())?;
    let packed = encoder.finish().map_err(|error| error.to_string())?;
    Ok(BASE64_STANDARD.encode(packed).into_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_packed_is_read_back_and_what_is_no_release_says_why() {
        let release =
            json!({"name": "playground", "info": {"status": "pending-install"}, "manifest": "---\n"});
        let of = |data: Vec<u8>| Secret {
            data: Some([(KEY.to_owned(), ByteString(data))].into()),
            ..Secret::default()
        };
        assert_eq!(unpacked(&of(packed(&release).unwrap())).unwrap(), release);
        assert!(unpacked(&Secret::default()).unwrap_err().contains("empty"));
        for bad in [&b"no base64!"[..], b"AAAA"] {
            assert!(unpacked(&of(bad.to_vec())).is_err());
        }
    }
}
