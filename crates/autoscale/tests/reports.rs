//! Situations from public reports, each with upstream's decision. The numbers follow from `replica_calculator.go` and
//! `horizontal.go` of Kubernetes 1.34, worked out by hand.

use autoscale::{
    HpaSpec,
    explain::{explain, state},
};

const QUEUE: &str =
    "{type: External, external: {metric: {name: q}, target: {type: AverageValue, averageValue: 1}}}";
const CPU: &str =
    "{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}";

/// `count` pods that request a core.
fn pods(count: usize) -> String {
    let pod =
        |index| format!("{{name: p{index}, containers: [{{name: app, requests: {{cpu: 1, memory: 1Gi}}}}]}}");
    (0..count).map(pod).collect::<Vec<_>>().join(", ")
}

/// A sample for each of `count` pods.
fn samples(count: usize, value: &str) -> String {
    let samples = (0..count).map(|index| format!("p{index}: {value}")).collect::<Vec<_>>();
    format!("{{pods: {{{}}}}}", samples.join(", "))
}

struct Report {
    about: &'static str,
    bounds: (i32, i32),
    metrics: String,
    behavior: &'static str,
    replicas: usize,
    /// Readings, and other parts of the state.
    state: String,
    desired: i32,
}

impl Report {
    fn new(about: &'static str, metrics: &str, replicas: usize, state: &str, desired: i32) -> Self {
        Self {
            about,
            bounds: (1, 100),
            metrics: metrics.to_owned(),
            behavior: "",
            replicas,
            state: state.to_owned(),
            desired,
        }
    }

    fn bounds(self, min: i32, max: i32) -> Self {
        Self { bounds: (min, max), ..self }
    }

    fn behavior(self, behavior: &'static str) -> Self {
        Self { behavior, ..self }
    }

    fn check(&self) {
        let Self { about, bounds: (min, max), metrics, behavior, replicas, state, desired } = self;
        let spec = format!(
            "{{minReplicas: {min}, maxReplicas: {max}, metrics: [{metrics}], behavior: {{{behavior}}}}}"
        );
        let spec = if behavior.is_empty() { spec.replace(", behavior: {}", "") } else { spec };
        let spec: HpaSpec = yaml::from_str(&spec).unwrap_or_else(|error| panic!("{about}: {error}"));
        let pods =
            if state.contains("pods: [") { String::new() } else { format!("pods: [{}], ", pods(*replicas)) };
        // A controller without memory takes the current count as a recommendation.
        let history = if state.contains("history") {
            ""
        } else {
            ", history: {recommendations: [{at: 1, replicas: 1}]}"
        };
        let state = format!("{{now: 10000000, replicas: {replicas}, {pods}{state}{history}}}");
        let case = state::read(&state, &spec, 0).unwrap_or_else(|error| panic!("{about}: {error}"));
        let explanation = explain(&case).unwrap_or_else(|error| panic!("{about}: {error}"));
        assert_eq!(explanation.desired, *desired, "{about}: {}", explanation.summary);
    }
}

#[test]
fn totals_and_averages() {
    let whole = "{type: External, external: {metric: {name: q}, target: {type: AverageValue, value: 5}}}";
    let object = "{type: Object, object: {describedObject: {kind: K, name: i}, metric: {name: q}, target: {type: Value, value: 10}}}";
    for report in [
        Report::new(
            "kubernetes#87797: `value` is a total, whatever the type says",
            whole,
            2,
            "metrics: [{external: [10]}]",
            4,
        ),
        Report::new(
            "keda#5263: 89 of 88 is within the tolerance",
            QUEUE,
            88,
            "metrics: [{external: [89]}]",
            88,
        ),
        Report::new(
            "keda#5820: 10 of 11 is within the tolerance",
            QUEUE,
            11,
            "metrics: [{external: [10]}]",
            11,
        ),
        Report::new(
            "keda#5781: the sum of the series is divided by the replicas",
            QUEUE,
            3,
            "metrics: [{external: [2, 4]}]",
            6,
        ),
        Report::new(
            "kubernetes#123296: status.replicas counts surging pods",
            &QUEUE.replace("averageValue: 1", "averageValue: 100"),
            4,
            "statusReplicas: 6, metrics: [{external: [400]}]",
            4,
        ),
        Report::new(
            "kubernetes#123296: within the tolerance it is status.replicas that is kept",
            &QUEUE.replace("averageValue: 1", "averageValue: 100"),
            4,
            "statusReplicas: 6, metrics: [{external: [600]}]",
            6,
        ),
        Report::new(
            "a value is multiplied with the pods that are ready",
            object,
            3,
            "pods: [{name: a}, {name: b}, {name: c, ready: false}], metrics: [{object: 20}]",
            4,
        ),
        Report::new("a negative value is below every target", object, 3, "metrics: [{object: -20}]", 1),
    ] {
        report.check();
    }
}

