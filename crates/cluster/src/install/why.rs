//! Why a pod is not ready, and what to do about it.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::redact::Redactor;
use crate::facts::EventFacts;

/// Longest message of the API that is shown.
const LONGEST: usize = 300;
/// Lines of a log that are shown.
const LOG_LINES: usize = 5;

/// In words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Why {
    pub(crate) words: String,
    pub(super) advice: Option<String>,
    /// The container whose log says more, and whether it is the log of its run before.
    pub(super) log: Option<(String, bool)>,
    /// Claims that it waits for.
    pub(super) claims: Vec<String>,
}

impl Why {
    fn new(words: impl Into<String>) -> Self {
        Self { words: words.into(), ..Self::default() }
    }

    fn advice(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }
}

/// `said`: what was said of the pod, oldest first.
pub(crate) fn of(pod: &Pod, said: &[EventFacts]) -> Why {
    let status = pod.status.clone().unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let last = |reason: &str| {
        said.iter().rev().find(|event| event.reason == reason).map(|event| short(&event.message))
    };
    if let Some(unscheduled) =
        conditions.iter().find(|one| one.type_ == "PodScheduled" && one.status == "False")
    {
        return unscheduled_because(pod, &short(unscheduled.message.as_deref().unwrap_or_default()));
    }
    if pod.spec.as_ref().is_none_or(|spec| spec.node_name.is_none()) {
        return Why::new("no node has taken it yet");
    }
    if status.phase.as_deref() == Some("Failed") {
        let words = [status.reason, status.message].into_iter().flatten().collect::<Vec<_>>().join(": ");
        return Why::new(format!("it failed: {}", short(&words)));
    }
    let first = status.init_container_statuses.unwrap_or_default();
    let containers = status.container_statuses.unwrap_or_default();
    if let Some(why) = first.iter().chain(&containers).find_map(waiting) {
        return why;
    }
    if let Some(mount) = last("FailedMount").or_else(|| last("FailedAttachVolume")) {
        return Why::new(format!("a volume cannot be mounted: {mount}"));
    }
    if let Some(sandbox) = last("FailedCreatePodSandBox") {
        return Why::new(format!("its node cannot set it up: {sandbox}"));
    }
    if containers.is_empty() {
        return Why::new("its node has not started it yet");
    }
    if let Some(container) = containers.iter().find(|container| !container.ready) {
        let mut why = match last("Unhealthy") {
            Some(probe) => Why::new(format!("{} runs, but {}", container.name, lower(&probe))),
            None => Why::new(format!("{} runs; its readiness probe has not succeeded yet", container.name)),
        };
        why.log = Some((container.name.clone(), false));
        return why;
    }
    Why::new("it is not ready yet")
}

fn unscheduled_because(pod: &Pod, message: &str) -> Why {
    let has = |words: &str| message.contains(words);
    let why = Why::new(format!("no node takes it: {message}"));
    if has("PersistentVolumeClaim") || has("persistentvolumeclaim") {
        let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.clone()).unwrap_or_default();
        let claims =
            volumes.into_iter().filter_map(|volume| Some(volume.persistent_volume_claim?.claim_name));
        let why = Why { claims: claims.collect(), ..why };
        return why.advice(
            "its claim has no volume: see kubectl get storageclass, whether one is the default; without storage: set \
             storage.size of its part, such as kafka.storage.size, to the empty string",
        );
    }
    if has("Insufficient") {
        return why.advice("lower its requests with --set, or add a node");
    }
    if has("taint") {
        return why.advice("set scheduling.tolerations, or remove the taint from a node");
    }
    if has("node selector") || has("node affinity") {
        return why.advice("set scheduling.nodeSelector to labels that nodes have");
    }
    why
}

/// Why a container does not run; `None`: it does.
fn waiting(container: &ContainerStatus) -> Option<Why> {
    let name = &container.name;
    let state = container.state.clone().unwrap_or_default();
    let ended = container.last_state.clone().unwrap_or_default().terminated;
    if let Some(terminated) = state.terminated.as_ref().filter(|one| one.exit_code != 0) {
        let why = Why::new(format!("{name} ended with exit code {}", terminated.exit_code));
        return Some(Why { log: Some((name.clone(), false)), ..why });
    }
    let waiting = state.waiting?;
    let (reason, message) = (waiting.reason.unwrap_or_default(), short(&waiting.message.unwrap_or_default()));
    let image = &container.image;
    Some(match reason.as_str() {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "ErrImageNeverPull"
        | "InvalidImageName"
        | "RegistryUnavailable" => {
            let why = Why::new(format!("the image {image} of {name} cannot be pulled ({reason}): {message}"));
            if image.contains("playctl") {
                why.advice(
                    "load it into the nodes: playctl image load; or name one in a registry: --image NAME:TAG, with \
                     imagePullSecrets if the registry needs a login",
                )
            } else {
                why.advice("check that nodes can reach its registry, or set another image with --set")
            }
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            Why::new(format!("{name} cannot be started ({reason}): {message}"))
        }
        "CrashLoopBackOff" => {
            let ended = ended.map_or_else(String::new, |ended| {
                let reason = ended.reason.filter(|reason| reason != "Error" && reason != "Completed");
                let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
                format!(", the last time with exit code {}{reason}", ended.exit_code)
            });
            let why = Why::new(format!("{name} has ended {} times{ended}", container.restart_count));
            let why = Why { log: Some((name.clone(), true)), ..why };
            if ended.contains("OOMKilled") { why.advice("raise its memory limit with --set") } else { why }
        }
        "ContainerCreating" | "PodInitializing" | "" => return None,
        _ => Why::new(format!("{name} waits ({reason}): {message}")),
    })
}

