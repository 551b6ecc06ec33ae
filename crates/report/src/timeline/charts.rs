//! The charts below a time line: connections, or messages a second, against the target, and replicas.

use crate::{
    chart::{Chart, Line, round_up},
    series::{Replicas, Series},
    style::{Style, Tone},
};

/// From this width on, the charts are side by side.
const SIDE_BY_SIDE: usize = 100;
const HEIGHT: usize = 9;
const GAP: usize = 4;

pub(super) fn draw(series: &Series, style: Style) -> Vec<String> {
    let open = series.load();
    let busiest = series.busiest();
    if open.len() < 2 && busiest.is_none() {
        return Vec::new();
    }
    let width = style.width() - 2;
    let wide = width >= SIDE_BY_SIDE && busiest.is_some() && open.len() > 1;
    let left = if wide { (width - GAP) * 3 / 5 } else { width };
    let range = (0, series.end_ms.max(1));
    let connections = (open.len() > 1).then(|| connections(series.unit(), &open, busiest, range, left));
    let replicas =
        busiest.map(|(name, of)| replicas(name, of, range, if wide { width - GAP - left } else { width }));
    let lines = match (connections, replicas) {
        (Some(connections), Some(replicas)) if wide => {
            connections.draw().beside(replicas.draw(), GAP).text(style)
        }
        (connections, replicas) => {
            let charts = [connections, replicas].into_iter().flatten().map(|chart| chart.draw().text(style));
            charts.collect::<Vec<_>>().join(&String::new())
        }
    };
    let indented = lines.into_iter().map(|line| format!("  {line}").trim_end().to_owned());
    std::iter::once(String::new()).chain(indented).collect()
}

fn connections<'a>(
    unit: &str,
    open: &'a [(u64, f64)],
    busiest: Option<(&'a str, &'a Replicas)>,
    range: (u64, u64),
    width: usize,
) -> Chart<'a> {
    let mut title = vec![(unit.to_owned(), Tone::Load)];
    let mut lines = Vec::new();
    let mut most = open.iter().map(|(_, open)| *open).fold(0.0, f64::max);
    let mut labels = vec![0.0];
    let target = busiest.and_then(|(_, of)| Some((of, of.target.as_ref()?.1 as f64 / 1000.0)));
    if let Some((of, target)) = target {
        title.push((" and target × replicas ┄".to_owned(), Tone::Target));
        let wanted = of.desired.iter().map(|(_, replicas)| *replicas).max().unwrap_or(0);
        most = most.max(target * f64::from(wanted));
        labels.push(target);
        let value = move |_, to: u64| Some(target * f64::from(of.at(to)?));
        lines.push(Line { tone: Tone::Target, dotted: true, value: Box::new(value) });
    }
    lines.push(Line { tone: Tone::Load, dotted: false, value: Box::new(|from, to| highest(open, from, to)) });
    let top = round_up(most);
    labels.push(top);
    Chart { title, width, height: HEIGHT, range, top, labels, lines }
}

fn replicas<'a>(name: &str, of: &'a Replicas, range: (u64, u64), width: usize) -> Chart<'a> {
    const ROWS_MAX: usize = 9;
    let most = of.desired.iter().map(|(_, replicas)| *replicas).max().unwrap_or(1).max(1);
    let value = |_, to: u64| of.at(to).map(f64::from);
    // One row per replica if possible, so that steps look like steps.
    let height = (most as usize + 1).min(ROWS_MAX);
    let labels = if height == most as usize + 1 {
        (0..=most).map(f64::from).collect()
    } else {
        vec![0.0, f64::from(most)]
    };
    Chart {
        title: vec![(format!("{name} replicas"), Tone::Pod)],
        width,
        height,
        range,
        top: f64::from(most),
        labels,
        lines: vec![Line { tone: Tone::Pod, dotted: false, value: Box::new(value) }],
    }
}

/// The highest sample within a period, or the last one before it; nothing before the first.
fn highest(samples: &[(u64, f64)], from: u64, to: u64) -> Option<f64> {
    let begin = samples.partition_point(|(t_ms, _)| *t_ms < from);
    let end = samples.partition_point(|(t_ms, _)| *t_ms < to);
    let before = begin.checked_sub(1).map(|last| samples[last].1);
    samples[begin..end].iter().map(|(_, value)| *value).reduce(f64::max).or(before)
}
