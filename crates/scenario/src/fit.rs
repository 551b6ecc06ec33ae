//! Whether a scenario fits its platform: its required values, the names it uses, and results it cannot have.

use std::{fmt, str::FromStr};

use platform::{
    PartKind,
    event::ServiceInfo,
    services::PodsMetric,
    target::{PartOrigin, PartSnapshot, Pick, ServiceSnapshot, Snapshot},
};

use crate::{
    Expectation, Protocol, Scenario,
    action::{
        Happening, PodState, Trigger, Verb,
        known::{GATEWAY, NODE},
    },
    hint,
};

const BALANCER: &str = "balancer";
/// The target of a snapshot of a cluster.
const CLUSTER: &str = "cluster";
/// Parts that a scenario can need, in addition to services.
const PARTS: [&str; 3] = ["etcd", "kafka", "memcached"];

/// One of the values that a scenario needs, as for `--set`: `udp.enabled=true`, `tcp.replicas=3`,
/// `tcp.autoscaling=null`, `tcp.autoscaling.maxReplicas=2`; and `nodes=1`, which is a flag of `up`. Only values that a
/// running platform shows can be checked. It does not show environments, so `balancer.env.SHED_RATE=300` is only for
/// `up`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requirement {
    Nodes(u32),
    Of { service: String, needed: Needed },
}

/// A requirement for a service or part.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Needed {
    Enabled,
    Replicas(u32),
    NoAutoscaling,
    ReplicasMax(u32),
    Variable { name: String, value: String },
}

/// Why a scenario does not fit a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// The platform must be brought up with these values.
    #[error("{name} needs a platform with {}", missing.join(" and "))]
    Values { name: String, missing: Vec<String> },
    #[error("actions[{index}]: {action}: {reason}")]
    Action { index: usize, action: String, reason: String },
    #[error("expectations[{index}]: `{expectation}`: {reason}")]
    Expectation { index: usize, expectation: String, reason: String },
}

impl Scenario {
    /// Compares the needs and actions of this scenario with the platform.
    pub fn check(&self, platform: &Snapshot) -> Result<(), Unfit> {
        // Before the values: with all of them it would not be possible either.
        if platform.target == CLUSTER {
            self.check_for_clusters()?;
        }
        let unmet = self.values.iter().filter(|needed| !needed.is_met(platform));
        if unmet.count() > 0 {
            // All of them, because `up` resets omitted values to their defaults.
            let missing = self.values.iter().map(ToString::to_string).collect();
            return Err(Unfit::Values { name: self.name.clone(), missing });
        }
        for (index, action) in self.actions.iter().enumerate() {
            let unfit = |reason| Unfit::Action { index, action: action.to_string(), reason };
            if let Trigger::When { event, .. } = &action.trigger {
                can_happen(event, platform).map_err(unfit)?;
            }
            is_there(&action.verb, platform).map_err(unfit)?;
            // The name of a node that an action adds is not known in advance.
            let adds = self.actions.iter().any(|action| action.verb == Verb::AddNode);
            if let Verb::RemoveNode { node: Some(node) } = &action.verb
                && !adds
            {
                is_a_node(node, platform).map_err(unfit)?;
            }
        }
        for (index, expectation) in self.expectations.iter().enumerate() {
            if let Some(name) = self.foreign(expectation)
                && service(platform, name).is_none()
            {
                let reason = no_service(platform, name);
                return Err(Unfit::Expectation { index, expectation: expectation.to_string(), reason });
            }
        }
        Ok(())
    }

    /// Whether any cluster can do its actions.
    pub fn check_for_clusters(&self) -> Result<(), Unfit> {
        for (index, action) in self.actions.iter().enumerate() {
            if let Some(reason) = never_in_a_cluster(&action.verb) {
                let (action, reason) = (action.to_string(), reason.to_owned());
                return Err(Unfit::Action { index, action, reason });
            }
        }
        Ok(())
    }

    /// Whether an action or expectation names something of a platform, apart from the load's own service.
    pub fn names_workloads(&self) -> bool {
        self.actions.iter().any(|action| action.verb.subject().is_some())
            || self.expectations.iter().any(|expectation| self.foreign(expectation).is_some())
    }

