//! The figures of a run, in a format that allows comparing two runs.

use platform::event::{Counters, Ending, LatencySummary, LoadSummary, ScaleDelays};
use serde::Serialize;

/// Maximum number of codes by which connections ended.
const ENDINGS_MAX: usize = 32;

/// One figure. Runs have the same figures in the same order, as far as they have them.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Figure {
    name: String,
    value: f64,
    unit: Unit,
    /// Whether less or more of it is better; absent: neither.
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

/// For a finished load: all numbers in the terminal's summary.
pub(super) fn of(summary: &LoadSummary) -> Vec<Figure> {
    let totals = &summary.totals;
    let mut figures = Figures::default();
    if summary.plan.is_udp() {
        peers(&mut figures, summary);
    } else {
        connections(&mut figures, summary);
        messages(&mut figures, totals);
        numbered(&mut figures, summary);
        streamed(&mut figures, summary);
        broadcasts(&mut figures, totals);
    }
    let latencies = [
        ("connect", &summary.connect),
        ("first byte", &summary.first_byte),
        ("message", &summary.message),
        ("lateness", &summary.lateness),
        ("reconnect", &summary.reconnect),
        ("broadcast", &summary.broadcast),
        ("gap", &summary.gap),
        ("gap without its own delay", &summary.gap_without_delay),
        ("between two events", &summary.event_gap),
    ];
    let mut figures = figures.0;
    for (name, latency) in latencies {
        figures.extend(percentiles(name, latency));
    }
    let delays = [("scale-up", &summary.scale_up), ("scale-down", &summary.scale_down)];
    figures.extend(delays.into_iter().flat_map(|(name, delays)| parts(name, delays.as_ref())));
    if let Some(skew) = summary.skew.filter(|_| summary.shares.len() > 1) {
        figures.push(ratio("fullest replica over the mean, at the peak", skew.max_over_mean, Better::Less));
        figures.push(ratio("Jain's index, at the peak", skew.jain, Better::More));
    }
    figures.push(ms("took", summary.took_ms as f64, None));
    figures
}

#[derive(Default)]
struct Figures(Vec<Figure>);

impl Figures {
    /// A figure that matters even if it is 0.
    fn count(&mut self, name: &str, value: u64, better: Option<Better>) {
        self.0.push(Figure { name: name.to_owned(), value: value as f64, unit: Unit::Count, better });
    }

    /// Unwanted things, if they happened. Beside a run that has one, another run shows none.
    fn unwanted<'a>(&mut self, counts: impl IntoIterator<Item = (&'a str, u64)>) {
        for (name, value) in counts.into_iter().filter(|(_, value)| *value > 0) {
            self.count(name, value, Some(Better::Less));
        }
    }
}

fn connections(figures: &mut Figures, summary: &LoadSummary) {
    let totals = &summary.totals;
    figures.count("connections of the plan", summary.plan.users(), None);
    figures.count("connected", totals.connected_first, Some(Better::More));
    figures.count("open at once, at most", summary.open_max, None);
    figures.count("lost", totals.lost, Some(Better::Less));
    figures.count("refused", totals.refused, Some(Better::Less));
    figures.unwanted([
        ("reset", totals.reset),
        ("timed out connecting", totals.connect_timeouts),
        ("could not connect", totals.connect_errors),
        ("still connecting at the end", totals.connects_cut_off),
        ("ended by the server", totals.eof),
        ("given up without an answer", totals.given_up),
        ("given up for breaking the protocol", totals.protocol_errors),
        ("told to reconnect", totals.notices),
        ("refused without a word when to come back", totals.refused_without_hint),
        ("away at the end", totals.stayed_away),
    ]);
    if totals.reconnected > 0 {
        figures.count("came back", totals.reconnected, None);
    }
    // The codes of one server are few; another's reasons may be anything.
    for Ending { code, reason, count } in summary.endings.iter().take(ENDINGS_MAX) {
        let gap = if reason.is_empty() { "" } else { " " };
        figures.count(&super::lines::text(&format!("ended by {code}{gap}{reason}")), *count, None);
    }
}