#[test]
fn requests_and_samples() {
    let container = "{type: ContainerResource, containerResource: {name: cpu, container: app, target: {type: Utilization, averageUtilization: 50}}}";
    let sidecar = "pods: [{name: p0, containers: [{name: app, requests: {cpu: 1}}, {name: daprd}]}], metrics: [{pods: {p0: 900m}}]";
    let memory = CPU.replace("cpu", "memory");
    for report in [
        Report::new("dapr#7813: a sidecar without a request stops it", CPU, 1, sidecar, 1),
        Report::new("a container's own metric does not look at the sidecar", container, 1, sidecar, 2),
        Report::new(
            "websphere-liberty-operator#787: 68 % of 80 % on 4 pods is 3.4, so 4",
            &memory,
            4,
            &format!("metrics: [{}]", samples(4, "696Mi")),
            4,
        ),
        Report::new("no sample at all", CPU, 3, "metrics: [{pods: {}}]", 3),
        Report::new(
            "without samples of half, the way up is not trusted",
            CPU,
            4,
            &format!("metrics: [{}]", samples(2, "900m")),
            4,
        ),
        Report::new("0 % goes to the minimum", CPU, 4, &format!("metrics: [{}]", samples(4, "0")), 1),
        Report::new(
            "a metric that fails holds the way down",
            &format!("{CPU}, {QUEUE}"),
            4,
            &format!("metrics: [{}, {{failed: true}}]", samples(4, "0")),
            4,
        ),
        Report::new(
            "a metric that fails does not hold the way up",
            &format!("{CPU}, {QUEUE}"),
            4,
            &format!("metrics: [{}, {{failed: true}}]", samples(4, "1600m")),
            8,
        ),
        Report::new(
            "the largest proposal wins",
            &format!("{CPU}, {QUEUE}"),
            4,
            &format!("metrics: [{}, {{external: [6]}}]", samples(4, "200m")),
            6,
        ),
    ] {
        report.check();
    }
}

#[test]
fn bounds_policies_and_windows() {
    let many = "metrics: [{external: [50]}]";
    let none = "metrics: [{external: [0]}]";
    let held = "metrics: [{external: [0]}], history: {recommendations: [{at: 9900000, replicas: 5}]}";
    for report in [
        Report::new("without a behaviour the count doubles at most, or goes to 4", QUEUE, 1, many, 4),
        Report::new("without a behaviour the count doubles at most", QUEUE, 6, many, 12),
        Report::new("above the maximum", QUEUE, 20, many, 10).bounds(1, 10),
        Report::new("below the minimum", QUEUE, 1, none, 3).bounds(3, 10),
        Report::new("0 replicas switch it off", QUEUE, 0, many, 0),
        Report::new("0 replicas as the minimum", QUEUE, 0, &format!("{none}, settings: {{scaleToZero: true}}"), 0).bounds(0, 9),
        Report::new(
            "from 0 the first unit scales up",
            QUEUE,
            0,
            "metrics: [{external: [1m]}], settings: {scaleToZero: true}",
            1,
        )
        .bounds(0, 9),
        Report::new("10 % of 3 is at least one more", QUEUE, 3, many, 4)
            .behavior("scaleUp: {policies: [{type: Percent, value: 10, periodSeconds: 60}]}"),
        Report::new("10 % less than 5 is 4.5, cut to 4", QUEUE, 5, none, 4)
            .behavior("scaleDown: {stabilizationWindowSeconds: 0, policies: [{type: Percent, value: 10, periodSeconds: 60}]}"),
        Report::new("the smaller change of two policies", QUEUE, 20, none, 19).behavior(
            "scaleDown: {stabilizationWindowSeconds: 0, selectPolicy: Min, policies: [{type: Percent, value: 10, \
             periodSeconds: 60}, {type: Pods, value: 1, periodSeconds: 60}]}",
        ),
        Report::new("no scaling down at all", QUEUE, 5, none, 5).behavior("scaleDown: {selectPolicy: Disabled}"),
        Report::new("kubernetes#101371: the window looks at recommendations, and is no cooldown", QUEUE, 5, held, 5)
            .behavior("scaleDown: {stabilizationWindowSeconds: 300}"),
        Report::new("kubernetes#101371: a recommendation as old as the window is forgotten", QUEUE, 5, held, 1)
            .behavior("scaleDown: {stabilizationWindowSeconds: 100}"),
    ] {
        report.check();
    }
}
