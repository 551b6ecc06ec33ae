//! Checks the table and the explanation in `docs/autoscaling.md` against the engine.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::Path,
};

use autoscale::{
    Autoscaler, ControllerSettings, HpaSpec, MetricReading, Observation, Pod, PodSamples, Sample,
    explain::{Instants, Text, explain, state},
    manifest,
};

const SYNC_SECONDS: i64 = 15;

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/autoscaling.md");
    fs::read_to_string(path).expect("the page is in the repository")
}

/// The first fenced block of a language that contains `word`.
fn block<'a>(page: &'a str, language: &str, word: &str) -> &'a str {
    page.split("```")
        .filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n'))
        .find(|block| block.contains(word))
        .unwrap_or_else(|| panic!("no {language} block with {word}"))
}

fn spec(page: &str) -> HpaSpec {
    yaml::from_str(block(page, "yaml", "maxReplicas")).expect("the example is valid")
}

#[test]
fn the_worked_example_is_what_the_engine_does() {
    let page = page();
    let mut autoscaler = Autoscaler::new(&spec(&page), ControllerSettings::default()).unwrap();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .skip_while(|line| !line.starts_with("| s | tcp-0"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert!(rows.len() >= 8);
    let mut replicas = 1;
    let mut seconds = 0;
    let mut readings: Vec<i64> = Vec::new();
    for row in &rows {
        let [at, tcp_0, tcp_1, average, ratio, proposal, stabilized, after] = row[..] else {
            panic!("{row:?}")
        };
        let at: i64 = at.parse().unwrap();
        let mut reconcile = |seconds: i64, readings: &[i64]| {
            let sample = |value: &i64| Some(Sample { milli: value * 1000, ..Sample::default() });
            let samples = PodSamples { listed: readings.iter().map(sample).collect(), unlisted: Vec::new() };
            let observed = Observation {
                spec_replicas: replicas,
                status_replicas: replicas,
                pods: vec![Pod::default(); readings.len()],
                metrics: vec![MetricReading::Pods(samples)],
                ..Observation::default()
            };
            let decision = autoscaler.reconcile(seconds * 1000, &observed);
            replicas = decision.scaled_to.unwrap_or(replicas);
            (decision, replicas)
        };
        while seconds < at {
            reconcile(seconds, &readings);
            seconds += SYNC_SECONDS;
        }
        readings = [tcp_0, tcp_1].iter().filter_map(|value| value.parse().ok()).collect();
        let (decision, replicas) = reconcile(seconds, &readings);
        seconds += SYNC_SECONDS;
        let metric = decision.metrics[0].result.expect("the metric works");
        assert_eq!(metric.usage, Some(average.parse::<i64>().unwrap() * 1000), "{row:?}");
        assert_eq!(format!("{:.4}", metric.ratio), ratio, "{row:?}");
        assert_eq!(decision.proposal.unwrap().to_string(), proposal, "{row:?}");
        assert_eq!(decision.stabilized.unwrap().to_string(), stabilized, "{row:?}");
        assert_eq!(replicas.to_string(), after, "{row:?}");
    }
}

struct Clock;

impl Instants for Clock {
    fn instant(&self, at_ms: i64) -> String {
        let timestamp = jiff::Timestamp::from_millisecond(at_ms).expect("an instant of the page");
        timestamp.strftime("%H:%M:%S").to_string()
    }
}

#[test]
fn the_explanation_is_what_the_engine_says() {
    let page = page();
    let case = state::read(block(&page, "yaml", "recommendations"), &spec(&page), 0).unwrap();
    let explanation = explain(&case).unwrap();
    let text = Text { explanation: &explanation, instants: &Clock }.to_string();
    let shown = block(&page, "text", "what would change it");
    assert_eq!(text.trim_end(), shown.trim_end(), "the page is out of date; it should say:\n{text}");
}

#[test]
fn the_state_file_with_every_kind_of_metric_can_be_explained() {
    let page = page();
    let spec: HpaSpec = yaml::from_str(
        "
maxReplicas: 20
metrics:
- {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}
- {type: External, external: {metric: {name: queue}, target: {type: AverageValue, averageValue: 100}}}
- {type: Object, object: {describedObject: {kind: Ingress, name: main}, metric: {name: rps}, target: {type: Value, value: 2}}}
",
    )
    .unwrap();
    let now_ms = "2026-11-21T14:02:50Z".parse::<jiff::Timestamp>().unwrap().as_millisecond();
    let case = state::read(block(&page, "yaml", "external:"), &spec, now_ms).unwrap();
    let explanation = explain(&case).unwrap();
    let words: Vec<&str> = explanation.metrics.iter().map(|metric| metric.words.as_str()).collect();
    assert_eq!(
        words,
        [
            "90 % of the request, target 80 %: pods that are unready or without a sample may tip it, keeps 3",
            "750 per pod of 100: wants 15",
            "2.3 of 2: wants 2"
        ]
    );
}

/// The valid keys at a place of a state file, from the error about a wrong key.
fn expected(template: &str) -> BTreeSet<String> {
    let error = state::read(template, &spec(&page()), 0).expect_err("nobody knows zzz").to_string();
    let (_, expected) = error
        .split_once("known here: ")
        .or_else(|| error.split_once("expected one of "))
        .unwrap_or_else(|| panic!("{error}"));
    // Which value was there is not said of an unknown key.
    let expected = expected.split_once(", got ").map_or(expected, |(expected, _)| expected);
    expected.split(", ").map(str::to_owned).collect()
}

#[test]
fn the_documented_state_keys_are_the_ones_that_are_read() {
    let page = page();
    // By key: its value and its default.
    let rows: BTreeMap<&str, (&str, &str)> = page
        .lines()
        .skip_while(|line| !line.starts_with("| key | value | default"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let ["", key, value, default, _, ""] = cells[..] else { panic!("{line}") };
            (key.trim_matches('`'), (value, default.trim_matches('`')))
        })
        .collect();

    let inside = "{now: 0, replicas: 1, ";
    let read: BTreeSet<String> = [
        ("", "{zzz: 1}".to_owned()),
        ("pods[].", format!("{inside}pods: [{{zzz: 1}}]}}")),
        ("pods[].containers[].", format!("{inside}pods: [{{name: a, containers: [{{zzz: 1}}]}}]}}")),
        ("metrics[].", format!("{inside}metrics: [{{zzz: 1}}]}}")),
        ("history.", format!("{inside}history: {{zzz: 1}}}}")),
        ("history.recommendations[].", format!("{inside}history: {{recommendations: [{{zzz: 1}}]}}}}")),
        ("history.scaleUps[].", format!("{inside}history: {{scaleUps: [{{zzz: 1}}]}}}}")),
        ("history.scaleDowns[].", format!("{inside}history: {{scaleDowns: [{{zzz: 1}}]}}}}")),
        ("settings.", format!("{inside}settings: {{zzz: 1}}}}")),
    ]
    .iter()
    .flat_map(|(place, template)| expected(template).into_iter().map(move |key| format!("{place}{key}")))
    .collect();
    let documented: BTreeSet<String> = rows.keys().map(|key| (*key).to_owned()).collect();
    assert_eq!(documented, read, "documented (left), read (right)");

    let phases: BTreeSet<String> =
        rows["pods[].phase"].0.split(", ").map(|phase| phase.trim_matches('`').to_owned()).collect();
    assert_eq!(phases, expected(&format!("{inside}pods: [{{name: a, phase: zzz}}]}}")));

    let settings = serde_json::to_value(ControllerSettings::default()).unwrap();
    for (name, value) in settings.as_object().unwrap() {
        assert_eq!(rows[format!("settings.{name}").as_str()].1, value.to_string(), "{name}");
    }
}

/// Each line that the README shows, in order; `…` stands for lines left out.
#[test]
fn the_readme_explains_its_example() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = fs::read_to_string(path).expect("the README is in the repository");
    let manifests =
        manifest::read("my-hpa.yaml", block(&readme, "yaml", "HorizontalPodAutoscaler"), false).unwrap();
    let [manifest] = &manifests[..] else { panic!("one manifest: {manifests:?}") };
    let case = state::read(block(&readme, "yaml", "recommendations"), &manifest.spec, 0).unwrap();
    let explanation = explain(&case).unwrap();
    let text = format!("{} {}", manifest.name, Text { explanation: &explanation, instants: &Clock });
    let mut said = text.lines();
    let shown = block(&readme, "text", "what would change it").lines();
    for line in shown.filter(|line| !line.starts_with('$') && line.trim() != "…") {
        assert!(said.any(|said| said == line), "the README is out of date: {line:?} in\n{text}");
    }
}
