//! Takes a platform away and proves that nothing is left.

use std::{collections::BTreeSet, ffi::OsString, time::Duration};

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::DeleteParams};
use platform::TargetError;
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    OnProgress, Progress, Site, argocd,
    catalog::Catalog,
    helm::{Helm, HelmError},
    lease,
    left::{self, Left, Scope},
    manifest::{self, Object},
    namespaces::{self, State},
    plan, ready,
    release::{self, Revision},
};

const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long pods and their dependants may take to go; grace periods are a minute.
const GOES_WITHIN: Duration = Duration::from_mins(3);
const NAMESPACE_GOES_WITHIN: Duration = Duration::from_mins(1);
const HELM: Duration = Duration::from_mins(5);

/// What a `down` did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Removed {
    /// False: it was not installed.
    pub was_up: bool,
    /// Notes for the user.
    pub notes: Vec<String>,
}

pub(super) async fn down(
    site: &Site,
    grace: bool,
    tell: &mut OnProgress<'_>,
) -> Result<Removed, TargetError> {
    tell(Progress::Doing { stage: "down", detail: "looking what there is".to_owned() });
    let (catalog, history, state) = site
        .stop
        .or(Box::pin(async {
            let (catalog, history) = tokio::try_join!(Catalog::read(&site.cluster), release::history(site))?;
            let state = namespaces::state(site, site.namespace()).await?;
            Ok((catalog, history, state))
        }))
        .await?;
    let objects = match history.last() {
        Some(head) => {
            let text = site.stop.or(release::manifest(site, head)).await?;
            manifest::parse("Helm's release", &text, site.namespace(), &catalog)?
        }
        None => Vec::new(),
    };
    let scope = Scope { namespaces: plan::names(site, &objects) };
    let left = site.stop.or(left::look(site, &catalog, &scope)).await?;
    let mut removal = Removal { site, catalog, scope, grace, notes: unseen(&left) };
    if history.is_empty() && left.objects.is_empty() && !matches!(state, State::Ending { .. }) {
        return Ok(Removed { was_up: false, notes: removal.notes });
    }
    if let Some((namespace, application)) = argocd::manager(site, &removal.catalog, &objects).await {
        return Err(TargetError::Other { message: argocd::refusal(site, &namespace, &application) });
    }
    let ends = matches!(state, State::Ending { .. });
    // Nothing can be created in a terminating namespace, not even a Lease.
    let held = if ends || state == State::Missing {
        None
    } else {
        Some(site.stop.or(lease::take(site, "down", tell)).await?)
    };
    let removed = removal.remove(&history, &objects, tell).await;
    if let Some(held) = held {
        held.give_back(site).await;
    }
    let removed = match removed {
        Ok(()) => removal.namespace(tell).await,
        other => other,
    };
    if removed == Err(TargetError::Interrupted) {
        tell(Progress::Said("interrupted: part of it is still there; finish with: playctl down".to_owned()));
    }
    removed?;
    Ok(Removed { was_up: true, notes: removal.notes })
}

/// What nobody could look at.
fn unseen(left: &left::Found<Left>) -> Vec<String> {
    left.unseen_in_words()
        .into_iter()
        .map(|words| format!("could not look whether any of these is left: {words}"))
        .collect()
}

struct Removal<'a> {
    site: &'a Site,
    catalog: Catalog,
    scope: Scope,
    grace: bool,
    notes: Vec<String>,
}

