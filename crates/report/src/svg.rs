//! A run as one self-contained picture: connections by replica as stacked areas against the target, the replicas
//! below, the autoscaler's decisions across both.
//!
//! No script, no font, no link: it looks the same in a browser, in a README and in an issue, and follows the reader's
//! light or dark theme.

mod canvas;
mod plot;

use platform::{
    EventKind,
    event::{LoadSummary, ScaleDelays},
};

use crate::{
    recording::Recording,
    words::{latency, seconds, thousands},
};
use canvas::Canvas;
use plot::{Frame, Mark, Span};

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 560.0;

/// Draws a recorded run.
pub fn svg(recording: &Recording) -> String {
    let series = recording.series();
    let mut canvas = Canvas::new(WIDTH, HEIGHT);
    canvas.text(32.0, 36.0, "title", "start", &title(recording));
    if let Some(subtitle) = subtitle(recording) {
        canvas.text(32.0, 58.0, "faint", "start", &subtitle);
    }
    // Slightly longer than the run, to show the effect of its last event.
    let end_ms = series.end_ms.saturating_add(series.end_ms / 40).max(1);
    let upper = Frame { left: 72.0, top: 108.0, width: 864.0, height: 268.0, end_ms };
    let lower = Frame { top: 436.0, height: 66.0, ..upper };
    plot::connections(&mut canvas, upper, series);
    plot::replicas(&mut canvas, lower, series);
    plot::spans(&mut canvas, upper, &spans(recording));
    plot::marks(&mut canvas, upper, lower, &marks(recording));
    plot::time_axis(&mut canvas, lower);
    canvas.finish()
}

fn summary(recording: &Recording) -> Option<&LoadSummary> {
    recording.events().iter().rev().find_map(|event| match &event.kind {
        EventKind::LoadFinished { summary } => Some(summary.as_ref()),
        _ => None,
    })
}

fn title(recording: &Recording) -> String {
    let plan = recording.events().iter().find_map(|event| match &event.kind {
        EventKind::LoadStarted { plan } => Some(plan),
        _ => None,
    });
    let platform = recording.events().iter().find_map(|event| match &event.kind {
        EventKind::PlatformStarted { platform, target, .. } => Some(format!("{platform}, {target}")),
        _ => None,
    });
    match (plan, platform) {
        (Some(plan), Some(platform)) => format!("{} · {platform}", plan.name),
        (Some(plan), None) => {
            let what = if plan.is_udp() { "peers" } else { "connections" };
            format!("{}: {} {what}", plan.name, thousands(plan.users()))
        }
        (None, Some(platform)) => platform,
        (None, None) => "Time line".to_owned(),
    }
}

/// The figures that summarise the run.
fn subtitle(recording: &Recording) -> Option<String> {
    let summary = summary(recording)?;
    let delay = |delays: &Option<ScaleDelays>| delays.as_ref().map(|delays| seconds(delays.total_ms));
    let totals = &summary.totals;
    let parts = [
        Some(if summary.plan.is_udp() {
            format!("{} sent, {} lost", thousands(totals.messages_sent), thousands(totals.datagrams_lost()))
        } else {
            format!("{} connected, {} lost", thousands(totals.connected_first), thousands(totals.lost))
        }),
        delay(&summary.scale_up).map(|delay| format!("scaled up in {delay}")),
        delay(&summary.scale_down).map(|delay| format!("down {delay} after the close")),
        (summary.message.count > 0).then(|| {
            format!(
                "message p50 {} ms, p99 {} ms",
                latency(summary.message.p50_us),
                latency(summary.message.p99_us)
            )
        }),
    ];
    Some(parts.into_iter().flatten().collect::<Vec<_>>().join("  ·  "))
}

/// Moments worth a line across the picture.
fn marks(recording: &Recording) -> Vec<Mark> {
    const MOST: usize = 24;
    let marks = recording.events().iter().filter_map(|event| {
        let (text, decision) = match &event.kind {
            EventKind::DesiredChanged { service, from, to, .. } => (format!("{service} {from} → {to}"), true),
            EventKind::ReplicasSet { service, from, to } => {
                (format!("{service} {from} → {to} by hand"), true)
            }
            EventKind::PodCrashed { pod, .. } => (format!("{pod} ended"), true),
            EventKind::MetricCrossed { above: true, .. } => ("above target".to_owned(), false),
            EventKind::RampDone { .. } => ("ramp done".to_owned(), false),
            EventKind::LoadClosed { .. } => ("all closed".to_owned(), false),
            _ => return None,
        };
        Some(Mark { t_ms: event.t_ms, text, decision })
    });
    marks.take(MOST).collect()
}

/// Where the time went between a cause and the autoscaler's reaction, as in the summary.
fn spans(recording: &Recording) -> Vec<Span> {
    let Some(summary) = summary(recording) else {
        return Vec::new();
    };
    let events = recording.events();
    let decided = events.iter().find_map(|event| match &event.kind {
        EventKind::DesiredChanged { from, to, .. } if to > from => Some(event.t_ms),
        _ => None,
    });
    let closed = events.iter().rev().find(|event| matches!(event.kind, EventKind::LoadClosed { .. }));
    let mut spans = Vec::new();
    if let (Some(delays), Some(decided)) = (&summary.scale_up, decided) {
        // The parts before the decision end with it; the replica starts after it.
        let before = delays.parts.iter().filter(|(name, _)| name != "pod").map(|(_, ms)| ms).sum();
        spans.extend(consecutive(delays, decided.saturating_sub(before)));
    }
    if let (Some(delays), Some(closed)) = (&summary.scale_down, closed) {
        spans.extend(consecutive(delays, closed.t_ms));
    }
    spans
}

fn consecutive(delays: &ScaleDelays, begin_ms: u64) -> impl Iterator<Item = Span> {
    delays.parts.iter().scan(begin_ms, |at, (name, ms)| {
        let span =
            Span { from_ms: *at, to_ms: at.saturating_add(*ms), text: format!("{name} {}", seconds(*ms)) };
        *at = span.to_ms;
        Some(span)
    })
}
