//! The Job's manifest.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec},
        core::v1::{
            Capabilities, Container, LocalObjectReference, Pod, PodSecurityContext, PodSpec, PodTemplateSpec,
            ResourceRequirements, SeccompProfile, SecurityContext, TopologySpreadConstraint,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
    },
};

use super::LoadRequest;

/// The name of the Job, its pods and their container, in `app.kubernetes.io/name`. They have no label of a release of
/// our chart, because its network policies deny the release's own pods what a client needs, and do not apply to others.
pub(crate) const NAME: &str = "playctl-load";
/// The user of our images.
const USER: i64 = 65_532;
/// How long a finished Job is kept if nobody deletes it.
const KEPT: Duration = Duration::from_mins(10);
/// How long a worker may take to close its connections and report its result.
const GRACE: Duration = Duration::from_secs(30);

/// An image that contains `playctl`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Image {
    pub(super) reference: String,
    pull_policy: Option<String>,
    pull_secrets: Vec<LocalObjectReference>,
}

impl Image {
    pub(super) fn named(reference: &str) -> Self {
        Self { reference: reference.to_owned(), pull_policy: None, pull_secrets: Vec::new() }
    }

    /// The image of a serving container.
    pub(super) fn served_by(pod: &Pod) -> Option<Self> {
        let spec = pod.spec.as_ref()?;
        let serves = |container: &&Container| {
            container.args.as_ref().is_some_and(|args| args.first().is_some_and(|arg| arg == "serve"))
        };
        let container = spec.containers.iter().find(serves)?;
        Some(Self {
            reference: container.image.clone()?,
            pull_policy: container.image_pull_policy.clone(),
            pull_secrets: spec.image_pull_secrets.clone().unwrap_or_default(),
        })
    }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

fn quantities(pairs: [(&str, &str); 2]) -> BTreeMap<String, Quantity> {
    pairs.map(|(name, value)| (name.to_owned(), Quantity(value.to_owned()))).into()
}

/// The Job of a load, whose pods may take `patience` to start.
pub(super) fn describe(
    name: &str,
    namespace: &str,
    request: &LoadRequest,
    image: &Image,
    patience: Duration,
) -> Job {
    let labels: BTreeMap<String, String> =
        [("app.kubernetes.io/name", NAME), ("app.kubernetes.io/managed-by", "playctl")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
    let workers = i32::try_from(request.workers).unwrap_or(i32::MAX);
    let at_most = request.at_most.saturating_add(patience).saturating_add(GRACE);
    let own = BTreeMap::from([("batch.kubernetes.io/job-name".to_owned(), name.to_owned())]);
    Job {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(labels.clone()),
            ..ObjectMeta::default()
        },
        spec: Some(JobSpec {
            completion_mode: Some("Indexed".to_owned()),
            completions: Some(workers),
            parallelism: Some(workers),
            // A late worker is useless: its share of the load would start from scratch.
            backoff_limit: Some(0),
            active_deadline_seconds: Some(seconds(at_most)),
            ttl_seconds_after_finished: Some(i32::try_from(KEPT.as_secs()).unwrap_or(i32::MAX)),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(labels), ..ObjectMeta::default() }),
                spec: Some(PodSpec {
                    restart_policy: Some("Never".to_owned()),
                    automount_service_account_token: Some(false),
                    enable_service_links: Some(false),
                    termination_grace_period_seconds: Some(seconds(GRACE)),
                    image_pull_secrets: Some(image.pull_secrets.clone())
                        .filter(|secrets| !secrets.is_empty()),
                    security_context: Some(PodSecurityContext {
                        run_as_non_root: Some(true),
                        run_as_user: Some(USER),
                        run_as_group: Some(USER),
                        seccomp_profile: Some(SeccompProfile {
                            type_: "RuntimeDefault".to_owned(),
                            ..SeccompProfile::default()
                        }),
                        ..PodSecurityContext::default()
                    }),
                    topology_spread_constraints: Some(vec![TopologySpreadConstraint {
                        max_skew: 1,
                        topology_key: "kubernetes.io/hostname".to_owned(),
                        when_unsatisfiable: "ScheduleAnyway".to_owned(),
                        label_selector: Some(LabelSelector {
                            match_labels: Some(own),
                            ..LabelSelector::default()
                        }),
                        ..TopologySpreadConstraint::default()
                    }]),
                    containers: vec![container(image)],
                    ..PodSpec::default()
                }),
            },
            ..JobSpec::default()
        }),
        ..Job::default()
    }
}

fn container(image: &Image) -> Container {
    Container {
        name: NAME.to_owned(),
        image: Some(image.reference.clone()),
        image_pull_policy: image.pull_policy.clone(),
        args: Some(vec!["load-worker".to_owned(), "--away".to_owned()]),
        stdin: Some(true),
        // The input stays open when its writer is disconnected.
        stdin_once: Some(false),
        resources: Some(ResourceRequirements {
            requests: Some(quantities([("cpu", "100m"), ("memory", "64Mi")])),
            limits: Some(quantities([("cpu", "2"), ("memory", "1Gi")])),
            ..ResourceRequirements::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}
