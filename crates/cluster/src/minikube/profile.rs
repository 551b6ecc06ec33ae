//! The output of `minikube profile list --output json`.

use std::collections::BTreeMap;

use serde::Deserialize;

/// All profiles.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Profiles {
    #[serde(default, deserialize_with = "or_none")]
    pub(crate) valid: Vec<Profile>,
    /// Profiles with broken files.
    #[serde(default, deserialize_with = "or_none")]
    pub(crate) invalid: Vec<Profile>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Profile {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) status: String,
    pub(crate) config: Option<Config>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
pub(crate) struct Config {
    /// MiB of each node.
    pub(crate) memory: u64,
    #[serde(rename = "CPUs")]
    pub(crate) cpus: u32,
    pub(crate) driver: String,
    /// It was created with more than one node.
    pub(crate) multi_node_requested: bool,
    #[serde(rename = "KubernetesConfig")]
    pub(crate) kubernetes: KubernetesConfig,
    #[serde(deserialize_with = "or_none")]
    pub(crate) nodes: Vec<Node>,
    #[serde(deserialize_with = "or_none")]
    pub(crate) addons: BTreeMap<String, bool>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct KubernetesConfig {
    pub(crate) kubernetes_version: String,
    #[serde(rename = "CNI")]
    pub(crate) cni: String,
    #[serde(deserialize_with = "or_none")]
    pub(crate) extra_options: Vec<ExtraOption>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ExtraOption {
    component: String,
    key: String,
    value: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
pub(crate) struct Node {
    /// `m02`; for the first node empty, or its whole name.
    pub(crate) name: String,
    pub(crate) control_plane: bool,
}

/// Go writes an empty list as `null`.
fn or_none<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl ExtraOption {
    /// As on the command line: `kubelet.v=4`.
    pub(crate) fn words(&self) -> String {
        format!("{}.{}={}", self.component, self.key, self.value)
    }
}

/// The state of a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    Stopped,
    Paused,
    /// Another process is working on it.
    Changing,
    /// Unknown to minikube, or broken according to it.
    Broken,
}

impl Profile {
    pub(crate) fn state(&self) -> State {
        if self.config.is_none() {
            return State::Broken;
        }
        // From `pkg/minikube/cluster/status.go`; releases before 1.33 say Running for OK.
        match self.status.as_str() {
            "OK" | "HAppy" | "Running" | "Warning" | "Degraded" => State::Running,
            "Stopped" | "Saved" => State::Stopped,
            "Paused" => State::Paused,
            "Starting" | "Pausing" | "Unpausing" | "Stopping" | "Deleting" => State::Changing,
            _ => State::Broken,
        }
    }

    pub(crate) fn config(&self) -> Config {
        self.config.clone().unwrap_or_default()
    }

    /// The nodes with their names in Kubernetes: `playground`, `playground-m02`.
    pub(crate) fn nodes(&self) -> Vec<(String, Node)> {
        let named = |node: &Node| {
            if node.name.is_empty() || node.name == self.name {
                self.name.clone()
            } else if node.name.starts_with(&format!("{}-", self.name)) {
                node.name.clone()
            } else {
                format!("{}-{}", self.name, node.name)
            }
        };
        self.config().nodes.iter().map(|node| (named(node), node.clone())).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Like those of <https://github.com/kubernetes/minikube/pull/9996> and
    /// <https://github.com/kubernetes/minikube/issues/9970>, without unused keys.
    pub(crate) const LIST: &str = r#"{"invalid":[],"valid":[{"Name":"playground","Status":"OK","Config":{"Name":"playground","Memory":4096,"CPUs":4,"Driver":"docker","InsecureRegistry":null,"KubernetesConfig":{"KubernetesVersion":"v1.34.0","ClusterName":"playground","CNI":"calico","ExtraOptions":[{"Component":"kubelet","Key":"v","Value":"4"}]},"Nodes":[{"Name":"","IP":"192.168.49.2","Port":8443,"KubernetesVersion":"v1.34.0","ControlPlane":true,"Worker":true},{"Name":"m02","IP":"192.168.49.3","Port":8443,"ControlPlane":false,"Worker":true}],"Addons":{"metrics-server":true,"dashboard":false}}}]}"#;

    #[test]
    fn profiles_are_read_with_the_names_that_kubernetes_knows() {
        let profiles: Profiles = serde_json::from_str(LIST).unwrap();
        let profile = &profiles.valid[0];
        assert_eq!(profile.state(), State::Running);
        let names: Vec<String> = profile.nodes().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["playground", "playground-m02"]);
        assert_eq!(profile.config().kubernetes.extra_options[0].words(), "kubelet.v=4");
        let none: Profiles = serde_json::from_str(r#"{"invalid":null,"valid":[]}"#).unwrap();
        assert!(none.valid.is_empty() && none.invalid.is_empty());
    }

    #[test]
    fn what_minikube_cannot_name_is_broken() {
        let mut profile: Profile =
            serde_json::from_str(r#"{"Name":"x","Status":"Stopped","Config":{"Nodes":null}}"#).unwrap();
        assert_eq!(profile.state(), State::Stopped);
        for (status, state) in
            [("Paused", State::Paused), ("Starting", State::Changing), ("Unknown", State::Broken)]
        {
            profile.status = status.to_owned();
            assert_eq!(profile.state(), state, "{status}");
        }
        profile.config = None;
        profile.status = "OK".to_owned();
        assert_eq!(profile.state(), State::Broken);
    }
}
