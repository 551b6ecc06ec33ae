//! The results, as kept in `docs/performance.json`.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::{
    contestant::Contestant,
    figures::{Figure, Goal, Unit},
    machine::Machine,
    stats::Spread,
    strace::Counts,
};

/// The contents of the document.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    /// The machine of all rows that do not name another one.
    pub(crate) machine: Machine,
    pub(crate) rows: Vec<Row>,
    /// System calls per unit of work, by load.
    #[serde(default)]
    pub(crate) system_calls: Vec<Counts>,
}

/// One row of the table, all of it from one run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) about: String,
    /// When it was measured, UTC.
    pub(crate) taken: String,
    /// Where it was measured, if not on the document's machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) machine: Option<Machine>,
    pub(crate) rounds: u32,
    pub(crate) seconds: u64,
    /// Versions of the contestants that have one.
    pub(crate) versions: BTreeMap<String, String>,
    pub(crate) figures: Vec<Outcome>,
}

/// One figure of a row.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) title: String,
    pub(crate) unit: Unit,
    pub(crate) series: Vec<Series>,
    pub(crate) verdicts: Vec<Verdict>,
}

/// The results of one contestant, round by round.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Series {
    pub(crate) contestant: Contestant,
    pub(crate) spread: Spread,
    pub(crate) samples: Vec<f64>,
}

/// The result for a goal.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Verdict {
    #[serde(flatten)]
    pub(crate) goal: Goal,
    /// Ours relative to the other's if the goal is a ratio, else ours.
    pub(crate) reached: Spread,
    pub(crate) met: bool,
}

impl Outcome {
    /// `samples` has the values of each contestant in the order of the rounds, the same number for all.
    pub(crate) fn new(figure: &Figure, samples: &[(Contestant, Vec<f64>)]) -> Result<Self> {
        let of = |wanted| {
            let found = samples.iter().find(|(contestant, _)| *contestant == wanted);
            found.map(|(_, values)| values.as_slice()).context("a contestant has no samples")
        };
        let ours = of(Contestant::Playctl)?;
        let verdicts = figure
            .goals
            .iter()
            .map(|&goal| {
                let reached = match goal.against() {
                    Some(other) => Spread::of_ratios(ours, of(other)?),
                    None => Spread::of(ours),
                }
                .context("no round was measured")?;
                Ok(Verdict { goal, met: goal.is_met(reached.median), reached })
            })
            .collect::<Result<_>>()?;
        let series = samples
            .iter()
            .map(|(contestant, values)| {
                let spread = Spread::of(values).context("no round was measured")?;
                Ok(Series { contestant: *contestant, spread, samples: values.clone() })
            })
            .collect::<Result<_>>()?;
        Ok(Self { title: figure.title.to_owned(), unit: figure.unit, series, verdicts })
    }
}

