//! Keys that only the chart uses. They are checked here too, so that a mistake is found before anything is installed.

use serde_json::json;

use super::{
    reader::Reader,
    resources::Resources,
    rule::{self, Rule},
};

/// With its exact tag, so that an image of today is the one of tomorrow.
const IMAGE: &str =
    r"^[a-z0-9]+([._:/-]+[a-z0-9]+)*:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}(@sha256:[0-9a-f]{64})?$";
const REPOSITORY: &str = r"^[a-z0-9]+([._:/-]+[a-z0-9]+)*$";
const TAG: &str = r"^([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?$";
/// A name of DNS, as objects have.
const OBJECT: &str = r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$";
/// Of a label, perhaps with a domain before it.
const LABEL: &str =
    r"^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$";
/// By these the objects find each other.
const OWN_LABELS: [&str; 3] = ["app.kubernetes.io/", "helm.sh/", "playctl/"];
/// As an Ingress has it: `*.` stands for any one label.
const HOST: &str = r"^((\*\.)?[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?$";
/// Of Prometheus, whose units go up to years.
const RETENTION: &str = r"^[0-9]+(ms|[smhdwy])([0-9]+(ms|[smhdwy]))*$";

/// The keys beside services and parts.
pub(super) fn top(values: &mut Reader<'_>) {
    kept(values, "image", |image| {
        image.optional("repository", rule::matching("the name of an image without its tag", REPOSITORY));
        image.optional("tag", rule::matching("the tag of an image, or nothing", TAG));
        words(image, "pullPolicy", &["Always", "IfNotPresent", "Never"]);
    });
    values.list("imagePullSecrets", &object());
    kept(values, "secrets", |secrets| _ = secrets.bool("generate", false));
    kept(values, "monitoring", |monitoring| {
        monitoring.optional("namespace", object());
        monitoring.bool("createNamespace", true);
    });
    kept(values, "networkPolicy", |policy| _ = policy.bool("enabled", true));
    kept(values, "scheduling", |scheduling| {
        scheduling.texts("nodeSelector", &rule::name("a label"));
        for mut toleration in scheduling.tables("tolerations") {
            toleration.text("key");
            toleration.text("value");
            words(&mut toleration, "operator", &["Exists", "Equal"]);
            words(&mut toleration, "effect", &["NoSchedule", "PreferNoSchedule", "NoExecute"]);
            toleration.integer("tolerationSeconds", 0..=u32::MAX);
            toleration.finish();
        }
        let name = format!("^$|{OBJECT}");
        scheduling
            .optional("priorityClassName", rule::matching("the name of a PriorityClass, or nothing", &name));
    });
    for (label, value) in values.texts("labels", &rule::matching("the name of a label", LABEL)) {
        let is_own = label == "traffic" || OWN_LABELS.iter().any(|prefix| label.starts_with(prefix));
        if is_own {
            let key = values.path_of(&format!("labels.{label}"));
            values.problems().add(key, Some(&value.into()), "a label that the chart does not set itself");
        }
    }
    kept(values, "cadvisor", |cadvisor| {
        cadvisor.bool("enabled", false);
        cadvisor.optional("namespace", object());
        image(cadvisor);
        resources(cadvisor);
    });
    kept(values, "envoy", |envoy| {
        envoy.optional("host", address());
        envoy.list("externalIPs", &address());
        envoy.texts("annotations", &rule::name("a name"));
        words(envoy, "serviceType", &["ClusterIP", "NodePort", "LoadBalancer"]);
        image(envoy);
        resources(envoy);
    });
}

/// The way in over a controller of the cluster.
pub(super) fn ingress(values: &mut Reader<'_>) {
    inside(values, "ingress", |ingress| {
        ingress.bool("enabled", false);
        ingress.optional("className", object());
        ingress.optional("namespace", object());
        ingress.optional("host", rule::matching("the name of a host, or nothing", HOST));
        ingress.optional(
            "tlsSecret",
            rule::matching("the name of a Secret, or nothing", &format!("^$|{OBJECT}")),
        );
        ingress.texts("annotations", &rule::name("an annotation"));
    });
}

