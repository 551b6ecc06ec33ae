//! The chart as a file for `helm`: the built-in one, or another folder.

use std::{
    fs,
    path::{Path, PathBuf},
};

use platform::{
    TargetError,
    values::{Values, ValuesSource, helm::Table, overrides},
};
use serde_json::Value;
use tempfile::TempDir;

const PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/chart.tgz"));

/// A chart and the values to lay over its own, as files. They go away with it.
#[derive(Debug)]
pub(super) struct Chart {
    pub(super) path: PathBuf,
    pub(super) values: PathBuf,
    _folder: TempDir,
}

impl Chart {
    pub(super) fn new(chart: Option<&Path>, values: &Values) -> Result<Self, TargetError> {
        let overrides = Value::Object(laid_over(chart, values)?);
        // Only its owner may look into it: values can be passwords.
        let folder = tempfile::Builder::new().prefix("playctl-").tempdir().map_err(unwritten)?;
        let path = match chart {
            Some(dir) => dir.to_owned(),
            None => write(folder.path(), "playground.tgz", PACKED)?,
        };
        let values = write(folder.path(), "values.json", overrides.to_string().as_bytes())?;
        Ok(Self { path, values, _folder: folder })
    }
}

/// The overrides of the chart's own values that give `values`.
fn laid_over(chart: Option<&Path>, values: &Values) -> Result<Table, TargetError> {
    let own = ValuesSource { chart_dir: chart.map(Path::to_owned), ..ValuesSource::default() };
    let own = own.merged().map_err(|error| TargetError::Invalid { message: error.to_string() })?;
    Ok(overrides(&own, values.merged()))
}

fn write(folder: &Path, name: &str, content: &[u8]) -> Result<PathBuf, TargetError> {
    let path = folder.join(name);
    fs::write(&path, content).map_err(unwritten)?;
    Ok(path)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unwritten(error: std::io::Error) -> TargetError {
    TargetError::other(format!("could not write files for helm into the folder for temporary files: {error}"))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, io::Read as _};

    use super::*;

    #[test]
    fn the_chart_in_this_program_is_the_one_beside_it() {
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(PACKED));
        let mut packed = BTreeSet::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().into_owned();
            let inside = path.strip_prefix("playground").unwrap().to_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../helm-chart").join(&inside);
            assert!(content == fs::read(&beside).unwrap(), "{}", beside.display());
            packed.insert(inside);
        }
        for needed in
            ["Chart.yaml", "values.yaml", "values.schema.json", "charts/tcp/Chart.yaml", "files/adapter.yaml"]
        {
            assert!(packed.contains(Path::new(needed)), "{needed}");
        }
        assert!(!packed.contains(Path::new("readme")), "{packed:?}");
        // Helm keeps a release in a Secret of at most 1 MiB, the chart included.
        assert!(PACKED.len() < 200_000, "{}", PACKED.len());
    }

    #[test]
    fn what_is_laid_over_takes_away_too() {
        let set = vec!["tcp.autoscaling=null".to_owned(), "tcp.replicas=2".to_owned()];
        let values = Values::load(&ValuesSource { set, ..ValuesSource::default() }).unwrap();
        let overrides = laid_over(None, &values).unwrap();
        assert_eq!(
            Value::Object(overrides),
            serde_json::json!({"tcp": {"autoscaling": null, "replicas": 2}})
        );
    }
}