impl Results {
    /// The results of earlier runs, or nothing yet.
    pub(crate) fn load(path: &Path) -> Result<Option<Self>> {
        match fs::read_to_string(path) {
            Ok(text) => {
                let results = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
                Ok(Some(results))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// Replaces rows by rows of the same name from `newer`, in the order of `names`; drops rows that no longer exist.
    /// Rows that were not measured stay, with their date and machine: nothing is compared across rows, and a machine
    /// with a different kernel counts as a different machine.
    pub(crate) fn merge(self, newer: Self, names: &[&str]) -> Self {
        let system_calls = if newer.system_calls.is_empty() { self.system_calls } else { newer.system_calls };
        let of = |rows: Vec<Row>, machine: Machine| {
            rows.into_iter()
                .map(move |row| Row { machine: row.machine.or_else(|| Some(machine.clone())), ..row })
        };
        let mut rows: Vec<Row> = of(newer.rows, newer.machine.clone()).collect();
        for row in of(self.rows, self.machine.clone()) {
            if rows.iter().all(|newer| newer.name != row.name) {
                rows.push(row);
            }
        }
        let place = |row: &Row| names.iter().position(|name| *name == row.name);
        rows.retain(|row| place(row).is_some());
        rows.sort_by_key(place);
        // The document's machine remains the older one as long as any of its rows is left.
        let older_is_left = rows.iter().any(|row| row.machine.as_ref() == Some(&self.machine));
        let machine = if older_is_left { self.machine } else { newer.machine };
        for row in &mut rows {
            row.machine.take_if(|its| *its == machine);
        }
        Self { machine, rows, system_calls }
    }

    pub(crate) fn verdicts(&self) -> impl Iterator<Item = (&Row, &Outcome, &Verdict)> {
        self.rows.iter().flat_map(|row| {
            row.figures
                .iter()
                .flat_map(move |outcome| outcome.verdicts.iter().map(move |verdict| (row, outcome, verdict)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure() -> Figure {
        Figure {
            title: "messages",
            unit: Unit::PerCpuSecond,
            goals: vec![Goal::AtLeast { ratio: 0.9, of: Contestant::Reference }, Goal::From { value: 150.0 }],
        }
    }

    fn row(name: &str) -> Row {
        Row {
            name: name.to_owned(),
            about: String::new(),
            taken: String::new(),
            machine: None,
            rounds: 1,
            seconds: 1,
            versions: BTreeMap::new(),
            figures: Vec::new(),
        }
    }

    fn machine(cpus: usize) -> Machine {
        Machine {
            cpu: String::new(),
            cpus,
            memory_gib: 1,
            system: String::new(),
            kernel: String::new(),
            congestion_control: String::new(),
        }
    }

    #[test]
    fn a_verdict_is_the_median_of_the_rounds_ratios() {
        let samples = [
            (Contestant::Playctl, vec![80.0, 100.0, 240.0]),
            (Contestant::Reference, vec![100.0, 100.0, 200.0]),
        ];
        let outcome = Outcome::new(&figure(), &samples).unwrap();
        let [ratio, value] = outcome.verdicts.as_slice() else { panic!("two goals") };
        assert!(ratio.met && (ratio.reached.median - 1.0).abs() < 1e-9);
        assert!(!value.met && (value.reached.median - 100.0).abs() < 1e-9);
        assert_eq!(outcome.series.len(), 2);
        assert_eq!(outcome.series[1].samples, [100.0, 100.0, 200.0]);
    }

    #[test]
    fn newer_rows_replace_older_ones_and_other_rows_stay() {
        let results = |cpus, names: &[&str], rounds| Results {
            machine: machine(cpus),
            rows: names.iter().map(|name| Row { rounds, ..row(name) }).collect(),
            system_calls: vec![Counts { work: "a".into(), unit: "message".into(), parties: Vec::new() }],
        };
        let of = |results: &Results| -> Vec<(String, u32, usize)> {
            let machine = |row: &Row| row.machine.as_ref().unwrap_or(&results.machine).cpus;
            results.rows.iter().map(|row| (row.name.clone(), row.rounds, machine(row))).collect()
        };
        let named = |rows: &[(&str, u32, usize)]| -> Vec<_> {
            rows.iter().map(|(name, rounds, cpus)| ((*name).to_owned(), *rounds, *cpus)).collect()
        };
        let known = ["a", "b", "c"];
        let merged = results(2, &["a", "b", "gone"], 1).merge(results(2, &["b"], 7), &known);
        assert_eq!(of(&merged), named(&[("a", 1, 2), ("b", 7, 2)]));
        assert!(merged.rows.iter().all(|row| row.machine.is_none()), "all are from the document's machine");

        let merged = merged.merge(Results { system_calls: Vec::new(), ..results(4, &["b", "c"], 9) }, &known);
        assert_eq!(of(&merged), named(&[("a", 1, 2), ("b", 9, 4), ("c", 9, 4)]));
        assert_eq!((merged.machine.cpus, merged.system_calls.len()), (2, 1));
        // Once no row of the older machine is left, the document is about the newer one.
        let merged = merged.merge(results(4, &["a"], 9), &known);
        assert_eq!(of(&merged), named(&[("a", 9, 4), ("b", 9, 4), ("c", 9, 4)]));
        assert!(merged.rows.iter().all(|row| row.machine.is_none()) && merged.machine.cpus == 4);
    }
}
