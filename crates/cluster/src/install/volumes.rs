//! Whether the cluster can provide the volumes that the chart claims.

use std::collections::{BTreeMap, BTreeSet};

use autoscale::Quantity;
use k8s_openapi::{
    api::{
        core::v1::{PersistentVolume, PersistentVolumeClaim},
        storage::v1::StorageClass,
    },
    apimachinery::pkg::api::resource::Quantity as Amount,
};
use kube::{Api, api::ListParams};
use platform::values::{helm::Table, setting};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Site, manifest::Object};

/// The annotation of the class that claims without one get.
const IS_DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";

/// The maximum number of a `StatefulSet`'s pods whose claims are checked: the number comes from the user.
const PODS_MAX: u64 = 1000;

/// Claims of one kind that a workload makes, one per pod, or a single one that stands for itself.
#[derive(Debug, Clone, PartialEq)]
struct Claims {
    /// `StatefulSet playground/playground-kafka`
    by: String,
    /// The part, as the chart labels it; empty in a chart that has no such label.
    part: String,
    namespace: String,
    names: Vec<String>,
    /// `None`: the cluster's default.
    class: Option<String>,
    modes: Vec<String>,
    bytes_milli: i64,
}

/// What the cluster has.
#[derive(Debug, Default)]
struct Offer {
    classes: Vec<StorageClass>,
    volumes: Vec<PersistentVolume>,
    /// Of the claims' namespaces.
    claims: Vec<PersistentVolumeClaim>,
}

/// Which claims would stay without a volume, in words. `None`: this account may not see that.
pub(super) async fn lacking(site: &Site, objects: &[Object], values: &Table) -> Option<Vec<String>> {
    let claims = claims(objects);
    if claims.is_empty() {
        return Some(Vec::new());
    }
    let client = &site.cluster.client;
    let classes: Api<StorageClass> = Api::all(client.clone());
    let classes = site.cluster.try_ask(classes.list(&ListParams::default())).await.ok()?.items;
    let mut offer = Offer { classes, ..Offer::default() };
    offer.classes.extend(rendered(objects, "storage.k8s.io", "StorageClass"));
    if claims.iter().all(|claims| offer.provides(claims)) {
        return Some(Vec::new());
    }
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    offer.volumes = site.cluster.try_ask(volumes.list(&ListParams::default())).await.ok()?.items;
    offer.volumes.extend(rendered(objects, "", "PersistentVolume"));
    let mut namespaces: Vec<&str> = claims.iter().map(|claims| claims.namespace.as_str()).collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    for namespace in namespaces {
        let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
        offer.claims.extend(site.cluster.try_ask(api.list(&ListParams::default())).await.ok()?.items);
    }
    Some(offer.lacking(&claims, values))
}

/// What the chart itself brings of a kind.
fn rendered<K: DeserializeOwned>(objects: &[Object], group: &str, kind: &str) -> Vec<K> {
    let are = objects
        .iter()
        .filter(|object| (object.key.group.as_str(), object.key.kind.as_str()) == (group, kind));
    are.filter_map(|object| serde_json::from_value(object.value.clone()).ok()).collect()
}

