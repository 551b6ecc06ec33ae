//! The configuration of a Prometheus that scrapes this platform.
//!
//! It is written whenever a platform comes up, even without a Prometheus of its own: another Prometheus can be started
//! with it, or include its `targets/*.json`.

use std::{io, path::Path, time::Duration};

use super::{ALERTS, RULES};
use crate::paths::{private_directory, read_regular, replace};

/// The file name in Prometheus' folder.
pub(crate) const FILE: &str = "prometheus.yml";
/// The folder of the target files.
pub(super) const TARGETS: &str = "targets";
/// Maximum time limit of a scrape, however long the interval is.
const TIMEOUT_MAX: Duration = Duration::from_secs(5);

/// Writes configuration and rules into `folder`; returns whether the configuration has changed.
pub(crate) fn write(folder: &Path, scrape_interval: Duration) -> io::Result<bool> {
    private_directory(folder)?;
    private_directory(&folder.join(TARGETS))?;
    replace(&folder.join("rules.yaml"), RULES.as_bytes())?;
    replace(&folder.join("alerts.yaml"), ALERTS.as_bytes())?;
    let (path, text) = (folder.join(FILE), text(scrape_interval));
    if read_regular(&path).is_ok_and(|before| before == text.as_bytes()) {
        return Ok(false);
    }
    replace(&path, text.as_bytes())?;
    Ok(true)
}

fn text(scrape_interval: Duration) -> String {
    let interval = milliseconds(scrape_interval);
    let timeout = milliseconds(scrape_interval.min(TIMEOUT_MAX));
    format!(
        "\
# Written by playctl when the platform comes up. Its targets come and go with replicas, without a reload.
global:
  scrape_interval: {interval}
  scrape_timeout: {timeout}
  evaluation_interval: {interval}
rule_files: [rules.yaml, alerts.yaml]
scrape_configs:
  - job_name: services
    file_sd_configs: [{{files: [{TARGETS}/services.json]}}]
  - job_name: gateways
    file_sd_configs: [{{files: [{TARGETS}/gateways.json]}}]
  # It speaks of pods as cAdvisor and kube-state-metrics do, so its own namespace and pod labels count.
  - job_name: supervisor
    honor_labels: true
    file_sd_configs: [{{files: [{TARGETS}/supervisor.json]}}]
"
    )
}

fn milliseconds(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::Value;

    use super::*;

    #[test]
    fn the_configuration_is_written_once_for_each_interval() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("prometheus");
        assert!(write(&folder, Duration::from_secs(7)).unwrap());
        assert!(!write(&folder, Duration::from_secs(7)).unwrap(), "nothing changed");
        assert!(write(&folder, Duration::from_millis(500)).unwrap());

        let text = fs::read_to_string(folder.join(FILE)).unwrap();
        let config: Value = yaml::from_str(&text).unwrap();
        assert_eq!(config["global"]["scrape_interval"], "500ms");
        assert_eq!(config["global"]["scrape_timeout"], "500ms", "never longer than the interval");
        for file in config["rule_files"].as_array().unwrap() {
            assert!(folder.join(file.as_str().unwrap()).is_file(), "{file:?}");
        }
        let jobs = config["scrape_configs"].as_array().unwrap();
        assert_eq!(jobs.len(), 3);
        for job in jobs {
            let file = &job["file_sd_configs"][0]["files"][0];
            assert!(file.as_str().unwrap().starts_with("targets/"), "{job:?}");
            assert_eq!(job.get("honor_labels").is_some(), job["job_name"] == "supervisor", "{job:?}");
        }
    }
}
