//! The plots in the picture.

use std::collections::{BTreeMap, BTreeSet};

use super::canvas::{AREAS, Canvas};
use crate::{
    chart::round_up,
    series::{Connections, Series},
    words::{compact, is_known, mark, thousands},
};

/// Points of an area: more than there are pixels would only make the file larger.
const POINTS_MAX: usize = 480;

/// The position of a plot, and its time range.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) end_ms: u64,
}

/// A moment with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) t_ms: u64,
    pub(super) text: String,
    pub(super) decision: bool,
}

/// A stretch of time with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from_ms: u64,
    pub(super) to_ms: u64,
    pub(super) text: String,
}

impl Frame {
    fn x(self, t_ms: u64) -> f64 {
        self.left + self.width * t_ms.min(self.end_ms) as f64 / self.end_ms as f64
    }

    fn y(self, value: f64, top: f64) -> f64 {
        self.bottom() - self.height * (value / top).clamp(0.0, 1.0)
    }

    fn bottom(self) -> f64 {
        self.top + self.height
    }
}

/// Stacked areas of the replicas' connections, or messages a second, and the target times the replicas.
pub(super) fn connections(canvas: &mut Canvas, frame: Frame, series: &Series) {
    let open = series.load();
    let busiest = series.busiest();
    let target = busiest.and_then(|(_, of)| Some((of, of.target.as_ref()?.1 as f64 / 1000.0)));
    let wanted = target.map_or(0.0, |(of, target)| {
        of.desired.iter().map(|(_, replicas)| f64::from(*replicas) * target).fold(0.0, f64::max)
    });
    // Leave room above for the names of the marks.
    let top = round_up(open.iter().map(|(_, open)| *open).fold(wanted, f64::max) * 1.15);
    for part in 0..=4 {
        let value = top * f64::from(part) / 4.0;
        let y = frame.y(value, top);
        canvas.line("grid", (frame.left, y), (frame.left + frame.width, y));
        canvas.text(frame.left - 10.0, y + 4.0, "faint", "end", &compact(value));
    }
    let mut legend = Vec::new();
    let samples = thinned(series.connections.list());
    let mut below: BTreeMap<u64, f64> = BTreeMap::new();
    let groups = groups(&samples);
    // One area without a name needs no legend.
    let is_told = groups.iter().any(|(label, _)| is_known(label));
    for (index, (label, names)) in groups.into_iter().enumerate() {
        let mut lower = Vec::new();
        let mut upper = Vec::new();
        let mut most = 0.0_f64;
        for (t_ms, seen) in &samples {
            let base = below.entry(*t_ms).or_default();
            lower.push((frame.x(*t_ms), frame.y(*base, top)));
            let open =
                names.iter().filter_map(|name| seen.by_replica.get(*name)).map(|open| *open as f64).sum();
            most = most.max(open);
            *base += open;
            upper.push((frame.x(*t_ms), frame.y(*base, top)));
        }
        let class = format!("a{} area", index % AREAS);
        canvas.path(&class, upper.into_iter().chain(lower.into_iter().rev()), true);
        // Invisible areas need no name: connections of the last moment, whose replica is not known yet.
        if is_told && most * frame.height / top >= 1.0 {
            legend.push((class, label));
        }
    }
    let line = thinned(&open).into_iter().map(|(t_ms, open)| (frame.x(*t_ms), frame.y(*open, top)));
    canvas.path("open", line, false);
    if let Some((of, target)) = target {
        let value = |replicas: u32| frame.y(f64::from(replicas) * target, top);
        canvas.path("target", steps(&of.desired, frame, value), false);
    }
    draw_legend(canvas, frame, series.unit(), &legend, target.map(|(_, target)| target));
}

/// Which replicas share an area: each has its own, and those beyond the limit share one.
fn groups<'a>(samples: &[&'a (u64, Connections)]) -> Vec<(String, Vec<&'a String>)> {
    const GROUPS_MAX: usize = 24;
    let names: BTreeSet<&String> = samples.iter().flat_map(|(_, seen)| seen.by_replica.keys()).collect();
    let mut names: Vec<_> = names.into_iter().collect();
    let others = if names.len() > GROUPS_MAX { names.split_off(GROUPS_MAX - 1) } else { Vec::new() };
    let mut groups: Vec<_> = names.into_iter().map(|name| (name.clone(), vec![name])).collect();
    if !others.is_empty() {
        groups.push((format!("{} others", others.len()), others));
    }
    groups
}

fn draw_legend(
    canvas: &mut Canvas,
    frame: Frame,
    unit: &str,
    areas: &[(String, String)],
    target: Option<f64>,
) {
    const SHOWN: usize = 8;
    // Wide enough for any glyph of a system font at this size.
    let advance = |text: &str| 30.0 + 7.0 * text.chars().count() as f64;
    let y = frame.top - 22.0;
    let mut x = frame.left;
    canvas.text(x, y, "text", "start", unit);
    x += advance(unit);
    for (class, name) in areas.iter().take(SHOWN) {
        canvas.rect(class, (x, y - 9.0), (10.0, 10.0));
        canvas.text(x + 15.0, y, "faint", "start", name);
        x += advance(name);
    }
    if areas.len() > SHOWN {
        let more = format!("and {} more", areas.len() - SHOWN);
        canvas.text(x, y, "faint", "start", &more);
        x += advance(&more);
    }
    if let Some(target) = target {
        canvas.line("target", (x, y - 4.0), (x + 22.0, y - 4.0));
        let text = format!("target {} × replicas", thousands(target as u64));
        canvas.text(x + 28.0, y, "targettext", "start", &text);
    }
}

