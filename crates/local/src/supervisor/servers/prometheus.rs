//! Prometheus, with the scrape targets in [`prometheus.yml`](self).

use std::{io, path::Path, time::Duration};

use super::{Launch, NotServing, Spec};
use crate::http;
use crate::paths::write_private;

/// Its configuration file. If somebody writes another one before it starts, that one counts.
pub(super) const CONFIG: &str = "prometheus.yml";

pub(super) fn prepare(spec: &Spec, folder: &Path) -> io::Result<Launch> {
    let config = folder.join(CONFIG);
    if !config.exists() {
        write_private(&config, itself(spec))?;
    }
    let words = [
        format!("--config.file={}", config.display()),
        format!("--web.listen-address={}", spec.address()),
        "--web.enable-lifecycle".to_owned(),
        format!("--storage.tsdb.path={}", folder.join("data").display()),
        "--storage.tsdb.retention.time=1d".to_owned(),
        "--storage.tsdb.retention.size=512MB".to_owned(),
    ];
    Ok(Launch {
        program: spec.found.executable.clone(),
        arguments: words.into_iter().map(Into::into).collect(),
        environment: Vec::new(),
        directory: Some(folder.to_owned()),
    })
}

fn itself(spec: &Spec) -> String {
    format!(
        "\
global: {{scrape_interval: 7s, scrape_timeout: 5s}}
scrape_configs:
  - job_name: prometheus
    static_configs: [{{targets: [\"{}\"]}}]
",
        spec.address()
    )
}

pub(super) async fn ask(spec: &Spec) -> Result<(), NotServing> {
    let path = "/-/ready";
    let answer = http::get(spec.address(), path, Duration::from_secs(2)).await?;
    if answer.status == 200 { Ok(()) } else { Err(NotServing::Unhealthy { path, answer }) }
}
