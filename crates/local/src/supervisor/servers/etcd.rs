//! A member of an etcd cluster, with its peers on the neighbouring addresses.

use std::{path::Path, time::Duration};

use super::{Launch, NotServing, Spec};
use crate::http;

pub(super) const PORT: u16 = 2379;
pub(super) const PEER_PORT: u16 = 2380;
/// Maximum size of its database, in bytes.
const QUOTA: u32 = 256 * 1024 * 1024;

pub(super) fn launch(spec: &Spec, folder: &Path) -> Launch {
    let (client, peer) = (spec.url(), format!("http://{}:{PEER_PORT}", spec.ip));
    let member = |(name, ip): &(&str, _)| format!("{name}=http://{ip}:{PEER_PORT}");
    let cluster: Vec<String> = spec.members.iter().map(member).collect();
    let own = spec.members.iter().find(|(_, ip)| *ip == spec.ip).map_or("etcd", |(name, _)| name);
    let words = [
        format!("--name={own}"),
        format!("--data-dir={}", folder.join("data").display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster={}", cluster.join(",")),
        format!("--quota-backend-bytes={QUOTA}"),
        // Nobody needs the history, and it would fill the quota.
        "--auto-compaction-mode=periodic".to_owned(),
        "--auto-compaction-retention=5m".to_owned(),
        // A killed process loses nothing without fsync, which is slow with several writers.
        "--unsafe-no-fsync".to_owned(),
        "--logger=zap".to_owned(),
        "--log-level=warn".to_owned(),
    ];
    Launch {
        program: spec.found.executable.clone(),
        arguments: words.into_iter().map(Into::into).collect(),
        environment: Vec::new(),
        directory: Some(folder.to_owned()),
    }
}

/// A member that knows a leader is healthy.
pub(super) async fn ask(spec: &Spec) -> Result<(), NotServing> {
    let path = "/health";
    let answer = http::get(spec.address(), path, Duration::from_secs(2)).await?;
    if answer.status == 200 && answer.body.contains(r#""health":"true""#) {
        Ok(())
    } else {
        Err(NotServing::Unhealthy { path, answer })
    }
}
