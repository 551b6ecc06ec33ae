//! Lays the defaults of a chart and of its subcharts under the values that override them.
//!
//! Follows `pkg/chartutil/coalesce.go` of Helm 3.22, in both of its modes: *merge* keeps nulls (they may still have
//! to remove a default further down), *coalesce* lets a null remove the default it stands against and is then gone.

use serde_json::Value;

use super::{Chart, Table};

const GLOBAL: &str = "global";

/// Whether a null is kept or removes the default below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nulls {
    Kept,
    Remove,
}

/// The value under a subchart's name is not a table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: expected a table, since {key} is a subchart, got {value}")]
pub struct NotATable {
    pub key: String,
    pub value: String,
}

/// The values of `chart` and its subcharts with `overrides` applied.
pub fn coalesced(chart: &Chart, overrides: &Table) -> Result<Table, NotATable> {
    with(chart, overrides, Nulls::Remove)
}

pub(super) fn with(chart: &Chart, overrides: &Table, nulls: Nulls) -> Result<Table, NotATable> {
    let mut values = overrides.clone();
    coalesce(chart, &mut values, nulls, "")?;
    share_globals(chart, &mut values);
    Ok(values)
}

fn coalesce(chart: &Chart, values: &mut Table, nulls: Nulls, path: &str) -> Result<(), NotATable> {
    lay_under(chart, values, nulls);
    for subchart in &chart.charts {
        let key = if path.is_empty() { subchart.name.clone() } else { format!("{path}.{}", subchart.name) };
        let mut inner = match values.remove(&subchart.name) {
            None => Table::new(),
            Some(Value::Object(inner)) => inner,
            Some(other) => {
                return Err(NotATable { key, value: other.to_string() });
            }
        };
        hand_down_globals(&mut inner, values);
        coalesce(subchart, &mut inner, nulls, &key)?;
        copy_shared(&inner, values);
        values.insert(subchart.name.clone(), Value::Object(inner));
    }
    Ok(())
}

/// Lays the chart's own defaults under `values`.
fn lay_under(chart: &Chart, values: &mut Table, nulls: Nulls) {
    for (key, default) in &chart.values {
        match (values.get_mut(key), default) {
            (None, default) => {
                values.insert(key.clone(), default.clone());
            }
            (Some(Value::Null), _) if nulls == Nulls::Remove => {
                values.remove(key);
            }
            (Some(Value::Object(table)), Value::Object(defaults)) => {
                // A null in a subchart's tree must be kept: the default that it removes is one level down.
                let is_subchart = chart.charts.iter().any(|subchart| subchart.name == *key);
                lay_table_under(table, defaults, if is_subchart { Nulls::Kept } else { nulls });
            }
            _ => {}
        }
    }
}

/// Lays `defaults` under `values`; what `values` says wins.
pub(super) fn lay_table_under(values: &mut Table, defaults: &Table, nulls: Nulls) {
    for (key, default) in defaults {
        match (values.get_mut(key), default) {
            (None, default) => {
                values.insert(key.clone(), default.clone());
            }
            (Some(Value::Null), default) if nulls == Nulls::Remove && !default.is_null() => {
                values.remove(key);
            }
            (Some(Value::Object(table)), Value::Object(defaults)) => lay_table_under(table, defaults, nulls),
            _ => {}
        }
    }
}

/// Gives the parent's `global` to a subchart. Here, unlike everywhere else, the parent's values win over the
/// subchart's.
fn hand_down_globals(inner: &mut Table, parent: &Table) {
    let mut globals = match inner.get(GLOBAL) {
        None => Table::new(),
        Some(Value::Object(globals)) => globals.clone(),
        Some(_) => return,
    };
    let none = Table::new();
    let from = match parent.get(GLOBAL) {
        None => &none,
        Some(Value::Object(from)) => from,
        Some(_) => return,
    };
    for (key, value) in from {
        match (globals.get(key), value) {
            (Some(Value::Object(own)), Value::Object(value)) => {
                let mut merged = value.clone();
                lay_table_under(&mut merged, own, Nulls::Kept);
                globals.insert(key.clone(), Value::Object(merged));
            }
            // One is a table and the other is not: the subchart keeps its own.
            (Some(Value::Object(_)), _) | (Some(_), Value::Object(_)) => {}
            (_, value) => {
                globals.insert(key.clone(), value.clone());
            }
        }
    }
    inner.insert(GLOBAL.to_owned(), Value::Object(globals));
}

/// Gives every subchart the final tables two levels down in `global`. Helm's copy is shallow: a parent and its
/// subcharts share these tables, so what one subchart's defaults add is visible to all.
fn share_globals(chart: &Chart, values: &mut Table) {
    for subchart in &chart.charts {
        if let Some(Value::Object(mut inner)) = values.remove(&subchart.name) {
            copy_shared(values, &mut inner);
            share_globals(subchart, &mut inner);
            values.insert(subchart.name.clone(), Value::Object(inner));
        }
    }
}

/// Copies the tables two levels down in `global` that both sides have from `from`.
fn copy_shared(from: &Table, to: &mut Table) {
    let (Some(Value::Object(from)), Some(Value::Object(to))) = (from.get(GLOBAL), to.get_mut(GLOBAL)) else {
        return;
    };
    for (key, value) in to {
        let (Value::Object(value), Some(Value::Object(from))) = (value, from.get(key)) else {
            continue;
        };
        for (key, shared) in value {
            if let (Value::Object(_), Some(seen @ Value::Object(_))) = (&*shared, from.get(key)) {
                *shared = seen.clone();
            }
        }
    }
}
