//! Whether Argo CD manages the platform: then Helm must not touch it.

use kube::{Api, api::ListParams, core::DynamicObject};
use serde_json::Value;

use super::{Site, catalog::Catalog, manifest::Object};
use crate::argocd::names;

/// On what Argo CD manages: `APPLICATION:GROUP/KIND:NAMESPACE/NAME`.
const TRACKING: &str = "argocd.argoproj.io/tracking-id";

/// The application that manages the platform, as `NAMESPACE/NAME`.
pub(super) async fn manager(site: &Site, catalog: &Catalog, objects: &[Object]) -> Option<(String, String)> {
    let kind = catalog.get("argoproj.io", "Application")?;
    let api: Api<DynamicObject> = Api::all_with(site.cluster.client.clone(), &kind.resource);
    // Who may not see applications learns of them by what they track.
    let applications = site.cluster.try_ask(api.list(&ListParams::default())).await.ok()?;
    applications.items.into_iter().find_map(|application| {
        manages(&application.data, application.metadata.name.as_deref()?, site, objects).then(|| {
            (
                application.metadata.namespace.unwrap_or_default(),
                application.metadata.name.unwrap_or_default(),
            )
        })
    })
}

fn manages(application: &Value, name: &str, site: &Site, objects: &[Object]) -> bool {
    let resources = application["status"]["resources"].as_array();
    let tracks = resources.into_iter().flatten().any(|resource| {
        let text = |key: &str| resource[key].as_str().unwrap_or_default();
        // Namespaces are shared.
        text("kind") != "Namespace"
            && objects.iter().any(|object| {
                let key = &object.key;
                (text("group"), text("kind"), text("name")) == (&key.group, &key.kind, &key.name)
                    && text("namespace") == key.namespace.as_deref().unwrap_or_default()
            })
    });
    let spec = &application["spec"];
    let released = spec["source"]["helm"]["releaseName"].as_str().unwrap_or(name);
    tracks || spec["destination"]["namespace"].as_str() == Some(site.namespace()) && released == site.release
}

/// The application that tracks an object.
pub(super) fn tracker(metadata: &kube::core::ObjectMeta) -> Option<String> {
    let id = metadata.annotations.as_ref()?.get(TRACKING)?;
    Some(id.split(':').next()?.to_owned())
}

/// What to do about it.
pub(super) fn refusal(site: &Site, namespace: &str, application: &str) -> String {
    let take_away = if application == names::RELEASE {
        let place =
            if namespace == names::NAMESPACE { "" } else { &format!(" --argocd-namespace {namespace}") };
        format!("playctl argocd remove --keep-objects{place}")
    } else {
        let kubectl = site.kubectl();
        format!(
            "(and the one that makes it, if there is one) {kubectl} -n {namespace} patch application {application} --type \
             merge -p '{{\"metadata\":{{\"finalizers\":null}}}}' && {kubectl} -n {namespace} delete application \
             {application}"
        )
    };
    format!(
        "Argo CD's application {namespace}/{application} manages this platform: change it there, and sync it. To hand it \
         over to Helm, take the application away without its objects: {take_away}; then: playctl up --take-ownership"
    )
}
