//! `docs/telemetry.md` lists exactly the metrics that services expose, and dashboards and alerts use only existing ones.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use serde_json::Value;
use support::{ANSWER, Lab, echo, eventually};

/// Far longer than anything here takes; only a failure reaches it.
const SOON: Duration = Duration::from_mins(1);
const DOCUMENT: &str = include_str!("../../docs/telemetry.md");
/// Metrics that Prometheus creates itself: one per job, and those of the recording rules.
const ALSO_THERE: [&str; 3] = ["up", "tcp_state_established", "udp_packets_received"];

/// Labels with a fixed list of values, which the document gives.
const ENUMERATED: [&str; 11] = [
    "reason",
    "command",
    "cause",
    "phase",
    "condition",
    "metric_target_type",
    "tcp_state",
    "by",
    "traffic",
    "order",
    "part",
];

/// A metric: its type, the names of its labels, and the values of enumerated ones. In the document, these are everything
/// between backticks in its meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Metric {
    kind: String,
    labels: BTreeSet<String>,
    values: BTreeSet<String>,
}

type Metrics = BTreeMap<String, Metric>;

/// The document's tables, by section.
fn documented() -> BTreeMap<String, Metrics> {
    let mut sections: BTreeMap<String, Metrics> = BTreeMap::new();
    let mut section = String::new();
    for line in DOCUMENT.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            title.clone_into(&mut section);
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let ["", name, kind @ ("counter" | "gauge"), labels, meaning, ""] = cells[..] else { continue };
        let labels = labels.split_whitespace().map(|label| label.trim_matches('`').to_owned()).collect();
        let values = meaning.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        let metric = Metric { kind: kind.to_owned(), labels, values };
        sections.entry(section.clone()).or_default().insert(name.trim_matches('`').to_owned(), metric);
    }
    sections
}

/// The metrics on a page: names as queried, with the labels of all samples. `OpenMetrics` gives a counter's type without
/// `_total`, the classic text with it.
fn exposed(page: &str) -> Metrics {
    let mut kinds = BTreeMap::new();
    for line in page.lines() {
        if let Some((family, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let bare = kind == "counter" && !family.ends_with("_total");
            let name = if bare { format!("{family}_total") } else { family.to_owned() };
            kinds.insert(name, kind.to_owned());
        }
    }
    let metric = |kind| Metric { kind, labels: BTreeSet::new(), values: BTreeSet::new() };
    let mut metrics: Metrics = kinds.into_iter().map(|(name, kind)| (name, metric(kind))).collect();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').expect("a sample has a value");
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let metric = metrics.get_mut(name).unwrap_or_else(|| panic!("{name} has no type"));
        for (label, value) in
            labels.trim_end_matches('}').split(',').filter_map(|label| label.split_once('='))
        {
            metric.labels.insert(label.to_owned());
            if ENUMERATED.contains(&label) {
                metric.values.insert(value.trim_matches('"').to_owned());
            }
        }
    }
    metrics
}

fn page(address: SocketAddr) -> String {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, ANSWER)?;
        stream.set_read_timeout(Some(ANSWER))?;
        write!(stream, "GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = eventually(SOON, || match ask() {
        Ok(answer) if answer.starts_with("HTTP/1.0 200") => Ok(answer),
        other => Err(other),
    })
    .unwrap_or_else(|last| panic!("{address}: {last:?}"));
    answer.split_once("\r\n\r\n").expect("a head and a body").1.to_owned()
}

/// The addresses that Prometheus scrapes, with their labels, by job.
fn targets(lab: &Lab, job: &str) -> Vec<(SocketAddr, Value)> {
    let folder = lab.home().join("state/playctl").join(&lab.platform).join("parts/prometheus/targets");
    let text = fs::read(folder.join(format!("{job}.json"))).expect("written at bring-up");
    let groups: Vec<Value> = serde_json::from_slice(&text).expect("JSON");
    groups
        .into_iter()
        .map(|group| {
            let address = group["targets"][0].as_str().expect("an address").parse().expect("an address");
            (address, group["labels"].clone())
        })
        .collect()
}

/// The metrics that all processes of the platform expose now, by the document's sections.
fn pages(lab: &Lab) -> BTreeMap<String, Metrics> {
    let mut pages: BTreeMap<String, Metrics> = BTreeMap::new();
    for job in ["services", "gateways", "supervisor"] {
        for (address, labels) in targets(lab, job) {
            assert_eq!(labels["namespace"], lab.platform, "{labels}");
            let section = match job {
                "services" => labels["service"].as_str().expect("a label"),
                "gateways" => "gateway",
                other => other,
            };
            // Gateways of TCP and of UDP have their own metrics.
            pages.entry(section.to_owned()).or_default().extend(exposed(&page(address)));
        }
    }
    pages
}