fn messages(figures: &mut Figures, totals: &Counters) {
    if totals.messages_sent == 0 {
        return;
    }
    figures.count("messages sent", totals.messages_sent, None);
    figures.count("messages answered", totals.messages_answered, Some(Better::More));
    figures.count("messages late", totals.messages_late, Some(Better::Less));
    figures.unwanted([
        ("messages not answered in time", totals.message_timeouts),
        ("messages cut off", totals.messages_cut_off),
        ("messages answered wrongly", totals.messages_wrong),
        ("messages due but never sent", totals.messages_never_sent),
    ]);
}

fn numbered(figures: &mut Figures, summary: &LoadSummary) {
    if !summary.plan.sequence {
        return;
    }
    let totals = &summary.totals;
    figures.count("numbered messages lost", totals.messages_lost, Some(Better::Less));
    figures.count("numbered messages doubled", totals.messages_duplicated, Some(Better::Less));
    figures.count("numbered messages reordered", totals.messages_reordered, Some(Better::Less));
    figures.count("moves", totals.moves, None);
    figures.count("moves to another replica", totals.moves_elsewhere, None);
    figures.unwanted([
        ("sent again after the server's word to come back", totals.messages_resumed),
        ("answered too late", totals.messages_overdue),
        ("answers to nothing", totals.messages_stray),
    ]);
}

fn streamed(figures: &mut Figures, summary: &LoadSummary) {
    if summary.plan.protocol != "sse" {
        return;
    }
    figures.count("events received", summary.totals.events, Some(Better::More));
    figures.count("events missed", summary.totals.events_missed, Some(Better::Less));
    figures.unwanted([
        ("streams refused without the lock", summary.totals.streams_refused),
        ("times a pair was held by two", summary.totals.pairs_held_twice),
    ]);
}

fn broadcasts(figures: &mut Figures, totals: &Counters) {
    if totals.broadcasts_sent == 0 {
        return;
    }
    figures.count("broadcasts sent", totals.broadcasts_sent, None);
    figures.count("broadcasts due", totals.broadcasts_due, None);
    figures.count("broadcasts received", totals.broadcasts_received, Some(Better::More));
    figures.count("broadcasts missed", totals.broadcasts_missed, Some(Better::Less));
    figures.count("broadcasts doubled", totals.broadcasts_doubled, Some(Better::Less));
    figures.unwanted([("broadcasts answered with an error", totals.broadcasts_refused)]);
}

fn peers(figures: &mut Figures, summary: &LoadSummary) {
    let totals = &summary.totals;
    figures.count("peers of the plan", summary.plan.connections, None);
    figures.count("peers open", totals.connected_first, Some(Better::More));
    figures.unwanted([
        ("told that nobody listens there", totals.refused),
        ("errors of the network", totals.connect_errors),
    ]);
    if totals.messages_sent == 0 {
        return;
    }
    figures.count("datagrams sent", totals.messages_sent, None);
    figures.count("datagrams answered", totals.messages_answered, Some(Better::More));
    figures.count("datagrams lost", totals.datagrams_lost(), Some(Better::Less));
    figures.count("datagrams duplicated", totals.messages_duplicated, Some(Better::Less));
    figures.count("datagrams reordered", totals.messages_reordered, Some(Better::Less));
    figures.count("datagrams late", totals.messages_late, Some(Better::Less));
    figures.unwanted([
        ("dropped at our own sockets", totals.receive_drops),
        ("answers too late", totals.messages_overdue),
        ("answers that were wrong", totals.messages_wrong),
        ("datagrams that answer nothing", totals.messages_stray),
        ("datagrams cut off", totals.messages_cut_off),
        ("datagrams due but never sent", totals.messages_never_sent),
    ]);
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