impl Removal<'_> {
    async fn remove(
        &mut self,
        history: &[Revision],
        objects: &[Object],
        tell: &mut OnProgress<'_>,
    ) -> Result<(), TargetError> {
        self.silent_apis(objects).await;
        if let Some(head) = history.last() {
            self.uninstall(head, tell).await?;
        }
        let began = clock::now();
        loop {
            let left = self.site.stop.or(left::look(self.site, &self.catalog, &self.scope)).await?;
            self.notes = unseen(&left);
            let objects = left.objects.into_iter();
            let left: Vec<Left> = objects.filter(|one| one.key.kind != "Namespace" || !one.is_ours).collect();
            if left.is_empty() {
                return Ok(());
            }
            if began.elapsed() >= GOES_WITHIN || left.iter().all(|one| one.is_kept) {
                return Err(TargetError::TeardownLeft { left: self.words(&left).await });
            }
            let deleted = async {
                self.delete(&left).await;
                Ok(())
            };
            self.site.stop.or(deleted).await?;
            let detail = format!(
                "{} objects are still there, such as {}",
                left.len(),
                left.first().map_or_else(String::new, Left::words)
            );
            tell(Progress::Doing { stage: "down", detail });
            let pause = async {
                tokio::time::sleep(LOOK_EVERY).await;
                Ok(())
            };
            self.site.stop.or(pause).await?;
        }
    }

    /// What is left, with what holds it.
    async fn words(&self, left: &[Left]) -> Vec<String> {
        let mut words = Vec::new();
        for one in left {
            let is_namespace = one.key.kind == "Namespace" && one.is_ending;
            words.push(match namespaces::state(self.site, &one.key.name).await {
                Ok(State::Ending { why }) if is_namespace => {
                    namespaces::stuck(self.site, &one.key.name, &why)
                }
                _ => one.words(),
            });
        }
        words
    }

    /// An unavailable aggregated API blocks the deletion of every namespace.
    async fn silent_apis(&self, objects: &[Object]) {
        for object in objects.iter().filter(|object| object.key.kind == "APIService") {
            let Some(api) = self.catalog.api(&self.site.cluster, &object.key) else { continue };
            let Ok(service) = self.site.cluster.try_ask(api.get(&object.key.name)).await else { continue };
            if ready::unavailable(&service.data).is_some() {
                let params = DeleteParams::default();
                let deleted = api.delete(&object.key.name, &params);
                // If that fails, it shows up among what is left.
                let _ = self.site.cluster.try_ask(deleted).await;
            }
        }
    }

    async fn uninstall(&self, head: &Revision, tell: &mut OnProgress<'_>) -> Result<(), TargetError> {
        let site = self.site;
        let helm = site.stop.or(Helm::find(site)).await?;
        tell(Progress::Doing { stage: "down", detail: format!("helm uninstalls revision {}", head.number) });
        let arguments = ["uninstall", &site.release, "--ignore-not-found"].map(OsString::from);
        match helm.run(&arguments, &site.stop, HELM).await {
            Ok(_) => Ok(()),
            Err(HelmError::Said(said)) => {
                // We delete what it could not delete, and name whatever remains.
                tell(Progress::Said(format!("helm: {}", said.trim())));
                Ok(())
            }
            Err(error) => Err(error.explained(site)),
        }
    }

    /// Deletes what Helm leaves behind: slow pods, claims, our Secrets.
    async fn delete(&self, left: &[Left]) {
        for one in left {
            let is_pod = one.key.group.is_empty() && one.key.kind == "Pod";
            // A terminating pod keeps its grace period only if the caller asked for one.
            if one.is_ending && (!is_pod || self.grace) {
                continue;
            }
            // A retained volume holds data that its owner chose to keep.
            if one.key.kind == "PersistentVolume" {
                continue;
            }
            let Some(api) = self.catalog.api(&self.site.cluster, &one.key) else { continue };
            let params = if is_pod && !self.grace {
                DeleteParams { grace_period_seconds: Some(1), ..DeleteParams::background() }
            } else {
                DeleteParams::background()
            };
            // It may be gone by now; anything that cannot be deleted is reported at the end.
            let _ = self.site.cluster.try_ask(api.delete(&one.key.name, &params)).await;
        }
    }

    /// Deletes the namespace if playctl created it and it holds nothing else.
    async fn namespace(&mut self, tell: &mut OnProgress<'_>) -> Result<(), TargetError> {
        let (site, name) = (self.site, self.site.namespace());
        let state = namespaces::state(site, name).await?;
        if let (State::There { ours: true }, false) = (&state, name == "default") {
            let foreign = site.stop.or(left::foreign(site, &self.catalog)).await?;
            if !foreign.unseen.is_empty() {
                self.notes.push(format!(
                    "namespace {name} stays, because it may hold objects of others that could not be listed: {}; if it does \
                     not: {} delete namespace {name}",
                    foreign.unseen_in_words().join("; "),
                    site.kubectl()
                ));
                return Ok(());
            }
            if !foreign.objects.is_empty() {
                let names: BTreeSet<String> =
                    foreign.objects.iter().take(5).map(ToString::to_string).collect();
                self.notes.push(format!(
                    "namespace {name} stays, because it holds other objects: {}",
                    names.into_iter().collect::<Vec<_>>().join(", ")
                ));
                return Ok(());
            }
            let api: Api<Namespace> = Api::all(site.cluster.client.clone());
            match site.cluster.try_ask(api.delete(name, &DeleteParams::background())).await {
                Ok(_) => {}
                Err(call) if matches!(call.status(), Some(404 | 409)) => {}
                Err(call) => return Err(call.error(&format!("deleting namespace {name}"), &site.cluster)),
            }
        } else if !matches!(state, State::Ending { .. }) {
            return Ok(());
        }
        match site.stop.or(namespaces::gone(site, name, NAMESPACE_GOES_WITHIN, tell)).await? {
            None => Ok(()),
            Some(why) => Err(TargetError::TeardownLeft { left: vec![namespaces::stuck(site, name, &why)] }),
        }
    }
}
