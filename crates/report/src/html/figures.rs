//! The figures of a run, in a form that two runs can be compared by.

use platform::event::{Counters, LatencySummary, LoadSummary, ScaleDelays};
use serde::Serialize;

/// One figure. Runs have the same figures in the same order, as far as they have them.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Figure {
    name: String,
    value: f64,
    unit: Unit,
    /// Whether less of it is better, or more; absent: neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    better: Option<Better>,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Unit {
    Count,
    Ms,
    Ratio,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Better {
    Less,
    More,
}

/// Of a load that came to its end.
pub(super) fn of(summary: &LoadSummary) -> Vec<Figure> {
    let totals = &summary.totals;
    let mut figures = Vec::new();
    let mut count = |name: &str, value: u64, better| {
        figures.push(Figure { name: name.to_owned(), value: value as f64, unit: Unit::Count, better });
    };
    count("connections of the plan", summary.plan.users(), None);
    count("connected", totals.connected_first, Some(Better::More));
    count("open at once, at most", summary.open_max, None);
    for (name, value) in unwanted(totals) {
        // What never happened in either run says nothing, except that no connection was lost.
        if value > 0 || name == "lost" {
            count(name, value, Some(Better::Less));
        }
    }
    if totals.messages_sent > 0 {
        count("messages sent", totals.messages_sent, None);
        count("messages answered", totals.messages_answered, Some(Better::More));
    }
    let latencies = [
        ("connect", &summary.connect),
        ("first byte", &summary.first_byte),
        ("message", &summary.message),
        ("reconnect", &summary.reconnect),
        ("broadcast", &summary.broadcast),
        ("gap", &summary.gap),
    ];
    for (name, latency) in latencies {
        figures.extend(percentiles(name, latency));
    }
    let delays = [("scale-up", &summary.scale_up), ("scale-down", &summary.scale_down)];
    figures.extend(delays.into_iter().flat_map(|(name, delays)| parts(name, delays.as_ref())));
    if let Some(skew) = summary.skew.filter(|_| summary.shares.len() > 1) {
        figures.push(ratio("fullest replica over the mean", skew.max_over_mean, Better::Less));
        figures.push(ratio("Jain's index", skew.jain, Better::More));
    }
    figures.push(ms("took", summary.took_ms as f64, None));
    figures
}

fn unwanted(totals: &Counters) -> [(&'static str, u64); 16] {
    [
        ("lost", totals.lost),
        ("refused", totals.refused),
        ("reset", totals.reset),
        ("timed out connecting", totals.connect_timeouts),
        ("could not connect", totals.connect_errors),
        ("told to reconnect", totals.notices),
        ("came back", totals.reconnected),
        ("ended by the server", totals.eof),
        ("given up", totals.given_up),
        ("away at the end", totals.stayed_away),
        ("messages not answered in time", totals.message_timeouts),
        ("messages answered wrongly", totals.messages_wrong),
        ("messages late", totals.messages_late),
        ("messages lost", totals.messages_lost),
        ("messages doubled", totals.messages_duplicated),
        ("messages reordered", totals.messages_reordered),
    ]
}

fn percentiles(name: &str, latency: &LatencySummary) -> Vec<Figure> {
    if latency.count == 0 {
        return Vec::new();
    }
    let LatencySummary { p50_us, p99_us, max_us, .. } = *latency;
    [("p50", p50_us), ("p99", p99_us), ("max", max_us)]
        .map(|(which, us)| ms(&format!("{name} {which}"), us as f64 / 1e3, Some(Better::Less)))
        .into()
}

fn parts(name: &str, delays: Option<&ScaleDelays>) -> Vec<Figure> {
    let Some(delays) = delays else { return Vec::new() };
    let all = ms(name, delays.total_ms as f64, Some(Better::Less));
    let parts = delays.parts.iter().take(8);
    let parts = parts.map(|(part, took)| ms(&format!("{name}: {part}"), *took as f64, Some(Better::Less)));
    std::iter::once(all).chain(parts).collect()
}

fn ms(name: &str, value: f64, better: Option<Better>) -> Figure {
    Figure { name: super::lines::text(name), value, unit: Unit::Ms, better }
}

fn ratio(name: &str, value: f64, better: Better) -> Figure {
    Figure { name: name.to_owned(), value, unit: Unit::Ratio, better: Some(better) }
}
