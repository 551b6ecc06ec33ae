//! The scrape targets, as files that Prometheus watches (`file_sd`): one per job, replaced by rename.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::config;
use crate::paths::replace;

/// One address with its labels, which are added to everything scraped there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Target {
    /// The format requires a list here.
    targets: [SocketAddr; 1],
    labels: BTreeMap<&'static str, String>,
}

impl Target {
    pub(crate) fn new<const N: usize>(address: SocketAddr, labels: [(&'static str, &str); N]) -> Self {
        let labels = labels.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
        Self { targets: [address], labels }
    }

    /// Scraped at this path instead of at `/metrics`.
    pub(crate) fn at_path(mut self, path: &str) -> Self {
        self.labels.insert("__metrics_path__", path.to_owned());
        self
    }
}

/// All targets of a platform, by job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Targets {
    pub(crate) services: Vec<Target>,
    pub(crate) gateways: Vec<Target>,
    pub(crate) supervisor: Vec<Target>,
}

/// The files.
#[derive(Debug)]
pub(crate) struct TargetFiles {
    folder: PathBuf,
    written: Option<Targets>,
}

impl TargetFiles {
    /// `folder`: Prometheus' folder, which [`config::write`] has created.
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.join(config::TARGETS), written: None }
    }

    /// Writes the files that changed.
    pub(crate) fn update(&mut self, targets: Targets) -> io::Result<()> {
        let before = self.written.take();
        let job = |name: &str, of: fn(&Targets) -> &Vec<Target>| -> io::Result<()> {
            if before.as_ref().map(of) == Some(of(&targets)) {
                return Ok(());
            }
            let json = serde_json::to_vec_pretty(of(&targets))?;
            replace(&self.folder.join(name), &json)
        };
        job("services.json", |targets| &targets.services)?;
        job("gateways.json", |targets| &targets.gateways)?;
        job("supervisor.json", |targets| &targets.supervisor)?;
        self.written = Some(targets);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use serde_json::json;

    use super::*;

    #[test]
    fn files_follow_the_targets_and_only_changed_ones_are_written() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("prometheus");
        config::write(&folder, Duration::from_secs(7)).unwrap();
        let read = |name: &str| -> serde_json::Value {
            serde_json::from_slice(&fs::read(folder.join("targets").join(name)).unwrap()).unwrap()
        };
        let mut files = TargetFiles::new(&folder);
        files.update(Targets::default()).unwrap();
        assert_eq!(read("services.json"), json!([]));

        let address = "127.77.2.1:9100".parse().unwrap();
        let tcp = Target::new(address, [("namespace", "playground"), ("pod", "tcp-0")]);
        fs::remove_file(folder.join("targets/gateways.json")).unwrap();
        files.update(Targets { services: vec![tcp], ..Targets::default() }).unwrap();
        assert_eq!(
            read("services.json"),
            json!([{ "targets": ["127.77.2.1:9100"], "labels": { "namespace": "playground", "pod": "tcp-0" } }])
        );
        assert!(!folder.join("targets/gateways.json").exists(), "it did not change");
    }
}
