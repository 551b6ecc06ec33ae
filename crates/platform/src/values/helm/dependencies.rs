//! Which subcharts take part, and what they hand up to their parent.
//!
//! Follows `pkg/chartutil/dependencies.go` of Helm 3.22 (`ProcessDependenciesWithMerge`, which `helm install` and
//! `helm template` call before anything else).

use serde_json::Value;

use super::{
    Chart, Table,
    chart::Requirement,
    coalesce::{self, NotATable, Nulls, lay_table_under},
};

/// Removes the subcharts that conditions and tags switch off, applies aliases, imports values.
pub fn process(chart: &mut Chart, overrides: &Table) -> Result<(), NotATable> {
    keep_enabled(chart, overrides, "")?;
    import_values(chart)
}

fn keep_enabled(chart: &mut Chart, values: &Table, path: &str) -> Result<(), NotATable> {
    let Some(requirements) = chart.requirements.take() else {
        return Ok(());
    };
    let declared =
        |subchart: &Chart| requirements.iter().any(|requirement| requirement.chart == subchart.name);
    // Undeclared charts in charts/ always take part.
    let mut charts: Vec<Chart> =
        chart.charts.iter().filter(|subchart| !declared(subchart)).cloned().collect();
    for requirement in &requirements {
        if let Some(subchart) = chart.charts.iter().find(|subchart| subchart.name == requirement.chart) {
            charts.push(Chart { name: requirement.name.clone(), ..subchart.clone() });
        }
    }
    chart.charts = charts;

    let values = coalesce::coalesced(chart, values)?;
    let (kept, dropped): (Vec<_>, Vec<_>) =
        requirements.into_iter().partition(|requirement| enabled(requirement, &values, path));
    chart.charts.retain(|subchart| !dropped.iter().any(|requirement| requirement.name == subchart.name));
    for subchart in &mut chart.charts {
        let path = format!("{path}{}.", subchart.name);
        keep_enabled(subchart, &values, &path)?;
    }
    // As in Helm, an empty list counts as no list from here on.
    chart.requirements = (!kept.is_empty()).then_some(kept);
    Ok(())
}

/// A condition overrides tags; of several tags one that is true is enough.
fn enabled(requirement: &Requirement, values: &Table, path: &str) -> bool {
    let mut condition = requirement.condition.trim().split(',').filter(|condition| !condition.is_empty());
    let by_condition = condition.find_map(|condition| at(values, &format!("{path}{condition}"))?.as_bool());
    by_condition.unwrap_or_else(|| {
        let Some(Value::Object(tags)) = values.get("tags") else {
            return true;
        };
        let set: Vec<bool> = requirement.tags.iter().filter_map(|tag| tags.get(tag)?.as_bool()).collect();
        set.is_empty() || set.contains(&true)
    })
}

fn import_values(chart: &mut Chart) -> Result<(), NotATable> {
    for subchart in &mut chart.charts {
        import_values(subchart)?;
    }
    let Some(requirements) = &chart.requirements else {
        return Ok(());
    };
    let mut values = coalesce::with(chart, &Table::new(), Nulls::Kept)?;
    let mut imported = Table::new();
    for requirement in requirements {
        for import in &requirement.import_values {
            let child = format!("{}.{}", requirement.name, import.child);
            // Helm warns about a missing table and continues.
            let Some(Value::Object(table)) = at(&values, &child) else {
                continue;
            };
            let mut table = table.clone();
            if import.parent != "." {
                for part in import.parent.split('.').rev() {
                    table = Table::from_iter([(part.to_owned(), Value::Object(table))]);
                }
            }
            lay_table_under(&mut imported, &table, Nulls::Kept);
        }
    }
    // The parent's own values win over imported ones.
    lay_table_under(&mut values, &imported, Nulls::Kept);
    chart.values = values;
    Ok(())
}

/// The value at a dotted path.
fn at<'a>(values: &'a Table, path: &str) -> Option<&'a Value> {
    let mut parts = path.split('.');
    let mut value = values.get(parts.next()?)?;
    for part in parts {
        value = value.as_object()?.get(part)?;
    }
    Some(value)
}