pub(super) fn kafka(values: &mut Reader<'_>) {
    inside(values, "sasl", |sasl| {
        sasl.bool("enabled", true);
        sasl.optional("user", rule::name("a name"));
        existing_secret(sasl);
    });
    server(values);
}

pub(super) fn cassandra(values: &mut Reader<'_>) {
    existing_secret(values);
    server(values);
}

pub(super) fn elasticsearch(values: &mut Reader<'_>) {
    values.bool("operator", false);
    existing_secret(values);
    server(values);
    inside(values, "kibana", |kibana| {
        kibana.bool("enabled", false);
        image(kibana);
        resources(kibana);
    });
}

pub(super) fn etcd(values: &mut Reader<'_>) {
    values.optional("members", members());
    image(values);
    resources(values);
    inside(values, "storage", |storage| {
        storage.optional("size", rule::quantity());
        storage.optional("storageClass", rule::text());
    });
}

/// Whether the operator scrapes.
pub(super) fn prometheus(values: &mut Reader<'_>) -> bool {
    values.texts("operatorLabels", &rule::name("a label"));
    values.optional("retention", rule::matching("how long samples are kept, such as 2d or 12h", RETENTION));
    image(values);
    resources(values);
    storage(values);
    inside(values, "adapter", |adapter| {
        adapter.bool("enabled", true);
        image(adapter);
        resources(adapter);
    });
    values.bool("operator", false)
}

/// What a server of the chart's own has that runs on a JVM.
fn server(values: &mut Reader<'_>) {
    values.optional(
        "heap",
        rule::matching("the size of a JVM's heap, such as 512m or 2g", "^[1-9][0-9]*[kmgKMG]$"),
    );
    image(values);
    resources(values);
    storage(values);
}

pub(super) fn image(values: &mut Reader<'_>) {
    values.kept("image", rule::matching("an image with its tag, such as envoyproxy/envoy:v1.37.0", IMAGE));
}

pub(super) fn resources(values: &mut Reader<'_>) {
    Resources::read(values.table("resources"));
}

pub(super) fn storage(values: &mut Reader<'_>) {
    inside(values, "storage", |storage| {
        storage.optional("size", size());
        storage.optional("storageClass", rule::text());
    });
}

pub(super) fn existing_secret(values: &mut Reader<'_>) {
    let name = format!("^$|{OBJECT}");
    values.optional("existingSecret", rule::matching("the name of a Secret, or nothing", &name));
}

/// A quantity, or nothing.
fn size() -> Rule<()> {
    let quantity = rule::quantity();
    let schema =
        json!({"anyOf": [{"const": ""}, {"type": "null"}, quantity.schema], "type": ["string", "number"]});
    Rule::new("a size such as 8Gi, or nothing", schema, move |value| {
        (value.as_str() == Some("") || (quantity.read)(value).is_some()).then_some(())
    })
}

/// How many members an etcd has: an even number survives no more losses than one less.
fn members() -> Rule<()> {
    let schema = json!({"type": "integer", "enum": [1, 3, 5]});
    Rule::new("1, 3 or 5", schema, |value| {
        value.as_f64().is_some_and(|number| [1.0, 3.0, 5.0].contains(&number)).then_some(())
    })
}

fn object() -> Rule<String> {
    rule::matching("the name of an object (a-z, 0-9, - and ., at most 253)", OBJECT)
}

fn address() -> Rule<()> {
    // What the groups of an IPv6 address may be is left to the parser of the one who gets it.
    let shape = r"^([0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}|[0-9a-fA-F:]*:[0-9a-fA-F:.]*)$";
    rule::matching("an IP address", shape).map(drop)
}

fn words(values: &mut Reader<'_>, key: &'static str, all: &[&'static str]) {
    values.optional(key, rule::choice(all, |word| word));
}

/// Like [`inside`], for a table that the templates need.
fn kept<'a>(values: &mut Reader<'a>, key: &'a str, read: impl FnOnce(&mut Reader<'a>)) {
    if let Some(mut table) = values.kept_table(key) {
        read(&mut table);
        table.finish();
    }
}

fn inside<'a>(values: &mut Reader<'a>, key: &'a str, read: impl FnOnce(&mut Reader<'a>)) {
    if let Some(mut table) = values.table(key) {
        read(&mut table);
        table.finish();
    }
}