    /// The service other than the load's own that an expectation is about.
    fn foreign<'a>(&self, expectation: &'a Expectation) -> Option<&'a str> {
        match expectation {
            Expectation::Scale { service, .. } => Some(service.as_str()).filter(|name| *name != self.service),
            _ => None,
        }
    }

    /// Removes the changes of replicas that this load cannot cause, and says why for each. Without a platform it removes
    /// all of them, and everything else that only a platform can show.
    pub fn drop_unreachable(&mut self, platform: Option<&[ServiceInfo]>) -> Vec<String> {
        let (connections, protocol) = (self.users(), self.protocol);
        let mut words = Vec::new();
        self.expectations.retain(|expectation| {
            if !expectation.is_told_by_platform() {
                return true;
            }
            let reason = match (platform, expectation) {
                (None, _) => Some("the load has an address, which shows no replicas".to_owned()),
                (Some(services), Expectation::Scale { service, from, to, .. }) => services
                    .iter()
                    .find(|info| info.name == *service && protocol == Protocol::Tcp)
                    .and_then(|info| too_few(info, connections, (*from).max(*to))),
                (Some(_), _) => None,
            };
            let Some(reason) = reason else { return true };
            words.push(format!("`{expectation}` cannot be met and is left out: {reason}"));
            false
        });
        words
    }
}

/// Why this many connections do not scale the service to `replicas`.
fn too_few(service: &ServiceInfo, connections: u64, replicas: u32) -> Option<String> {
    let target_milli = service.targets_milli.get(PodsMetric::Connections.name())?;
    // Only for connections; other metrics may scale the service as well, but no scenario relies on them.
    let below = replicas.checked_sub(1).filter(|below| *below > 0)?;
    // The controller's tolerance.
    let needed = (*target_milli as f64 / 1000.0 * f64::from(below) * 1.1).floor() as u64;
    (replicas > service.replicas.max(1) && connections <= needed).then(|| {
        format!(
            "{} goes to {replicas} replicas with more than {needed} connections, and there are {connections}",
            service.name
        )
    })
}

fn service<'a>(platform: &'a Snapshot, name: &str) -> Option<&'a ServiceSnapshot> {
    platform.services.iter().find(|service| service.name == name)
}

fn no_service(platform: &Snapshot, name: &str) -> String {
    let all = || platform.services.iter().map(|service| service.name.as_str());
    let listed = all().collect::<Vec<_>>().join(", ");
    match hint(name, all()) {
        hint if hint.is_empty() => format!("there is no {name} on this platform; it has: {listed}"),
        hint => format!("there is no {name} on this platform{hint} (it has: {listed})"),
    }
}

