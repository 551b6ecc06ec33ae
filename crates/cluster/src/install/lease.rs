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
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use platform::TargetError;
use serde_json::json;
use tokio::task::JoinHandle;

use super::{LABEL, MANAGER, OnProgress, Progress, Site};

const RENEW_EVERY: Duration = Duration::from_millis(1500);
/// A holder that stays silent for this long is dead.
const SILENCE: Duration = Duration::from_secs(8);
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Nobody waits longer than a holder may be silent.
const GIVES_BACK: Duration = SILENCE;
const GIVEN_BACK_TRIES: usize = 3;

/// A Lease that we hold until we give it back.
#[derive(Debug)]
pub(super) struct Held {
    api: Api<Lease>,
    lease: Lease,
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
                    Ok(lease) => return Ok(held(api, lease, false)),
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
                    Ok(lease) => return Ok(held(api, lease, true)),
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

fn held(api: Api<Lease>, lease: Lease, was_abandoned: bool) -> Held {
    let (renewed, of) = (api.clone(), lease.clone());
    let renewing = tokio::spawn(async move {
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            // If one renewal fails, the next makes up for it.
            if let Ok(Ok(Renewed::Lost)) = tokio::time::timeout(RENEW_EVERY, renew(&renewed, &of)).await {
                return;
            }
        }
    });
    Held { api, lease, renewing, was_abandoned }
}

#[derive(Debug, PartialEq, Eq)]
enum Renewed {
    Ours,
    /// We were silent for too long, as a machine that slept is, and somebody else has it now.
    Lost,
}

async fn renew(api: &Api<Lease>, lease: &Lease) -> kube::Result<Renewed> {
    let Some(there) = ours(api, lease).await? else { return Ok(Renewed::Lost) };
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    let now = MicroTime(clock::wall());
    let version = there.metadata.resource_version;
    let patch = Patch::Merge(json!({"metadata": {"resourceVersion": version}, "spec": {"renewTime": now}}));
    api.patch(&lease.name_any(), &params, &patch).await?;
    Ok(Renewed::Ours)
}

/// The Lease as it is now, if it is still the one that we took.
async fn ours(api: &Api<Lease>, lease: &Lease) -> kube::Result<Option<Lease>> {
    let taken = |lease: &Lease| {
        let spec = lease.spec.clone().unwrap_or_default();
        (lease.metadata.uid.clone(), spec.holder_identity, spec.acquire_time)
    };
    Ok(api.get_opt(&lease.name_any()).await?.filter(|there| taken(there) == taken(lease)))
}

impl Held {
    /// Gives it back, unless somebody else has it by now. If the API server cannot be told, the next caller finds the Lease
    /// silent.
    pub(super) async fn give_back(self, site: &Site) {
        self.renewing.abort();
        let _ = tokio::time::timeout(GIVES_BACK, self.take_away(site)).await;
    }

    async fn take_away(&self, site: &Site) {
        // A renewal that was under way may come in between.
        for _ in 0..GIVEN_BACK_TRIES {
            let given_back = site.cluster.try_ask(async {
                let Some(there) = ours(&self.api, &self.lease).await? else { return Ok(()) };
                let resource_version = there.metadata.resource_version;
                let preconditions = Some(Preconditions { resource_version, uid: None });
                let params = DeleteParams { preconditions, ..DeleteParams::default() };
                self.api.delete(&self.lease.name_any(), &params).await.map(drop)
            });
            match given_back.await {
                Err(call) if call.status() == Some(409) => {}
                _ => return,
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::{Method, Request, Response};
    use http_body_util::BodyExt as _;
    use kube::{Client, client::Body};
    use parking_lot::Mutex;

    use super::{super::tests::site, *};

    /// An API server with one Lease, and what was asked of it beside reading.
    #[derive(Clone)]
    struct Server {
        lease: Arc<Mutex<Lease>>,
        written: Arc<Mutex<Vec<(Method, String)>>>,
    }

    impl Server {
        fn new(holder: &str) -> Self {
            let lease = Self::lease(holder, 0);
            Self { lease: Arc::new(Mutex::new(lease)), written: Arc::default() }
        }

        fn lease(holder: &str, acquired: i64) -> Lease {
            let mut lease = Lease::default();
            (lease.metadata.name, lease.metadata.namespace) = (Some("l".to_owned()), Some("n".to_owned()));
            lease.metadata.resource_version = Some("7".to_owned());
            lease.spec = Some(LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                acquire_time: Some(MicroTime(jiff::Timestamp::from_second(acquired).unwrap())),
                ..LeaseSpec::default()
            });
            lease
        }

        fn client(&self) -> Client {
            let server = self.clone();
            let answer = move |request: Request<Body>| {
                let server = server.clone();
                async move {
                    let method = request.method().clone();
                    let body = request.into_body().collect().await.map_err(std::io::Error::other)?.to_bytes();
                    if method != Method::GET {
                        let body = String::from_utf8_lossy(&body).into_owned();
                        server.written.lock().push((method, body));
                    }
                    let lease = serde_json::to_vec(&*server.lease.lock())?;
                    Ok::<_, std::io::Error>(Response::new(Body::from(lease)))
                }
            };
            Client::new(tower::service_fn(answer), "n")
        }
    }

    #[tokio::test]
    async fn what_somebody_else_took_meanwhile_is_neither_renewed_nor_taken_away() {
        let server = Server::new("me");
        let site = site(server.client());
        let api: Api<Lease> = Api::namespaced(site.cluster.client.clone(), "n");
        let mine = server.lease.lock().clone();
        assert_eq!(renew(&api, &mine).await.unwrap(), Renewed::Ours);
        let (method, body) = server.written.lock().pop().unwrap();
        assert!(method == Method::PATCH && body.contains("\"resourceVersion\":\"7\""), "{body}");

        for (holder, acquired) in [("you", 0), ("me", 1)] {
            *server.lease.lock() = Server::lease(holder, acquired);
            assert_eq!(renew(&api, &mine).await.unwrap(), Renewed::Lost);
            held(api.clone(), mine.clone(), false).give_back(&site).await;
            assert_eq!(*server.written.lock(), []);
        }

        *server.lease.lock() = mine.clone();
        held(api, mine, false).give_back(&site).await;
        let (method, body) = server.written.lock().pop().unwrap();
        assert!(method == Method::DELETE && body.contains("\"resourceVersion\":\"7\""), "{body}");
    }
}