/// The lines of a log that say why: those that speak of errors, or the last ones. They end up where others read them, so
/// what looks like a secret is blanked out.
pub(super) fn telling(log: &str) -> Vec<String> {
    const WORDS: [&str; 10] = [
        "error",
        "fatal",
        "panic",
        "exception",
        "denied",
        "refused",
        "cannot",
        "could not",
        "failed",
        "unable",
    ];
    let lines: Vec<&str> = log.lines().filter(|line| !line.trim().is_empty()).collect();
    let speaks = |line: &&&str| {
        let line = line.to_ascii_lowercase();
        WORDS.iter().any(|word| line.contains(word))
    };
    let redactor = Redactor::default();
    let telling: Vec<&&str> = lines.iter().filter(speaks).collect();
    let chosen: Vec<&str> = if telling.is_empty() { lines } else { telling.into_iter().copied().collect() };
    chosen[chosen.len().saturating_sub(LOG_LINES)..].iter().map(|line| short(&redactor.text(line))).collect()
}

fn short(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// Kubernetes' messages begin with a capital; here they continue our sentence.
fn lower(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn why(status: &Value, said: &[(&str, &str)]) -> Why {
        let pod =
            json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": []}, "status": status});
        let said: Vec<EventFacts> = said
            .iter()
            .map(|(reason, message)| EventFacts {
                name: String::new(),
                count: 1,
                kind: "Pod".to_owned(),
                about: "p".to_owned(),
                reason: (*reason).to_owned(),
                reporter: String::new(),
                message: (*message).to_owned(),
                is_warning: true,
                last: None,
            })
            .collect();
        of(&serde_json::from_value(pod).unwrap(), &said)
    }

    fn container(state: &Value, more: &Value) -> Value {
        let mut status = json!({"name": "tcp", "image": "playctl:0.1.0", "imageID": "", "ready": false,
            "restartCount": 4, "state": state});
        status.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"phase": "Pending", "containerStatuses": [status]})
    }

    #[test]
    fn a_pod_that_no_node_takes_says_why() {
        let unscheduled = |message: &str| {
            why(
                &json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]}),
                &[],
            )
        };
        let cpu = unscheduled("0/3 nodes are available: 3 Insufficient cpu.");
        assert!(cpu.words.contains("no node takes it") & cpu.advice.unwrap().contains("requests"));
        let claim = unscheduled("0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.");
        assert!(claim.advice.unwrap().contains("storageclass"));
        assert!(unscheduled("node(s) had untolerated taint {a: b}").advice.unwrap().contains("tolerations"));
    }

    #[test]
    fn an_image_a_crash_and_a_probe_are_told_apart() {
        let pull = why(
            &container(
                &json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}),
                &json!({}),
            ),
            &[],
        );
        assert!(pull.words.contains("playctl:0.1.0") & pull.advice.unwrap().contains("playctl image load"));
        let crash = why(
            &container(
                &json!({"waiting": {"reason": "CrashLoopBackOff"}}),
                &json!({"lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}),
            ),
            &[],
        );
        assert_eq!(crash.words, "tcp has ended 4 times, the last time with exit code 137 (OOMKilled)");
        assert_eq!((crash.log, crash.advice.is_some()), (Some(("tcp".to_owned(), true)), true));
        let probe = why(
            &container(&json!({"running": {}}), &json!({})),
            &[("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503")],
        );
        assert_eq!(
            probe.words,
            "tcp runs, but readiness probe failed: HTTP probe failed with statuscode: 503"
        );
        assert_eq!(probe.log, Some(("tcp".to_owned(), false)));
        let mount = why(
            &container(&json!({"waiting": {"reason": "ContainerCreating"}}), &json!({})),
            &[("FailedMount", "configmap \"x\" not found")],
        );
        assert!(mount.words.contains("configmap \"x\" not found"), "{}", mount.words);
    }

    #[test]
    fn the_lines_of_a_log_that_matter_are_its_errors() {
        let log = "starting\nERROR cannot reach kafka:9092\nretrying\nretrying\n";
        assert_eq!(telling(log), ["ERROR cannot reach kafka:9092"]);
        assert_eq!(telling("a\nb\n\nc\nd\ne\nf\n"), ["b", "c", "d", "e", "f"]);
        assert!(telling("").is_empty());
        assert_eq!(telling("failed: password=hunter2 refused"), ["failed: password=(secret) refused"]);
    }
}