fn can_happen(event: &Happening, platform: &Snapshot) -> Result<(), String> {
    let Some(name) = event.service() else { return Ok(()) };
    let Some(found) = service(platform, name) else {
        // A part: the action that stops it has been checked.
        return if matches!(event, Happening::Stopped(_) | Happening::Started(_)) {
            Ok(())
        } else {
            Err(no_service(platform, name))
        };
    };
    if let Happening::Pod { pod: Some(pod), .. } = event {
        is_replica(found, pod)?;
    }
    match (event, &found.autoscaler) {
        // Without an autoscaler, the balancer may set the replicas.
        (Happening::Scale { .. }, None) if service(platform, BALANCER).is_some() => Ok(()),
        (Happening::Pod { state: PodState::Active | PodState::Inactive, .. }, _)
            if service(platform, BALANCER).is_none() =>
        {
            Err(format!("`{event}` never happens: this platform has no balancer"))
        }
        (Happening::Scale { .. } | Happening::Crossing { .. }, None) => {
            Err(format!("`{event}` never happens: {name} has no autoscaler on this platform"))
        }
        (Happening::Scale { from, to, .. }, Some(scaler)) => {
            let bounds = scaler.min..=scaler.max;
            match [from, to].into_iter().find(|replicas| !bounds.contains(replicas)) {
                Some(_) => Err(format!(
                    "`{event}` never happens: the autoscaler of {name} keeps to {} to {} replicas",
                    scaler.min, scaler.max
                )),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

fn is_there(verb: &Verb, platform: &Snapshot) -> Result<(), String> {
    let Some(what) = verb.subject() else { return Ok(()) };
    if let Some(found) = service(platform, &what.name) {
        return match &what.replica {
            Pick::Named(name) => is_replica(found, name),
            _ => Ok(()),
        };
    }
    let of_part = |part: &PartSnapshot| -> bool {
        match (part.name.strip_prefix(&what.name), &what.replica) {
            // `gateway-node-0` is one of the gateways, named by its node or in full.
            (Some(rest), Pick::Named(named)) => rest.strip_prefix('-') == Some(named) || part.name == *named,
            (Some(rest), _) => rest.is_empty() || (what.name == GATEWAY && rest.starts_with('-')),
            (None, _) => false,
        }
    };
    if let Some(part) = platform.parts.iter().find(|part| of_part(part)) {
        return if part.origin == PartOrigin::Given {
            Err(format!(
                "{} was given by its address, so the platform neither stops nor starts it",
                part.name
            ))
        } else {
            Ok(())
        };
    }
    if what.name == NODE
        && platform.target == CLUSTER
        && let Pick::Named(node) = &what.replica
    {
        return is_a_node(node, platform);
    }
    let parts: Vec<&str> = platform.parts.iter().map(|part| part.name.as_str()).collect();
    let parts = if parts.is_empty() { String::new() } else { format!("; and parts: {}", parts.join(", ")) };
    Err(format!("{}{parts}", no_service(platform, &what.to_string())))
}

/// Why no cluster does it: what belongs to a workload is replaced.
fn never_in_a_cluster(verb: &Verb) -> Option<&'static str> {
    match verb {
        Verb::Kill { restart: false, .. } => Some(
            "a cluster replaces a killed pod, so `restart: false` works only on a local platform; leave it out, or stop \
             or scale the whole",
        ),
        Verb::Stop { what, .. } | Verb::Start { what } => {
            let is_member =
                PartKind::by_name(&what.name).is_some_and(|kind| PartKind::ETCD_MEMBERS.contains(&kind));
            let is_pod = is_member || what.replica != Pick::Unnamed;
            (is_pod && what.name != NODE).then_some(
                "a cluster replaces a single pod, so it cannot be stopped and started; stop the whole, or kill or drain \
                 the pod",
            )
        }
        _ => None,
    }
}

fn is_a_node(name: &str, platform: &Snapshot) -> Result<(), String> {
    let names = || platform.node_list.iter().map(|node| node.name.as_str());
    if names().any(|known| known == name) {
        return Ok(());
    }
    let all: Vec<&str> = names().collect();
    Err(format!("there is no node {name}{} (there are: {})", hint(name, names()), all.join(", ")))
}

fn is_replica(service: &ServiceSnapshot, name: &str) -> Result<(), String> {
    let names = || service.replicas.iter().map(|replica| replica.name.as_str());
    // A later one is named by its number: service-0, service-1, ….
    let ordinal = name.strip_prefix(&service.name).and_then(|rest| rest.strip_prefix('-'));
    if names().any(|known| known == name) || ordinal.is_some_and(|ordinal| ordinal.parse::<u32>().is_ok()) {
        return Ok(());
    }
    let all: Vec<&str> = names().collect();
    Err(format!(
        "{}/{name} is not a replica{} (there are: {})",
        service.name,
        hint(name, names()),
        all.join(", ")
    ))
}

impl Requirement {
    /// In the form for `up`.
    pub fn flag(&self) -> String {
        match self {
            Self::Nodes(nodes) => format!("--nodes {nodes}"),
            Self::Of { .. } => format!("--set {self}"),
        }
    }

    /// Whether a preset of values can contain it.
    pub fn is_value(&self) -> bool {
        matches!(self, Self::Of { .. })
    }

    fn is_met(&self, platform: &Snapshot) -> bool {
        let (name, needed) = match self {
            Self::Nodes(nodes) => return platform.nodes == *nodes,
            Self::Of { service, needed } => (service, needed),
        };
        if PARTS.contains(&name.as_str()) {
            // A cluster's snapshot does not list what was given by its address.
            if platform.target == CLUSTER && name != "etcd" {
                return true;
            }
            // `etcd01` is one of its members.
            return platform.parts.iter().any(|part| part.name.starts_with(name));
        }
        service(platform, name).is_some_and(|found| match needed {
            Needed::Enabled | Needed::Variable { .. } => true,
            Needed::Replicas(replicas) => found.desired == *replicas,
            Needed::NoAutoscaling => found.autoscaler.is_none(),
            Needed::ReplicasMax(max) => found.autoscaler.as_ref().is_some_and(|scaler| scaler.max == *max),
        })
    }
}

impl FromStr for Requirement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}`: expected SERVICE.enabled=true, SERVICE.replicas=NUMBER, SERVICE.autoscaling=null or \
                 SERVICE.autoscaling.maxReplicas=NUMBER, or nodes=NUMBER, which is what a running platform shows, or \
                 SERVICE.env.VARIABLE=VALUE"
            )
        };
        let (key, value) = text.split_once('=').ok_or_else(wrong)?;
        if key.trim() == "nodes" {
            let nodes = value.trim().parse().ok().filter(|nodes| *nodes > 0);
            return nodes.map(Self::Nodes).ok_or_else(wrong);
        }
        let (service, key) = key.trim().split_once('.').ok_or_else(wrong)?;
        let needed = match (key, value.trim()) {
            ("enabled", "true") => Needed::Enabled,
            ("replicas", number) => Needed::Replicas(number.parse().map_err(|_| wrong())?),
            ("autoscaling", "null") => Needed::NoAutoscaling,
            ("autoscaling.maxReplicas", number) => Needed::ReplicasMax(number.parse().map_err(|_| wrong())?),
            (key, value) => match key.strip_prefix("env.") {
                Some(name) if is_plain(name) && is_plain(value) => {
                    Needed::Variable { name: name.to_owned(), value: value.to_owned() }
                }
                _ => return Err(wrong()),
            },
        };
        let is_enabled = needed == Needed::Enabled;
        let parts = || PARTS.into_iter().filter(move |_| is_enabled);
        let known = || platform::ServiceKind::ALL.into_iter().map(platform::ServiceKind::name).chain(parts());
        if !known().any(|name| name == service) {
            return Err(format!("`{text}`: there is no service `{service}`{}", hint(service, known())));
        }
        Ok(Self::Of { service: service.to_owned(), needed })
    }
}

/// It contains no characters that are special to `--set` or a shell.
pub(crate) fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

impl fmt::Display for Requirement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (service, needed) = match self {
            Self::Nodes(nodes) => return write!(formatter, "nodes={nodes}"),
            Self::Of { service, needed } => (service, needed),
        };
        match needed {
            Needed::Enabled => write!(formatter, "{service}.enabled=true"),
            Needed::Replicas(replicas) => write!(formatter, "{service}.replicas={replicas}"),
            Needed::NoAutoscaling => write!(formatter, "{service}.autoscaling=null"),
            Needed::ReplicasMax(max) => write!(formatter, "{service}.autoscaling.maxReplicas={max}"),
            Needed::Variable { name, value } => write!(formatter, "{service}.env.{name}={value}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use platform::target::{AutoscalerSnapshot, NodeSnapshot, PartOrigin, PartSnapshot};

    use super::*;

    fn platform(replicas: u32, autoscaled: bool) -> Snapshot {
        let autoscaler = autoscaled.then(|| AutoscalerSnapshot {
            min: 1,
            max: 5,
            current: replicas,
            desired: replicas,
            metrics: Vec::new(),
            reason: String::new(),
            last_scale: None,
            values: Vec::new(),
        });
        let tcp = ServiceSnapshot {
            stopped: false,
            set_by_hand: false,
            pending: 0,
            remark: None,
            balanced: None,
            name: "tcp".to_owned(),
            endpoint: None,
            route: None,
            desired: replicas,
            replicas: Vec::new(),
            autoscaler,
        };
        let kafka = PartSnapshot {
            restarts: 0,
            name: "kafka".to_owned(),
            origin: PartOrigin::Embedded,
            version: None,
            address: None,
            detail: String::new(),
            healthy: true,
            pid: None,
            connects_from: None,
            connections: None,
        };
        let gateway = PartSnapshot { name: "gateway-node-0".to_owned(), ..kafka.clone() };
        Snapshot {
            next_sync: None,
            problems: Vec::new(),
            platform: "playground".to_owned(),
            target: "local".to_owned(),
            since: Some(Timestamp::UNIX_EPOCH),
            nodes: 2,
            node_list: ["node-0", "node-1"].map(node).to_vec(),
            services: vec![tcp],
            parts: vec![kafka, gateway],
        }
    }

    fn node(name: &str) -> NodeSnapshot {
        let (ready, schedulable) = (true, true);
        NodeSnapshot { name: name.to_owned(), ready, schedulable, cpu_cores: None, memory_bytes: None }
    }

    fn scenario(more: &str) -> Scenario {
        let text = format!("name: x\nphases: {{ ramp: {{ connections: 1000 }} }}\n{more}");
        Scenario::parse(&text, "x").unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn all_settings_a_scenario_needs_are_named() {
        let scenario = scenario("values: [tcp.autoscaling=null, tcp.replicas=3]");
        assert_eq!(scenario.check(&platform(3, false)), Ok(()));
        for platform in [platform(3, true), platform(2, false)] {
            let missing = vec!["tcp.autoscaling=null".to_owned(), "tcp.replicas=3".to_owned()];
            assert_eq!(scenario.check(&platform), Err(Unfit::Values { name: "x".to_owned(), missing }));
        }
        assert!(self::scenario("values: [udp.enabled=true]").check(&platform(1, true)).is_err());
        for text in [
            "tcp.replicas",
            "replicas=3",
            "tcp.replicas=many",
            "tcp.port=1",
            "tpc.replicas=1",
            "tcp.autoscaling.maxReplicas=few",
            "tcp.env.=1",
            "tcp.env.BUFF_SIZE=1,udp.replicas=2",
            "nodes=0",
            "nodes=some",
        ] {
            assert!(text.parse::<Requirement>().unwrap_err().contains(&format!("`{text}`")));
        }
    }

    #[test]
    fn nodes_are_a_flag_of_up() {
        let scenario = scenario("values: [nodes=2, tcp.replicas=1]");
        assert_eq!(scenario.check(&platform(1, false)), Ok(()));
        let flags: Vec<String> = scenario.values.iter().map(Requirement::flag).collect();
        assert_eq!(flags, ["--nodes 2", "--set tcp.replicas=1"]);
        let one = self::scenario("values: [nodes=1]").check(&platform(1, false)).unwrap_err();
        assert_eq!(one.to_string(), "x needs a platform with nodes=1");
    }

    #[test]
    fn only_a_balancer_makes_replicas_inactive_or_scales_without_an_autoscaler() {
        let scenario = |event: &str| {
            scenario(&format!("actions: [{{ when: \"{event}\", do: leave, users: 1, of: tcp/emptiest }}]"))
        };
        let mut balanced = platform(1, false);
        let mut balancer = balanced.services[0].clone();
        balancer.name = BALANCER.to_owned();
        balanced.services.push(balancer);
        for event in ["tcp/any inactive", "tcp/tcp-0 active", "tcp 1 → 2"] {
            assert_eq!(scenario(event).check(&balanced), Ok(()), "{event}");
            let error = scenario(event).check(&platform(1, false)).unwrap_err().to_string();
            assert!(error.contains("never happens"), "{error}");
        }
    }

    #[test]
    fn bounds_of_the_autoscaler_are_checked_and_variables_are_only_listed() {
        let scenario = scenario("values: [tcp.autoscaling.maxReplicas=5, tcp.env.BUFF_SIZE=900]");
        assert_eq!(scenario.check(&platform(1, true)), Ok(()));
        let missing = ["tcp.autoscaling.maxReplicas=5", "tcp.env.BUFF_SIZE=900"].map(str::to_owned).to_vec();
        let unfit = Unfit::Values { name: "x".to_owned(), missing };
        assert_eq!(scenario.check(&platform(1, false)), Err(unfit));
        let other = self::scenario("values: [tcp.autoscaling.maxReplicas=2]");
        assert!(other.check(&platform(1, true)).is_err());
    }

    #[test]
    fn actions_impossible_on_this_platform_are_named() {
        let action = |text: &str| scenario(&format!("actions: [{text}]"));
        for (text, autoscaled, reason) in [
            (r#"{ when: "tcp 1 → 2", do: kill, what: tcp }"#, false, "tcp has no autoscaler"),
            (r#"{ when: "tcp 5 → 6", do: kill, what: tcp }"#, true, "keeps to 1 to 5 replicas"),
            ("{ when: udp/any ready, do: kill, what: tcp }", true, "there is no udp"),
            (
                "{ at: 1s, do: kill, what: udp }",
                true,
                "there is no udp on this platform; it has: tcp; and parts: kafka, gateway-node-0",
            ),
            ("{ at: 1s, do: stop, what: elasticsearch }", true, "there is no elasticsearch"),
            ("{ at: 1s, do: drain, what: tcp/tcp-x9 }", true, "tcp/tcp-x9 is not a replica"),
            ("{ when: tcp/tcp-x9 ready, do: drain, what: tcp }", true, "tcp/tcp-x9 is not a replica"),
            ("{ at: 1s, do: kill, what: gateway/node-7 }", true, "there is no gateway/node-7"),
            (
                "{ at: 1s, do: remove-node, node: nod-1 }",
                true,
                "there is no node nod-1; did you mean `node-1`?",
            ),
        ] {
            let error = action(text).check(&platform(1, autoscaled)).unwrap_err().to_string();
            assert!(error.starts_with("actions[0]: ") && error.contains(reason), "{error}");
        }
        for text in [
            r#"{ when: "tcp 1 → 2", do: kill, what: tcp/tcp-1 }"#,
            "{ at: 1s, do: stop, what: kafka }",
            "{ at: 1s, do: kill, what: gateway/node-0 }",
            "{ at: 1s, do: kill, what: gateway }",
            "{ at: 1s, do: start, what: kafka }, { when: kafka started, do: drain, what: tcp/fullest }",
            "{ at: 1s, do: send, from: 1, payload: x }",
            "{ at: 1s, do: add-node }",
            "{ at: 1s, do: remove-node, node: node-1 }",
            "{ at: 1s, do: remove-node }",
            "{ at: 1s, do: add-node }, { at: 2s, do: remove-node, node: node-2 }",
        ] {
            assert_eq!(action(text).check(&platform(1, true)), Ok(()), "{text}");
        }
    }

    #[test]
    fn other_peoples_workloads_are_checked_against_the_platform() {
        let mut cluster = platform(1, true);
        cluster.target = CLUSTER.to_owned();
        cluster.parts.clear();
        cluster.services[0].name = "chat-server".to_owned();
        let with = |lines: &str| scenario(&format!("service: chat-server\n{lines}"));
        for lines in [
            "actions: [{ at: 1s, do: drain, what: chat-server }]",
            "actions: [{ when: \"chat-server 1 → 2\", do: kill, what: chat-server/fullest }]",
            "actions: [{ at: 1s, do: stop, what: node/node-1 }]",
            "expectations: [chat-server 1 → 2]",
        ] {
            assert_eq!(with(lines).check(&cluster), Ok(()), "{lines}");
        }
        for (lines, error) in [
            (
                "actions: [{ at: 1s, do: drain, what: chat-sever }]",
                "actions[0]: at 1s: drain chat-sever: there is no chat-sever on this platform; did you mean \
                 `chat-server`? (it has: chat-server)",
            ),
            (
                "actions: [{ when: mail/any ready, do: drain, what: chat-server }]",
                "actions[0]: when mail/any ready: drain chat-server: there is no mail on this platform; it has: chat-server",
            ),
            (
                "actions: [{ at: 1s, do: stop, what: node/node-7 }]",
                "actions[0]: at 1s: stop node/node-7: there is no node node-7; did you mean `node-1`? (there are: \
                 node-0, node-1)",
            ),
            (
                "expectations: [mail 1 → 2]",
                "expectations[0]: `mail 1 → 2`: there is no mail on this platform; it has: chat-server",
            ),
        ] {
            assert_eq!(with(lines).check(&cluster).unwrap_err().to_string(), error, "{lines}");
            assert!(with(lines).check(&platform(1, true)).is_err(), "on this machine, too: {lines}");
        }
        assert!(with("expectations: [mail 1 → 2]").names_workloads());
        assert!(!with("expectations: [chat-server 1 → 2, lost = 0]").names_workloads());
    }

    #[test]
    fn what_no_cluster_does_is_said_before_what_the_platform_lacks() {
        let cluster = Snapshot { target: "cluster".to_owned(), ..platform(1, true) };
        for name in ["kill-server", "ws-storm"] {
            let error = crate::find(name).unwrap().check(&cluster).unwrap_err();
            assert!(matches!(error, Unfit::Action { .. }), "{error}");
            assert!(error.to_string().contains("for good: a cluster replaces a killed pod"), "{error}");
        }
        let action = |text: &str| scenario(&format!("actions: [{text}]"));
        for text in [
            "{ at: 1s, do: kill, what: tcp/fullest, restart: false }",
            "{ at: 1s, do: start, what: tcp/tcp-1 }",
            "{ at: 1s, do: stop, what: etcd02 }",
        ] {
            let error = action(text).check(&cluster).unwrap_err().to_string();
            assert!(error.starts_with("actions[0]: ") && error.contains("a cluster replaces a"), "{error}");
        }
        for text in ["{ at: 1s, do: kill, what: tcp/fullest }", "{ at: 1s, do: stop, what: kafka, for: 3s }"]
        {
            assert_eq!(action(text).check(&cluster), Ok(()), "{text}");
        }
    }

    #[test]
    fn a_part_that_was_given_by_its_address_is_not_stopped() {
        let stop =
            scenario("values: [kafka.enabled=true]\nactions: [{ at: 1s, do: stop, what: kafka, for: 1s }]");
        let mut platform = platform(1, true);
        assert_eq!(stop.check(&platform), Ok(()));
        platform.parts[0].origin = PartOrigin::Given;
        let error = stop.check(&platform).unwrap_err().to_string();
        assert!(error.contains("kafka was given by its address"), "{error}");
        platform.parts.remove(0);
        let error = stop.check(&platform).unwrap_err().to_string();
        assert_eq!(error, "x needs a platform with kafka.enabled=true");
    }

    #[test]
    fn changes_a_small_load_cannot_cause_are_dropped_and_named() {
        let info = ServiceInfo {
            name: "tcp".to_owned(),
            replicas: 1,
            endpoint: None,
            autoscaled: Some([1, 5]),
            targets_milli: [("tcp_state_established".to_owned(), 5_000_000)].into(),
            policy: None,
        };
        let expectations = "expectations: [lost = 0, tcp 1 → 2, tcp 2 → 1 within 130s of close]";
        let mut small = scenario(expectations);
        let words = small.drop_unreachable(Some(std::slice::from_ref(&info)));
        assert_eq!(words.len(), 2);
        assert!(
            words[0].contains("`tcp 1 → 2`") && words[0].contains("more than 5500 connections"),
            "{words:?}"
        );
        assert_eq!(small.expectations, ["lost = 0".parse().unwrap()]);
        let mut large = scenario(expectations);
        large.phases.ramp.connections = 5_501;
        assert_eq!(large.drop_unreachable(Some(&[info])), [] as [String; 0]);
        assert_eq!(large.drop_unreachable(None).len(), 2, "an address has no replicas");
        let mut told = scenario(
            "expectations: [lost = 0, replicas = 2, decisions <= 1, 'decided x', 'never decided y', spread = 1/1]",
        );
        assert_eq!(told.drop_unreachable(None).len(), 4);
        assert_eq!(told.expectations.len(), 2, "who is where is told by the servers themselves");
    }
}