fn claims(objects: &[Object]) -> Vec<Claims> {
    let mut claims = Vec::new();
    for Object { key, value } in objects {
        let mut add = |names: Vec<String>, spec: &Value| {
            let modes = spec["accessModes"].as_array().into_iter().flatten();
            let bytes = serde_json::from_value::<Quantity>(spec["resources"]["requests"]["storage"].clone());
            claims.push(Claims {
                by: key.to_string(),
                part: value["metadata"]["labels"]["app.kubernetes.io/name"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
                namespace: key.namespace.clone().unwrap_or_default(),
                names,
                class: spec["storageClassName"].as_str().map(str::to_owned),
                modes: modes.filter_map(Value::as_str).map(str::to_owned).collect(),
                bytes_milli: bytes.map_or(0, |bytes| bytes.milli()),
            });
        };
        match (key.group.as_str(), key.kind.as_str()) {
            ("", "PersistentVolumeClaim") => add(vec![key.name.clone()], &value["spec"]),
            ("apps", "StatefulSet") => {
                let spec = &value["spec"];
                let first = spec["ordinals"]["start"].as_u64().unwrap_or(0);
                let count = spec["replicas"].as_u64().unwrap_or(1).min(PODS_MAX);
                let pods = first..first.saturating_add(count);
                for template in spec["volumeClaimTemplates"].as_array().into_iter().flatten() {
                    let name = template["metadata"]["name"].as_str().unwrap_or_default();
                    let names = pods.clone().map(|pod| format!("{name}-{}-{pod}", key.name));
                    add(names.collect(), &template["spec"]);
                }
            }
            _ => {}
        }
    }
    claims
}

impl Offer {
    /// Whether a class of the cluster may make the volumes.
    fn provides(&self, claims: &Claims) -> bool {
        let is_default = |class: &StorageClass| {
            let annotations = class.metadata.annotations.as_ref();
            annotations
                .is_some_and(|annotations| annotations.get(IS_DEFAULT).is_some_and(|value| value == "true"))
        };
        self.classes.iter().any(|class| match &claims.class {
            None => is_default(class),
            Some(wanted) => class.metadata.name.as_ref() == Some(wanted),
        })
    }

    /// Which of the claims would wait, each workload's first, and what to do about it.
    fn lacking(&self, all: &[Claims], values: &Table) -> Vec<String> {
        let mut taken = Taken::default();
        let mut words = Vec::new();
        for claims in all.iter().filter(|claims| !self.provides(claims)) {
            let mut names = claims.names.iter();
            if let Some(name) =
                names.find(|name| !self.is_bound(claims, name) && !taken.find(self, claims, name))
            {
                words.push(self.words(claims, name, values));
            }
        }
        words
    }

    fn is_bound(&self, claims: &Claims, name: &str) -> bool {
        self.claims.iter().any(|claim| {
            let metadata = &claim.metadata;
            let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
            (metadata.namespace.as_ref(), metadata.name.as_deref()) == (Some(&claims.namespace), Some(name))
                && phase == Some("Bound")
        })
    }

    fn words(&self, claims: &Claims, name: &str, values: &Table) -> String {
        let wanted = match claims.class.as_deref() {
            None => "a StorageClass by default, and this cluster has no default one".to_owned(),
            Some("") => "a PersistentVolume without a StorageClass".to_owned(),
            Some(class) => format!("StorageClass {class}, which this cluster does not have"),
        };
        let mut known: Vec<&str> =
            self.classes.iter().filter_map(|class| class.metadata.name.as_deref()).collect();
        known.sort_unstable();
        let storage = format!("{}.storage", claims.part);
        let is_value = setting(values, &storage).is_some();
        let choose = match (&known[..], is_value) {
            ([], _) => "make a StorageClass: there is none".to_owned(),
            (known, true) => format!("set {storage}.storageClass to one of: {}", known.join(", ")),
            (known, false) => format!("let its storageClassName be one of: {}", known.join(", ")),
        };
        // A member of etcd cannot come back without its data, so the values demand a size.
        let without = if is_value && claims.part != "etcd" {
            format!("; or, if the data may be lost with the pod, do without (--set {storage}.size=)")
        } else {
            String::new()
        };
        format!(
            "{}: its claim {name} needs {wanted}, and no free PersistentVolume is left that fits; {choose}{without}",
            claims.by
        )
    }
}

/// Which claim has which of the volumes.
#[derive(Default)]
struct Taken<'a> {
    by_volume: BTreeMap<usize, (&'a Claims, &'a str)>,
}

impl<'a> Taken<'a> {
    /// Finds a volume for a claim. Those that have one may be given another, so that as many as possible have one.
    fn find(&mut self, offer: &Offer, claims: &'a Claims, name: &'a str) -> bool {
        self.find_without(offer, claims, name, &mut BTreeSet::new())
    }

    fn find_without(
        &mut self,
        offer: &Offer,
        claims: &'a Claims,
        name: &'a str,
        tried: &mut BTreeSet<usize>,
    ) -> bool {
        let fitting: Vec<usize> =
            (0..offer.volumes.len()).filter(|at| fits(&offer.volumes[*at], claims, name)).collect();
        let free = fitting.iter().find(|at| !self.by_volume.contains_key(at)).copied();
        let given_up = || {
            fitting.iter().copied().find(|at| {
                tried.insert(*at)
                    && self
                        .by_volume
                        .get(at)
                        .copied()
                        .is_some_and(|(claims, name)| self.find_without(offer, claims, name, tried))
            })
        };
        let Some(at) = free.or_else(given_up) else { return false };
        self.by_volume.insert(at, (claims, name));
        true
    }
}

