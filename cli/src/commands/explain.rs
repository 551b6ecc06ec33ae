//! `playctl explain [SERVICE]`, `playctl explain --hpa FILE --state FILE`

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use autoscale::{
    explain::{self, Case, Explanation, Instants, Text, state},
    manifest::{self, Manifest},
};
use jiff::{Timestamp, tz::TimeZone};
use platform::{Target, exit};
use serde::Serialize;

use super::{Context, Failure, Outcome};
use crate::platform_source;

/// No manifest comes near; it keeps a wrong file name from filling the memory.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// From here on (September 2001) instants are taken for milliseconds since 1970 and shown as time of day.
const CALENDAR_FROM_MS: i64 = 1_000_000_000_000;

/// Explain what the autoscaler does next, why, and what would change it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl explain                           every autoscaled service of the local platform
  playctl explain tcp --output json
  kubectl get hpa tcp -o yaml | playctl explain --hpa - --state state.yaml

The state file says what the autoscaler sees: the replicas, pods, metrics, and what it remembers. Its format is in
docs/autoscaling.md.")]
pub(crate) struct Args {
    /// The service, such as tcp; default: every autoscaled one
    #[arg(conflicts_with = "hpa")]
    service: Option<String>,
    /// A HorizontalPodAutoscaler (autoscaling/v2) as YAML or JSON, or a list of them; - for stdin
    #[arg(long, value_name = "FILE", requires = "state")]
    hpa: Option<PathBuf>,
    /// What the autoscaler sees, as YAML or JSON; - for stdin
    #[arg(long, value_name = "FILE", requires = "hpa")]
    state: Option<PathBuf>,
    /// Which autoscaler, if the file has several
    #[arg(long, value_name = "NAME", requires = "hpa")]
    name: Option<String>,
}

/// An explanation and what it is of.
#[derive(Debug, Serialize)]
struct Named {
    name: String,
    #[serde(flatten)]
    explanation: Explanation,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    match (&args.hpa, &args.state, &args.service) {
        (Some(hpa), Some(state), _) => {
            let explained = from_files(hpa, state, args.name.as_deref())?;
            print(context, &explained);
            context.printer.document(&explained);
        }
        (_, _, Some(service)) => {
            let explained = from_platform(context, service)?;
            print(context, &explained);
            context.printer.document(&explained);
        }
        _ => {
            let services = platform_source::existing(&context.global)?.snapshot()?.services;
            let autoscaled = services.iter().filter(|service| service.autoscaler.is_some());
            let all = autoscaled
                .map(|service| from_platform(context, &service.name))
                .collect::<Result<Vec<_>, _>>()?;
            if all.is_empty() {
                return Err(Failure::usage("no service of this platform is autoscaled"));
            }
            for explained in &all {
                print(context, explained);
            }
            context.printer.document(&all);
        }
    }
    Ok(exit::DONE)
}

fn print(context: &Context, explained: &Named) {
    let explanation = &explained.explanation;
    let instants: &dyn Instants = if explanation.now_ms >= CALENDAR_FROM_MS { &TimeOfDay } else { &() };
    let text = Text { explanation, instants };
    context.printer.line(&format!("{} {text}", explained.name));
}

/// What the autoscaler of a running service would do if it looked now and saw what it last saw.
fn from_platform(context: &Context, service: &str) -> Result<Named, Failure> {
    let target = platform_source::existing(&context.global)?;
    let state = target.autoscaler(service)?;
    if state.get("observed").is_none_or(serde_json::Value::is_null) {
        return Err(Failure::failed(format!(
            "the autoscaler of {service} has not looked yet; it does one sync period after bring-up (15 s by default): \
             try again then"
        )));
    }
    let mut case: Case = serde_json::from_value(state).map_err(|error| {
        Failure::failed(format!(
            "the supervisor's answer is not understood ({error}); it may be of another version: playctl down, playctl up"
        ))
    })?;
    case.now_ms = case.now_ms.max(Timestamp::now().as_millisecond());
    // It looked before it wrote the scale, and somebody may have set another since.
    let services = target.snapshot()?.services;
    let now = services.iter().find(|of| of.name == service).and_then(|of| i32::try_from(of.desired).ok());
    case.observed.spec_replicas = now.unwrap_or(case.observed.spec_replicas);
    explain(service, &case)
}

fn from_files(hpa: &Path, state: &Path, name: Option<&str>) -> Result<Named, Failure> {
    if hpa == state {
        return Err(Failure::usage("--hpa and --state must be two files"));
    }
    // Whether zero replicas are allowed is decided with the settings in the state file.
    let manifests = manifest::read(&read(hpa)?, true).map_err(|error| in_file(hpa, error))?;
    let manifest = choose(manifests, name).map_err(|error| in_file(hpa, error))?;
    let case = state::read(&read(state)?, &manifest.spec).map_err(|error| in_file(state, error))?;
    explain(&manifest.name, &case)
}

