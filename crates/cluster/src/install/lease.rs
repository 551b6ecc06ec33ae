//! One change at a time: to change a release, a process holds a Lease in its namespace and keeps renewing it.
//!
//! A holder is alive if it renews the Lease while we watch, by our own clock; clocks of two machines are never
//! compared.

use std::time::{Duration, Instant};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use platform::TargetError;
use serde_json::json;
use tokio::task::JoinHandle;

use super::{LABEL, MANAGER, OnProgress, Progress, Site};

const RENEW_EVERY: Duration = Duration::from_millis(1500);
/// A holder that stays silent for this long is dead.
const SILENCE: Duration = Duration::from_secs(8);
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A Lease that we hold until we give it back.
#[derive(Debug)]
pub(super) struct Held {
    api: Api<Lease>,
    name: String,
    renewing: JoinHandle<()>,
    /// Its previous holder died without giving it back, so that holder's work is unfinished.
    pub(super) was_abandoned: bool,
}

/// Takes it, or says who has it.
pub(super) async fn take(site: &Site, doing: &str, tell: &mut OnProgress<'_>) -> Result<Held, TargetError> {
    let api: Api<Lease> = Api::namespaced(site.cluster.client.clone(), site.namespace());
    let name = format!("playctl-{}", site.release);
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    let mut seen: Option<(Option<LeaseSpec>, Instant)> = None;
    loop {
        let what = format!("the Lease {name}, by which only one at a time changes the release");
        let there = match site.cluster.try_ask(api.get(&name)).await {
            Ok(there) => there,
            Err(call) if call.status() == Some(404) => {
                let lease = lease(site, &name, doing);
                match site.cluster.try_ask(api.create(&params, &lease)).await {
                    Ok(_) => return Ok(held(api, name, false)),
                    // Somebody was faster.
                    Err(call) if call.status() == Some(409) => continue,
                    Err(call) => return Err(call.error(&what, &site.cluster)),
                }
            }
            Err(call) => return Err(call.error(&what, &site.cluster)),
        };
        let holder = there.spec.as_ref().and_then(|spec| spec.holder_identity.clone()).unwrap_or_default();
        match &seen {
            Some((spec, _)) if *spec != there.spec => return Err(busy(site, &holder, doing)),
            Some((_, since)) if since.elapsed() >= SILENCE => {
                let mut lease = lease(site, &name, doing);
                lease.metadata.resource_version = there.metadata.resource_version;
                match site.cluster.try_ask(api.replace(&name, &params, &lease)).await {
                    Ok(_) => return Ok(held(api, name, true)),
                    Err(call) if matches!(call.status(), Some(404 | 409)) => seen = None,
                    Err(call) => return Err(call.error(&what, &site.cluster)),
                }
            }
            Some(_) => {}
            None => seen = Some((there.spec, clock::now())),
        }
        let detail = format!("{holder} was at work on this release; looking whether it still is");
        tell(Progress::Doing { stage: "lease", detail });
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn busy(site: &Site, holder: &str, doing: &str) -> TargetError {
    let message = format!(
        "{holder} is at work on release {} in namespace {} right now; nothing was changed. Wait until it is done, then \
         run this again",
        site.release,
        site.namespace()
    );
    if doing == "up" { TargetError::BringUp { message } } else { TargetError::Temporary { message } }
}

fn lease(site: &Site, name: &str, doing: &str) -> Lease {
    let now = MicroTime(clock::wall());
    let mut lease = Lease::default();
    lease.metadata.name = Some(name.to_owned());
    let labels = [(LABEL, site.release.as_str()), ("app.kubernetes.io/managed-by", MANAGER)];
    lease.metadata.labels = Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(format!("playctl {doing} (process {} on {machine})", std::process::id())),
        acquire_time: Some(now.clone()),
        renew_time: Some(now),
        lease_duration_seconds: Some(i32::try_from(SILENCE.as_secs()).unwrap_or(i32::MAX)),
        ..LeaseSpec::default()
    });
    lease
}

fn held(api: Api<Lease>, name: String, was_abandoned: bool) -> Held {
    let (renewed, of) = (api.clone(), name.clone());
    let renewing = tokio::spawn(async move {
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            let now = MicroTime(clock::wall());
            let patch = Patch::Merge(json!({"spec": {"renewTime": now}}));
            // If one renewal fails, the next makes up for it.
            let _ = tokio::time::timeout(RENEW_EVERY, renewed.patch(&of, &params, &patch)).await;
        }
    });
    Held { api, name, renewing, was_abandoned }
}

impl Held {
    /// Gives it back. If the API server cannot be told, the next caller finds the Lease silent.
    pub(super) async fn give_back(self, site: &Site) {
        self.renewing.abort();
        let _ = site.cluster.try_ask(self.api.delete(&self.name, &DeleteParams::default())).await;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}
