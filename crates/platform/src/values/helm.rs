//! Values as Helm computes them, without Helm: pure functions over JSON trees.
//!
//! What a template sees as `.Values` is made in four steps, each a module here:
//!
//! 1. Files are read by `crates/yaml` with YAML 1.1's idea of a scalar (`yes` is true, `0755` is octal).
//! 2. [`set`]: the user's files are merged in order, then `--set-json`, `--set`, `--set-string`, `--set-file` and
//!    `--set-literal` write into the result, whatever their order on the command line.
//! 3. [`dependencies`]: conditions and tags decide which subcharts take part; `import-values` copies tables up.
//! 4. [`coalesce`]: each chart's own defaults are laid under what its parent and the user say; a null removes a
//!    default, lists are replaced as a whole, `global` goes down to every subchart.
//!
//! Checked against the output of Helm 3.22.0 (`tests/helm/`). Two things that Helm accepts are errors here: a duplicate
//! key in a mapping, and several documents in one file. Version constraints of dependencies are ignored, and packed
//! subcharts (`charts/*.tgz`) are not opened, because nothing here reads third-party values.

pub mod chart;
pub mod coalesce;
pub mod dependencies;
pub mod set;

pub use chart::Chart;

use serde_json::{Map, Value};

/// A table of values.
pub type Table = Map<String, Value>;

/// The values a chart's templates see when the user gives `overrides`.
pub fn merged(chart: &Chart, overrides: &Table) -> Result<Table, coalesce::NotATable> {
    let mut chart = chart.clone();
    dependencies::process(&mut chart, overrides)?;
    coalesce::coalesced(&chart, overrides)
}

/// Lays `over` over `base`, as Helm does with one `-f` file after another: tables are merged, everything else,
/// nulls and lists included, is replaced.
pub fn overlay(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Object(below)), Value::Object(above)) => overlay(below, above),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}