fn choose(mut manifests: Vec<Manifest>, name: Option<&str>) -> Result<Manifest, String> {
    let names = manifests.iter().map(|manifest| manifest.name.clone()).collect::<Vec<_>>().join(", ");
    match name {
        Some(name) => manifests
            .into_iter()
            .find(|manifest| manifest.name == name)
            .ok_or_else(|| format!("no autoscaler is called {name}; there are: {names}")),
        None if manifests.len() > 1 => Err(format!("there are several, choose one by --name: {names}")),
        None => manifests.pop().ok_or_else(|| "no autoscaler in it".to_owned()),
    }
}

fn explain(name: &str, case: &Case) -> Result<Named, Failure> {
    let explanation = explain::explain(case).map_err(Failure::usage)?;
    Ok(Named { name: name.to_owned(), explanation })
}

fn read(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let mut read = |source: &mut dyn Read| source.take(MAX_FILE_BYTES + 1).read_to_string(&mut text);
    let result = if path == Path::new("-") {
        read(&mut io::stdin().lock())
    } else {
        File::open(path).and_then(|mut file| read(&mut file))
    };
    match result {
        Err(error) => Err(in_file(path, error)),
        Ok(bytes) if bytes as u64 > MAX_FILE_BYTES => Err(in_file(path, "larger than 16 MiB")),
        Ok(_) => Ok(text),
    }
}

fn in_file(path: &Path, error: impl std::fmt::Display) -> Failure {
    let name = if path == Path::new("-") { "stdin".to_owned() } else { path.display().to_string() };
    Failure::usage(format!("{name}: {error}"))
}

/// Instants as time of day, in the zone of this machine.
struct TimeOfDay;

impl Instants for TimeOfDay {
    fn instant(&self, at_ms: i64) -> String {
        match Timestamp::from_millisecond(at_ms) {
            Ok(timestamp) => timestamp.to_zoned(TimeZone::system()).strftime("%H:%M:%S").to_string(),
            Err(_) => format!("{at_ms} ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    const HPA: &str = "
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: tcp}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: tcp}
  maxReplicas: 5
  metrics:
    - type: Pods
      pods: {metric: {name: tcp_state_established}, target: {type: AverageValue, averageValue: 5k}}
";

    fn files(hpa: &str, state: &str) -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (hpa_path, state_path) = (dir.path().join("hpa.yaml"), dir.path().join("state.yaml"));
        fs::write(&hpa_path, hpa).expect("writable");
        fs::write(&state_path, state).expect("writable");
        (dir, hpa_path, state_path)
    }

    #[test]
    fn explains_a_manifest_with_a_state() {
        let state = "{now: 0, replicas: 1, pods: [{name: tcp-0}], metrics: [{pods: {tcp-0: 7012}}]}";
        let (_dir, hpa, state) = files(HPA, state);
        let explained = from_files(&hpa, &state, None).expect("both files are valid");
        assert_eq!((explained.name.as_str(), explained.explanation.desired), ("tcp", 2));
        let json = serde_json::to_value(&explained).expect("serialisable");
        assert_eq!(json["name"], "tcp");
        assert_eq!(json["metrics"][0]["proposal"]["replicas"], 2);
        assert!(json["whatWouldChange"].is_array());
    }

    #[test]
    fn mistakes_name_the_file() {
        let (_dir, hpa, state) = files(HPA, "{now: 0, replica: 1}");
        let failure = from_files(&hpa, &state, None).expect_err("misspelt");
        assert_eq!(failure.code, exit::USAGE);
        assert!(
            failure.message.contains("state.yaml") && failure.message.contains("`replicas`"),
            "{failure:?}"
        );
        let failure = from_files(Path::new("/nonexistent"), &state, None).expect_err("not there");
        assert!(failure.message.starts_with("/nonexistent: "), "{failure:?}");
    }

    #[test]
    fn of_several_autoscalers_one_must_be_chosen() {
        let both = format!("{HPA}---{}", HPA.replace("{name: tcp}", "{name: udp}"));
        let state = "{now: 0, replicas: 1, pods: [{name: a}], metrics: [{pods: {a: 1}}]}";
        let (_dir, hpa, state) = files(&both, state);
        let failure = from_files(&hpa, &state, None).expect_err("two");
        assert!(failure.message.contains("choose one by --name: tcp, udp"), "{failure:?}");
        assert_eq!(from_files(&hpa, &state, Some("udp")).expect("there").name, "udp");
        assert!(from_files(&hpa, &state, Some("ws")).is_err());
    }
}
