//! The permissions that this account needs, checked before anything is done.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};
use k8s_openapi::api::authorization::v1::ResourceAttributes;
use platform::TargetError;

use super::{AT_ONCE, Site, catalog::Catalog, manifest::Object};
use crate::access;

/// What Helm does with each kind of object.
const OBJECTS: [&str; 4] = ["get", "create", "patch", "delete"];

/// Rights to one kind of object in one place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    group: String,
    resource: String,
    namespace: Option<String>,
}

/// Whether this account may do everything everywhere: one question instead of a hundred.
pub(super) async fn has_all(site: &Site) -> Result<bool, TargetError> {
    let all = || Some("*".to_owned());
    let attributes =
        ResourceAttributes { group: all(), resource: all(), verb: all(), ..ResourceAttributes::default() };
    access::is_allowed(&site.cluster, attributes).await
}

/// What is missing, one sentence each.
pub(super) async fn missing(
    site: &Site,
    catalog: &Catalog,
    objects: &[Object],
    makes_namespace: bool,
) -> Result<Vec<String>, TargetError> {
    let mut wanted: BTreeMap<Place, (Vec<&'static str>, String)> = BTreeMap::new();
    let mut want =
        |group: &str, resource: &str, namespace: Option<&str>, verbs: &[&'static str], what: String| {
            let place = Place {
                group: group.to_owned(),
                resource: resource.to_owned(),
                namespace: namespace.map(str::to_owned),
            };
            let (known, _) = wanted.entry(place).or_insert_with(|| (Vec::new(), what));
            known.extend(verbs.iter().filter(|verb| !known.contains(verb)).copied().collect::<Vec<_>>());
        };
    let here = Some(site.namespace());
    want("", "secrets", here, &["get", "list", "create", "update", "delete"], "Helm's release".to_owned());
    want(
        "coordination.k8s.io",
        "leases",
        here,
        &["get", "create", "update", "patch", "delete"],
        "so that two at once do no harm".to_owned(),
    );
    want("", "pods", here, &["list"], "to wait until they are ready".to_owned());
    if makes_namespace {
        want("", "namespaces", None, &["create"], format!("Namespace {}", site.namespace()));
    }
    for object in objects {
        let key = &object.key;
        let Some(kind) = catalog.get(&key.group, &key.kind) else { continue };
        want(&key.group, &kind.resource.plural, key.namespace.as_deref(), &OBJECTS, key.to_string());
    }
    let questions =
        wanted.iter().flat_map(|(place, (verbs, _))| verbs.iter().map(move |verb| (place, *verb)));
    let mut answers = stream::iter(questions)
        .map(|(place, verb)| async move {
            let text = |text: &str| Some(text.to_owned());
            let attributes = ResourceAttributes {
                group: text(&place.group),
                resource: text(&place.resource),
                verb: text(verb),
                namespace: place.namespace.clone(),
                ..ResourceAttributes::default()
            };
            (place, verb, access::is_allowed(&site.cluster, attributes).await)
        })
        .buffered(AT_ONCE);
    let mut denied: BTreeMap<&Place, Vec<&'static str>> = BTreeMap::new();
    while let Some((place, verb, is_allowed)) = answers.next().await {
        if !is_allowed? {
            denied.entry(place).or_default().push(verb);
        }
    }
    let sentences = denied.into_iter().map(|(place, verbs)| {
        let what = wanted.get(place).map_or("", |(_, what)| what.as_str());
        place.sentence(&verbs, what)
    });
    Ok(sentences.collect())
}

impl Place {
    fn sentence(&self, verbs: &[&str], what: &str) -> String {
        let group = if self.group.is_empty() { String::new() } else { format!(".{}", self.group) };
        let place = match &self.namespace {
            Some(namespace) => format!("in namespace {namespace}"),
            None => "in the cluster".to_owned(),
        };
        format!("not allowed to {} {}{group} {place} ({what})", verbs.join(", "), self.resource)
    }
}