/// The desired replicas, as steps.
pub(super) fn replicas(canvas: &mut Canvas, frame: Frame, series: &Series) {
    let Some((name, of)) = series.busiest() else {
        return;
    };
    canvas.text(frame.left, frame.top - 10.0, "text", "start", &format!("{name} replicas"));
    let most = of.desired.iter().map(|(_, replicas)| *replicas).max().unwrap_or(1).max(1);
    let every = most.div_ceil(5);
    for replicas in (0..=most).step_by(every as usize) {
        let y = frame.y(f64::from(replicas), f64::from(most));
        canvas.line("grid", (frame.left, y), (frame.left + frame.width, y));
        canvas.text(frame.left - 10.0, y + 4.0, "faint", "end", &replicas.to_string());
    }
    let points: Vec<_> =
        steps(&of.desired, frame, |replicas| frame.y(f64::from(replicas), f64::from(most))).collect();
    let ground = [(frame.left + frame.width, frame.bottom()), (frame.left, frame.bottom())];
    canvas.path("under", points.iter().copied().chain(ground), true);
    canvas.path("replicas", points, false);
}

/// Lines across both plots; names on up to three levels, so that neighbouring ones are readable.
pub(super) fn marks(canvas: &mut Canvas, upper: Frame, lower: Frame, marks: &[Mark]) {
    const LEVELS: usize = 3;
    let mut free = [f64::MIN; LEVELS];
    for mark in marks {
        let x = upper.x(mark.t_ms);
        let width = 8.0 + 6.6 * mark.text.chars().count() as f64;
        let (line, text) = if mark.decision { ("decision", "decisiontext") } else { ("moment", "faint") };
        let bottom = if mark.decision { lower.bottom() } else { upper.bottom() };
        canvas.line(line, (x, upper.top), (x, bottom));
        // Near the right edge the name goes to the left of its line.
        let (anchor, from, at) = if x + width > upper.left + upper.width {
            ("end", x - width, x - 4.0)
        } else {
            ("start", x, x + 4.0)
        };
        let Some(level) = free.iter().position(|end| *end <= from) else {
            continue;
        };
        free[level] = from + width;
        canvas.text(at, upper.top + 12.0 + 14.0 * level as f64, text, anchor, &mark.text);
    }
}

/// Bars below a plot, next to one another; named if the name fits.
pub(super) fn spans(canvas: &mut Canvas, frame: Frame, spans: &[Span]) {
    let top = frame.bottom() + 8.0;
    for (index, span) in spans.iter().enumerate() {
        let (from, to) = (frame.x(span.from_ms), frame.x(span.to_ms));
        let class = if index % 2 == 0 { "span" } else { "span other" };
        canvas.rect(class, (from, top), ((to - from).max(1.0), 16.0));
        if to - from > 6.6 * span.text.chars().count() as f64 {
            canvas.text(f64::midpoint(from, to), top + 12.0, "faint", "middle", &span.text);
        }
    }
}

pub(super) fn time_axis(canvas: &mut Canvas, frame: Frame) {
    const STEPS_S: [u64; 12] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1_800, 3_600];
    const MOST: u64 = 12;
    let y = frame.bottom();
    let step = STEPS_S.iter().map(|seconds| seconds * 1000).find(|step| frame.end_ms / step <= MOST);
    let step = step.unwrap_or(frame.end_ms.div_ceil(MOST).next_multiple_of(3_600_000));
    let moments = std::iter::successors(Some(0_u64), |moment| moment.checked_add(step));
    for moment in moments.take_while(|moment| *moment <= frame.end_ms) {
        let x = frame.x(moment);
        canvas.line("grid", (x, y), (x, y + 5.0));
        canvas.text(x, y + 20.0, "faint", "middle", &mark(moment));
    }
    canvas.text(frame.left + frame.width, y + 38.0, "faint", "end", "minutes:seconds since the run began");
}

/// Corner points of a step line, up to the frame's end.
fn steps(changes: &[(u64, u32)], frame: Frame, y: impl Fn(u32) -> f64) -> impl Iterator<Item = (f64, f64)> {
    let mut points = Vec::with_capacity(changes.len() * 2 + 1);
    for (t_ms, replicas) in changes {
        let x = frame.x(*t_ms);
        if let Some((_, before)) = points.last().copied() {
            points.push((x, before));
        }
        points.push((x, y(*replicas)));
    }
    if let Some((_, last)) = points.last().copied() {
        points.push((frame.x(frame.end_ms), last));
    }
    points.into_iter()
}

/// At most [`POINTS_MAX`] of the samples, including the first and the last.
fn thinned<T>(samples: &[T]) -> Vec<&T> {
    let stride = samples.len().div_ceil(POINTS_MAX).max(1);
    let mut thinned: Vec<_> = samples.iter().step_by(stride).collect();
    if samples.len() > 1 && !(samples.len() - 1).is_multiple_of(stride) {
        thinned.extend(samples.last());
    }
    thinned
}