fn names(metrics: Option<&Metrics>) -> BTreeSet<String> {
    metrics.into_iter().flat_map(BTreeMap::keys).cloned().collect()
}

#[test]
fn documented_and_exposed_metrics_are_the_same() {
    let lab = Lab::new("telemetry");
    let others = ["udp", "logger", "ws", "ws-client", "balancer", "profiles", "directory", "stream", "page"];
    let others = others.map(|service| format!("{service}.enabled=true")).join(",");
    lab.up(&["--set", &others]);
    assert_eq!(echo(lab.endpoint(), "hello").expect("an answer"), "hello");

    let documented = documented();
    for section in [
        "tcp",
        "udp",
        "ws",
        "stream",
        "ws-client",
        "balancer",
        "profiles",
        "directory",
        "page",
        "logger",
        "gateway",
        "supervisor",
    ] {
        let written = &documented[section];
        // The logger reports its lag once it has partitions.
        let found = eventually(SOON, || {
            let found = pages(&lab).remove(section);
            if names(found.as_ref()) == names(Some(written)) { Ok(found) } else { Err(found) }
        });
        let found = match found {
            Ok(found) | Err(found) => found.unwrap_or_else(|| panic!("{section} is not scraped")),
        };
        let (exposed, documented) = (names(Some(&found)), names(Some(written)));
        assert_eq!(exposed, documented, "{section}: exposed (left), documented (right)");
        for (name, metric) in found {
            assert_eq!(metric.kind, written[&name].kind, "{name}");
            // A metric without a sample shows no labels.
            if !metric.labels.is_empty() {
                assert_eq!(metric.labels, written[&name].labels, "{name}");
            }
            let listed = &written[&name].values;
            assert!(metric.values.is_subset(listed), "{name}: {:?} of {listed:?}", metric.values);
        }
    }
    let parts = lab.status()["parts"].as_array().expect("parts").clone();
    let supervisor = parts.iter().find(|part| part["name"] == "supervisor").expect("shown in status");
    assert_eq!(supervisor["address"], targets(&lab, "supervisor")[0].0.to_string());
}

#[test]
fn targets_follow_the_replicas() {
    let lab = Lab::new("targets");
    // The autoscaler would remove the replica again at its next look.
    lab.up(&["--set", "metrics.syncPeriod=600s"]);
    lab.ok(&["scale", "tcp", "2"]);
    eventually(SOON, || {
        let targets = targets(&lab, "services");
        if targets.len() == 2 { Ok(()) } else { Err(targets) }
    })
    .expect("the new replica is scraped");
    lab.ok(&["scale", "tcp", "1"]);
    eventually(SOON, || {
        let targets = targets(&lab, "services");
        if targets.len() == 1 { Ok(()) } else { Err(targets) }
    })
    .expect("the one that went is not scraped any more");
}

#[test]
fn rules_and_dashboard_use_only_existing_metrics() {
    let documented = documented();
    let known: BTreeSet<&str> =
        documented.values().flat_map(BTreeMap::keys).map(String::as_str).chain(ALSO_THERE).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../helm-chart/files");
    let mut seen = BTreeSet::new();
    for file in ["adapter.yaml", "rules.yaml", "alerts.yaml", "dashboard.json"] {
        let text = fs::read_to_string(folder.join(file)).expect("there");
        let queries: Vec<String> = if file == "dashboard.json" {
            let dashboard: Value = serde_json::from_str(&text).expect("JSON");
            let panels = dashboard["panels"].as_array().expect("panels").clone();
            let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
            targets.map(|target| target["expr"].as_str().expect("a query").to_owned()).collect()
        } else {
            text.lines().filter(|line| !line.trim_start().starts_with('#')).map(str::to_owned).collect()
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        for query in &queries {
            let words = query.split(|c| !is_name(c));
            let of_ours = ["tcp_", "udp_", "gateway_", "logger_", "playctl_", "kube_", "container_"];
            for word in words.filter(|word| of_ours.iter().any(|prefix| word.starts_with(prefix))) {
                // A label, and a metric's name within a label's value.
                if word != "tcp_state" {
                    assert!(known.contains(word), "{file} uses {word}, which nothing exposes: {query}");
                    seen.insert(word.to_owned());
                }
            }
        }
    }
    assert!(seen.len() > 20, "{seen:?}");
}
