//! `docs/performance.md`, its data and its chart.

mod chart;
pub(crate) mod table;
mod text;

use std::{fs, path::Path};

use anyhow::{Context, Result};

use crate::{install::repository, printer, results::Results, work};

/// Adds new results to the document. Rows that were not measured stay unchanged.
pub(crate) fn update(newer: Results) -> Result<()> {
    let data = repository().join("docs/performance.json");
    let names: Vec<_> = work::all().into_iter().map(|work| work.name).collect();
    let results = match Results::load(&data)? {
        Some(older) => older.merge(newer, &names),
        None => newer,
    };
    let json = serde_json::to_string_pretty(&results)?;
    write(&data, &(json + "\n"))?;
    write_both(&results)
}

/// Rebuilds the document from the existing data.
pub(crate) fn rewrite() -> Result<()> {
    let data = repository().join("docs/performance.json");
    let results = Results::load(&data)?
        .with_context(|| format!("{} does not exist: nothing was measured yet", data.display()))?;
    write_both(&results)
}

fn write_both(results: &Results) -> Result<()> {
    let docs = repository().join("docs");
    write(&docs.join("performance.svg"), &chart::svg(results))?;
    write(&docs.join("performance.md"), &text::markdown(results))?;
    printer::note("docs/performance.md, .json and .svg are up to date");
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())
}
