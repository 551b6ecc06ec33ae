//! Reads objects once.

use autoscale::spec::ObjectReference;
use k8s_openapi::api::{
    autoscaling::{v1::Scale, v2::HorizontalPodAutoscaler},
    core::v1::{Event, Pod},
};
use kube::{Api, api::ListParams, core::DynamicObject};
use platform::TargetError;

use crate::{
    connect::Cluster,
    error::Call,
    facts::{EventFacts, Facts as _, HpaFacts, Object, Selector, WorkloadFacts},
    kinds,
};

/// The number of objects per page of a list.
const PAGE: u32 = 500;

/// Reads a list page by page.
async fn all<K>(
    cluster: &Cluster,
    what: &str,
    api: &Api<K>,
    mut params: ListParams,
) -> Result<Vec<K>, TargetError>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    params.limit = Some(PAGE);
    let mut items = Vec::new();
    loop {
        let list = cluster.ask(what, api.list(&params)).await?;
        items.extend(list.items);
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => return Ok(items),
        }
    }
}

/// The autoscalers of the namespace.
pub(crate) async fn hpas(cluster: &Cluster) -> Result<Vec<HpaFacts>, TargetError> {
    let api = Api::<HorizontalPodAutoscaler>::namespaced(cluster.client.clone(), &cluster.namespace);
    let what = format!("the autoscalers of namespace {}", cluster.namespace);
    let hpas = all(cluster, &what, &api, ListParams::default()).await?;
    let facts = hpas.iter().map(|hpa| match hpa.facts() {
        Object::Hpa(facts) => Some(*facts),
        _ => None,
    });
    Ok(facts.flatten().collect())
}

/// The pods of the namespace that a selector matches.
pub(crate) async fn pods(cluster: &Cluster, selector: &Selector) -> Result<Vec<Pod>, TargetError> {
    let api = Api::<Pod>::namespaced(cluster.client.clone(), &cluster.namespace);
    let params = ListParams::default().labels(&selector.to_string());
    all(cluster, &format!("the pods of namespace {}", cluster.namespace), &api, params).await
}

/// The events of one object, as far as the API server still has them and this account may read them.
pub(crate) async fn events(cluster: &Cluster, kind: &str, name: &str) -> Vec<EventFacts> {
    let api = Api::<Event>::namespaced(cluster.client.clone(), &cluster.namespace);
    let fields = format!("involvedObject.kind={kind},involvedObject.name={name}");
    let events =
        all(cluster, "events", &api, ListParams::default().fields(&fields)).await.unwrap_or_default();
    let facts = events.iter().map(|event| match event.facts() {
        Object::Event(facts) => Some(facts),
        _ => None,
    });
    let mut facts: Vec<EventFacts> = facts.flatten().collect();
    facts.sort_by_key(|event| event.last);
    facts
}

/// The scale of an autoscaler's target, as the controller reads it.
#[derive(Debug)]
pub(crate) struct Scaled {
    /// `spec.replicas`
    pub(crate) wanted: i32,
    /// `status.replicas`
    pub(crate) present: i32,
    pub(crate) selector: Option<Selector>,
}

impl From<Scale> for Scaled {
    fn from(scale: Scale) -> Self {
        let status = scale.status.unwrap_or_default();
        Self {
            wanted: scale.spec.and_then(|spec| spec.replicas).unwrap_or(0),
            present: status.replicas,
            selector: status.selector.as_deref().and_then(Selector::parse),
        }
    }
}

impl Scaled {
    pub(crate) fn apply_to(self, workload: &mut WorkloadFacts) {
        let unsigned = |count: i32| u32::try_from(count).unwrap_or(0);
        (workload.replicas, workload.present) = (unsigned(self.wanted), unsigned(self.present));
        workload.selector = self.selector.or(workload.selector.take());
    }
}

/// The scale of an autoscaler's target; taken from the target itself if this account may not read the scale.
pub(crate) async fn scale(cluster: &Cluster, hpa: &HpaFacts) -> Result<Scaled, TargetError> {
    let kind = match kinds::try_find(cluster, &hpa.target).await {
        Err(call) if kinds::is_unknown(&call) => {
            let target = &hpa.target;
            let version = target.api_version.as_deref().unwrap_or("v1");
            return Err(no_target(
                hpa,
                &format!("and this cluster has no kind {} in {version}", target.kind),
            ));
        }
        found => found.map_err(|call| call.error(&format!("the kind {}", hpa.target.kind), cluster))?,
    };
    let api = Api::<DynamicObject>::namespaced_with(cluster.client.clone(), &cluster.namespace, &kind);
    let what = format!("the scale of {} {}", hpa.target.kind, hpa.target.name);
    let refused = |call: Call| match call.status() {
        Some(404) => {
            no_target(hpa, &format!("and there is none in namespace {} that has a scale", cluster.namespace))
        }
        _ => call.error(&what, cluster),
    };
    match cluster.try_ask(api.get_scale(&hpa.target.name)).await {
        Ok(scale) => Ok(scale.into()),
        Err(call) if call.status() == Some(403) => {
            let object = cluster.try_ask(api.get(&hpa.target.name)).await.map_err(refused)?;
            let Object::Workload(workload) = object.facts() else {
                return Err(TargetError::other("a workload is no workload"));
            };
            if workload.needs_scale && !kinds::is_usual(&kind) {
                return Err(refused(call));
            }
            let signed = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
            Ok(Scaled {
                wanted: signed(workload.replicas),
                present: signed(workload.present),
                selector: workload.selector,
            })
        }
        Err(call) => Err(refused(call)),
    }
}

/// The controller cannot act either.
fn no_target(hpa: &HpaFacts, why: &str) -> TargetError {
    let ObjectReference { kind, name, .. } = &hpa.target;
    TargetError::Other {
        message: format!(
            "autoscaler {} scales {kind} {name}, {why}; make it, or correct the autoscaler's spec.scaleTargetRef",
            hpa.name
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Writer;

    #[test]
    fn a_scale_without_a_selector_leaves_the_one_that_the_object_names() {
        let mut workload = WorkloadFacts {
            kind: "Room".to_owned(),
            name: "room".to_owned(),
            uid: "room".to_owned(),
            replicas: 1,
            needs_scale: true,
            present: 0,
            selector: Selector::parse("app=room"),
            writer: Writer::Unknown,
            created: None,
            part: None,
        };
        Scaled { wanted: 3, present: 2, selector: None }.apply_to(&mut workload);
        assert_eq!((workload.replicas, workload.present), (3, 2));
        assert_eq!(workload.selector, Selector::parse("app=room"));
        Scaled { wanted: 3, present: 2, selector: Selector::parse("app=other") }.apply_to(&mut workload);
        assert_eq!(workload.selector, Selector::parse("app=other"));
    }
}
