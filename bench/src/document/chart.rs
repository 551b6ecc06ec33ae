//! The chart: the distance of each figure from its goal.

use std::fmt::Write;

use super::table;
use crate::results::Results;

const LABEL: f64 = 300.0;
const BAR: f64 = 360.0;
const VALUE: f64 = 220.0;
const LINE: f64 = 26.0;
const TOP: f64 = 56.0;

/// The axis is logarithmic and reaches from a quarter of the goal to sixteen times it.
const LOWEST: f64 = 0.25;
const HIGHEST: f64 = 16.0;

/// A bar for each goal; the line in the middle of the axis is the goal, right of it is better.
pub(super) fn svg(results: &Results) -> String {
    let verdicts: Vec<_> = results.verdicts().collect();
    let (width, height) = (LABEL + BAR + VALUE, TOP + LINE * verdicts.len() as f64 + 12.0);
    let goal = position(1.0);
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif" font-size="13">
<title>Distance of each figure from its goal</title>
<rect width="{width}" height="{height}" fill="#ffffff"/>
<text x="12" y="22" font-weight="600" fill="#1b1f24">Distance from the goal, median of the rounds</text>
<text x="{goal}" y="44" text-anchor="middle" fill="#57606a">goal</text>
"##
    );
    for mark in [0.5, 2.0, 4.0, 8.0] {
        let x = position(mark);
        let _ = writeln!(
            svg,
            r##"<text x="{x:.1}" y="44" text-anchor="middle" fill="#8c959f">{mark} ×</text><line x1="{x:.1}" y1="50" x2="{x:.1}" y2="{height}" stroke="#eaeef2"/>"##
        );
    }
    for (index, (row, outcome, verdict)) in verdicts.iter().enumerate() {
        let y = TOP + LINE * index as f64;
        let end = position(verdict.goal.margin(verdict.reached.median));
        let colour = if verdict.met { "#1a7f37" } else { "#bc4c00" };
        let against = verdict.goal.against().map_or(String::new(), |other| format!(" / {}", other.name()));
        let _ = writeln!(
            svg,
            r##"<text x="{}" y="{:.1}" text-anchor="end" fill="#1b1f24">{} {}{}</text><rect x="{:.1}" y="{:.1}" width="{:.1}" height="14" rx="2" fill="{colour}"/><text x="{}" y="{:.1}" fill="#57606a">{}, goal {}</text>"##,
            LABEL - 10.0,
            y + 15.0,
            row.name,
            escape(&short(&outcome.title)),
            against,
            goal.min(end),
            y + 4.0,
            (end - goal).abs().max(1.5),
            LABEL + BAR + 10.0,
            y + 15.0,
            escape(&median(outcome, verdict)),
            escape(&verdict.goal.in_words(outcome.unit)),
        );
    }
    let _ = writeln!(svg, r##"<line x1="{goal}" y1="50" x2="{goal}" y2="{height}" stroke="#57606a"/>"##);
    svg.push_str("</svg>\n");
    svg
}

fn position(margin: f64) -> f64 {
    let part = (margin.clamp(LOWEST, HIGHEST) / LOWEST).log2() / (HIGHEST / LOWEST).log2();
    LABEL + part * BAR
}

/// The name of a row with a single figure says what the figure is.
fn short(title: &str) -> String {
    match title {
        "messages" | "connections" | "bytes echoed" | "bytes forwarded" | "steps" => String::new(),
        other => other.to_owned(),
    }
}

fn median(outcome: &crate::results::Outcome, verdict: &crate::results::Verdict) -> String {
    let words = table::reached(outcome, verdict);
    words.split(" (").next().unwrap_or(&words).to_owned()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
