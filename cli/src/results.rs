//! What commands print with `--output json`; the schema is `docs/results.schema.json`.
//!
//! Keys are in snake case, durations whole milliseconds with `_ms` in their names. What a target answers is printed
//! as it is ([`platform::target`]); here are the results that the command line puts together.

use std::path::PathBuf;

use platform::target::{Applied, LogLine, Scaled, Snapshot};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{failure, hint, printer::Printer};

/// Why a command failed.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Failure {
    /// `usage`, `not_running`, `unknown_service`, `temporary`, `failed`…
    kind: String,
    message: String,
    /// What to do next, with the command to copy.
    hint: Option<String>,
    /// Whether the same command may succeed later without anybody changing anything.
    retry: bool,
}

impl Failure {
    pub(crate) fn new(failure: &failure::Failure, printer: &Printer) -> Self {
        let whole = printer.completed(&failure.message);
        let (message, hint) = hint::split(&whole);
        Self {
            kind: failure.kind.clone(),
            message: message.to_owned(),
            hint: hint.map(str::to_owned),
            retry: failure.retry,
        }
    }

    /// A command line that cannot be parsed.
    pub(crate) fn of_usage(message: &str) -> Self {
        let hint = Some("playctl COMMAND --help".to_owned());
        Self { kind: "usage".to_owned(), message: message.to_owned(), hint, retry: false }
    }
}

/// `playctl up`
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Up {
    pub applied: Applied,
    pub snapshot: Snapshot,
    /// The address of the platform's page, with the token that allows changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
}

/// `playctl up --target cluster` or `minikube`
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct UpCluster<'a> {
    #[serde(flatten)]
    pub installed: &'a cluster::install::Installed,
    /// The command that shows the platform's page: nothing serves it until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_command: Option<String>,
}

/// `playctl up --argocd`
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct UpArgocd {
    pub registered: cluster::argocd::Registered,
    pub synced: Vec<cluster::argocd::Synced>,
}

/// `playctl down`
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Down {
    pub platform: String,
    pub was_up: bool,
    /// Always empty: leftovers are a failure.
    pub left: Vec<String>,
    /// Notes for the user.
    pub notes: Vec<String>,
}

/// `playctl logs`
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Logged {
    Line(LogLine),
    /// Last, if there are any: records of the index that could not be read.
    Unreadable {
        unreadable: u64,
    },
}

/// `playctl scale`
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Scale {
    pub service: String,
    #[serde(flatten)]
    pub scaled: Scaled,
    /// When the autoscaler syncs next; absent if there is none, or if 0 replicas disable it.
    pub next_sync_in_ms: Option<u64>,
    /// The number of replicas that have no room yet.
    pub pending: u32,
}

/// `playctl dashboard`
#[cfg(feature = "local")]
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Dashboard {
    /// The address of the page.
    pub url: String,
}

/// `playctl image build`
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ImageBuilt {
    /// Name and tag, as in `playctl:0.1.0`.
    pub reference: String,
    /// The tar.
    pub file: PathBuf,
    pub file_bytes: u64,
    /// `amd64` or `arm64`.
    pub architecture: String,
    /// Of the manifest: the same for the same files, whatever the image's name.
    pub digest: String,
    /// Of the configuration, which `docker images` shows.
    pub id: String,
    /// Of all layers.
    pub bytes: u64,
    /// All that is in it.
    pub files: Vec<ImageFile>,
    pub warnings: Vec<String>,
}

/// A file of an image.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ImageFile {
    pub path: PathBuf,
    pub bytes: u64,
}

/// `playctl image load`
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ImageLoaded {
    /// Names and tags.
    pub references: Vec<String>,
    /// `minikube`, `containerd`, `docker` or `podman`.
    pub into: String,
    /// What the image is, if it was built for this.
    pub built: Option<ImageBuilt>,
}

#[cfg(all(test, feature = "local"))]
mod tests {
    use crate::commands::explain::result::Explain;
    use std::{fs, path::PathBuf};

    use platform::{
        Event,
        doctor::Check,
        target::{Drained, Killed, NodeAdded, NodeRemoved, Started, Stopped},
    };

    use super::*;

    /// The result of each command, by its name, and of any failing command.
    #[expect(dead_code, reason = "only its schema is used")]
    #[derive(JsonSchema)]
    struct Results {
        up: Up,
        up_cluster: UpCluster<'static>,
        up_dry_run: cluster::install::Plan,
        down: Down,
        status: Snapshot,
        scale: Scale,
        kill: Killed,
        stop: Stopped,
        start: Started,
        drain: Drained,
        logs: Vec<Logged>,
        watch: Vec<Event>,
        report: report::Document<'static>,
        dashboard: Dashboard,
        load: report::Document<'static>,
        demo: report::Document<'static>,
        explain: Explain,
        diagnose: cluster::install::Diagnosed,
        doctor: Vec<Check>,
        node_add: NodeAdded,
        node_remove: NodeRemoved,
        image_build: ImageBuilt,
        image_load: ImageLoaded,
        up_argocd: UpArgocd,
        argocd_register: cluster::argocd::Registered,
        argocd_sync: Vec<cluster::argocd::Synced>,
        argocd_status: cluster::argocd::Status,
        argocd_diff: Vec<cluster::argocd::Differences>,
        argocd_remove: cluster::argocd::Removed,
        argocd_step: cluster::argocd::Step,
        failure: Failure,
    }

    #[test]
    fn the_schema_is_up_to_date_and_speaks_one_language() {
        let schema = schemars::schema_for!(Results).to_value();
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/results.schema.json");
        let wanted = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("UPDATE_SCHEMA").is_some() {
            fs::write(&file, &wanted).unwrap();
        }
        let found = fs::read_to_string(&file).unwrap_or_default();
        assert!(found == wanted, "docs/results.schema.json is out of date; rewrite it with UPDATE_SCHEMA=1");

        let mut keys = Vec::new();
        keys_of(&schema, &mut keys);
        assert!(keys.len() > 50, "{keys:?}");
        let is_snake = |key: &&String| {
            key.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        let others: Vec<_> = keys.iter().filter(|key| !is_snake(key)).collect();
        assert!(others.is_empty(), "not in snake case: {others:?}");
        for key in ["took", "restart_in", "secs", "nanos"] {
            assert!(!keys.iter().any(|known| known == key), "{key} has no unit");
        }
    }

    fn keys_of(schema: &serde_json::Value, keys: &mut Vec<String>) {
        match schema {
            serde_json::Value::Object(table) => {
                if let Some(properties) =
                    table.get("properties").and_then(|properties| properties.as_object())
                {
                    keys.extend(properties.keys().cloned());
                }
                table.values().for_each(|value| keys_of(value, keys));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| keys_of(item, keys)),
            _ => {}
        }
    }
}