/// Whether a volume that exists could become the claim's.
fn fits(volume: &PersistentVolume, claims: &Claims, name: &str) -> bool {
    let Some(spec) = &volume.spec else { return false };
    let is_free = match &spec.claim_ref {
        None => true,
        Some(claim) => {
            (claim.namespace.as_ref(), claim.name.as_deref()) == (Some(&claims.namespace), Some(name))
        }
    };
    // One that was just made has no phase yet.
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    let amount = |amount: &Amount| Some(amount.0.parse::<Quantity>().ok()?.milli());
    let bytes_milli = spec.capacity.as_ref().and_then(|capacity| amount(capacity.get("storage")?));
    let modes = spec.access_modes.as_deref().unwrap_or_default();
    is_free
        && matches!(phase, None | Some("Pending" | "Available" | "Bound"))
        && spec.storage_class_name.as_deref().unwrap_or_default()
            == claims.class.as_deref().unwrap_or_default()
        && claims.modes.iter().all(|mode| modes.contains(mode))
        && bytes_milli.is_some_and(|bytes_milli| bytes_milli >= claims.bytes_milli)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::install::{catalog::Catalog, manifest};

    const SET: &str = "
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: playground-kafka, labels: {app.kubernetes.io/name: kafka}}
spec:
  replicas: 2
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce], storageClassName: fast, resources: {requests: {storage: 1Gi}}}
";

    fn objects(text: &str) -> Vec<Object> {
        manifest::parse("manifest", text, "here", &Catalog::default()).unwrap()
    }

    fn values() -> Table {
        json!({"kafka": {"storage": {"size": "1Gi"}}, "etcd": {"storage": {"size": "1Gi"}}})
            .as_object()
            .unwrap()
            .clone()
    }

    fn class(name: &str, is_default: &str) -> StorageClass {
        serde_json::from_value(
            json!({"metadata": {"name": name, "annotations": {IS_DEFAULT: is_default}}, "provisioner": "p"}),
        )
        .unwrap()
    }

    /// What is lacking for the claims of a manifest, on a cluster with this.
    fn lacking(text: &str, offer: &Offer) -> Vec<String> {
        offer.lacking(&claims(&objects(text)), &values())
    }

    fn volumes(several: Value) -> Offer {
        Offer { volumes: serde_json::from_value(several).unwrap(), ..Offer::default() }
    }

    #[test]
    fn a_class_that_does_not_exist_is_refused_with_the_value_to_set() {
        let other =
            Offer { classes: vec![class("slow", "true"), class("other", "false")], ..Offer::default() };
        let refused = lacking(SET, &other);
        let [words] = &refused[..] else { panic!("{refused:?}") };
        for part in [
            "StatefulSet here/playground-kafka: its claim data-playground-kafka-0 needs StorageClass fast",
            "set kafka.storage.storageClass to one of: other, slow;",
            "--set kafka.storage.size=)",
        ] {
            assert!(words.contains(part), "{part} is missing in: {words}");
        }
        let there = Offer { classes: vec![class("fast", "false")], ..Offer::default() };
        assert!(lacking(SET, &there).is_empty());
        assert!(lacking(&SET.replace("replicas: 2", "replicas: 0"), &Offer::default()).is_empty());
        let etcd = lacking(&SET.replace("name: kafka", "name: etcd"), &other).remove(0);
        assert!(etcd.ends_with("set etcd.storage.storageClass to one of: other, slow"), "{etcd}");
        let foreign = SET.replace("app.kubernetes.io/name: kafka", "a: b");
        assert!(lacking(&foreign, &other)[0].ends_with("let its storageClassName be one of: other, slow"));
    }

    #[test]
    fn without_a_class_the_default_one_counts() {
        let unnamed = SET.replace("storageClassName: fast, ", "");
        let classes = |is_default| Offer { classes: vec![class("slow", is_default)], ..Offer::default() };
        assert!(lacking(&unnamed, &classes("true")).is_empty());
        assert!(lacking(&unnamed, &classes("false"))[0].contains("has no default one"));
        assert!(lacking(&unnamed, &Offer::default())[0].contains("make a StorageClass: there is none; or"));
        let none = SET.replace("storageClassName: fast", "storageClassName: ''");
        assert!(lacking(&none, &classes("true"))[0].contains("without a StorageClass"));
        let single = "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: own}, spec: {storageClassName: fast}}";
        assert!(
            lacking(single, &Offer::default())[0].contains("PersistentVolumeClaim here/own: its claim own")
        );
    }

    #[test]
    fn a_volume_that_fits_needs_no_class() {
        let volume = |change: &Value| {
            let mut volume = json!({"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                "storageClassName": "fast"}, "status": {"phase": "Available"}});
            for (pointer, value) in change.as_object().unwrap() {
                let (parent, key) = pointer.rsplit_once('/').unwrap();
                volume.pointer_mut(parent).unwrap()[key] = value.clone();
            }
            volumes(json!([volume]))
        };
        let one = SET.replace("replicas: 2", "replicas: 1");
        for fine in [
            json!({}),
            json!({"/spec/capacity": {"storage": "2Gi"}}),
            json!({"/spec/accessModes": ["ReadWriteMany", "ReadWriteOnce"]}),
            json!({"/status": {}}),
        ] {
            assert!(lacking(&one, &volume(&fine)).is_empty(), "{fine}");
        }
        for wrong in [
            json!({"/spec/capacity": {"storage": "1Mi"}}),
            json!({"/spec/accessModes": ["ReadOnlyMany"]}),
            json!({"/spec/storageClassName": "slow"}),
            json!({"/spec/claimRef": {"namespace": "there", "name": "data-playground-kafka-0"}}),
            json!({"/status/phase": "Released"}),
        ] {
            assert_eq!(lacking(&one, &volume(&wrong)).len(), 1, "{wrong}");
        }
        // For the first pod only.
        let first = json!({"/spec/claimRef": {"namespace": "here", "name": "data-playground-kafka-0"}});
        assert!(lacking(SET, &volume(&first))[0].contains("data-playground-kafka-1 needs"));
        assert!(lacking(&one, &volume(&first)).is_empty());
    }

    #[test]
    fn a_volume_is_for_one_claim() {
        let volume = |size: &str, claim: Option<&str>| {
            json!({"spec": {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
                "claimRef": claim.map(|name| json!({"namespace": "here", "name": name}))},
                "status": {"phase": "Available"}})
        };
        let free = |sizes: &[&str]| volumes(sizes.iter().map(|size| volume(size, None)).collect::<Value>());
        assert!(lacking(SET, &free(&["1Gi"]))[0].contains("claim data-playground-kafka-1 needs"));
        assert!(lacking(SET, &free(&["1Gi", "1Gi"])).is_empty());
        // Two workloads, one of which needs more, in either order.
        let large = SET
            .replace("playground-kafka", "large")
            .replace("replicas: 2", "replicas: 1")
            .replace("1Gi", "3Gi");
        for both in [format!("{SET}---\n{large}"), format!("{large}---\n{SET}")] {
            for sizes in [["3Gi", "1Gi", "2Gi"], ["1Gi", "2Gi", "3Gi"], ["2Gi", "3Gi", "1Gi"]] {
                assert!(lacking(&both, &free(&sizes)).is_empty(), "{sizes:?}");
            }
            let refused = lacking(&both, &free(&["1Gi", "1Gi", "2Gi"]));
            assert!(refused.len() == 1 && refused[0].contains("here/large"), "{refused:?}");
        }
        // One that is kept for the second pod is not the first one's.
        let kept = volumes(json!([volume("1Gi", Some("data-playground-kafka-1")), volume("1Gi", None)]));
        assert!(lacking(SET, &kept).is_empty());
    }

    #[test]
    fn a_claim_that_has_its_volume_needs_no_other() {
        let claims = |phase: &str| {
            let claims = ["data-playground-kafka-0", "data-playground-kafka-1"].map(
                |name| json!({"metadata": {"name": name, "namespace": "here"}, "status": {"phase": phase}}),
            );
            Offer { claims: serde_json::from_value(json!(claims)).unwrap(), ..Offer::default() }
        };
        assert!(lacking(SET, &claims("Bound")).is_empty());
        assert_eq!(lacking(SET, &claims("Pending")).len(), 1);
        assert!(
            lacking(&SET.replace("replicas: 2", "replicas: 3"), &claims("Bound"))[0]
                .contains("kafka-2 needs")
        );
    }

    #[test]
    fn what_the_chart_brings_itself_counts() {
        let both = format!(
            "{SET}---\n{{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {{name: fast}}, provisioner: p}}\n"
        );
        let classes = rendered(&objects(&both), "storage.k8s.io", "StorageClass");
        assert!(lacking(&both, &Offer { classes, ..Offer::default() }).is_empty());
    }
}
