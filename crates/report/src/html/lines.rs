//! The events of a run in words.

use platform::{Event, EventKind};
use serde::Serialize;

use crate::{
    escape::visible,
    style::Tone,
    timeline::{Entry, incidents::Incidents, lines},
};

/// Maximum number of lines kept while a run is read, and maximum bytes of them in a page.
const LINES_MAX: usize = 20_000;
const BYTES_MAX: usize = 1_200_000;
/// Maximum length of a line's text.
const CHARACTERS_MAX: usize = 600;
/// Approximate overhead of a line in addition to its texts.
const BYTES_BESIDE: usize = 90;

/// One event in words.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Line {
    t_ms: u64,
    /// `desired`, `pod`, `load`…
    kind: &'static str,
    tone: &'static str,
    what: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    why: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    more: Vec<String>,
    /// The service concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    /// Worth a mark in the time line.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    mark: bool,
}

/// Turns events into lines. Bounded: beyond the limits, lines are only counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines {
    kept: Vec<Line>,
    context: lines::Context,
    incidents: Incidents,
    left_out: u64,
}

impl Lines {
    pub(super) fn push(&mut self, event: &Event) {
        let incident = self.incidents.observe(event);
        let own = lines::of(event, &self.context);
        self.context.observe(event);
        for (entry, is_own) in
            incident.map(|entry| (entry, false)).into_iter().chain(own.map(|own| (own, true)))
        {
            if self.kept.len() >= LINES_MAX {
                self.left_out += 1;
                continue;
            }
            let kind = is_own.then_some(&event.kind);
            self.kept.push(Line::new(event.t_ms, entry, kind));
        }
    }

    /// The lines for a page, in chronological order, and how many do not fit. The least important ones are left out
    /// first.
    pub(super) fn finish(&self) -> (Vec<&Line>, u64) {
        let mut by_weight: Vec<usize> = (0..self.kept.len()).collect();
        by_weight.sort_by_key(|index| self.kept[*index].weight());
        let mut room = BYTES_MAX;
        by_weight.retain(|index| {
            let bytes = self.kept[*index].bytes();
            room = room.saturating_sub(bytes);
            room > 0
        });
        by_weight.sort_unstable();
        let left_out = self.left_out + (self.kept.len() - by_weight.len()) as u64;
        let mut lines: Vec<&Line> = by_weight.into_iter().map(|index| &self.kept[index]).collect();
        // An event of another stream may have arrived late.
        lines.sort_by_key(|line| line.t_ms);
        (lines, left_out)
    }
}

impl Line {
    fn new(t_ms: u64, entry: Entry, kind: Option<&EventKind>) -> Self {
        let Entry { kind: word, tone, what, why, more } = entry;
        Self {
            t_ms,
            kind: word,
            tone: tone_name(tone),
            what: text(&what),
            why: text(&why),
            more: more.iter().map(|more| text(more)).collect(),
            service: kind.and_then(service_of).map(text),
            mark: kind.is_some_and(is_marked),
        }
    }

    /// Lower is more important.
    fn weight(&self) -> u8 {
        match self.tone {
            "decision" | "bad" => 0,
            "faint" => 2,
            _ => 1,
        }
    }

    fn bytes(&self) -> usize {
        // In JSON, a character of a text takes up to six bytes; nearly all take one.
        let escaped = |text: &String| text.len() + 5 * text.matches(['<', '>', '&', '"', '\\']).count();
        let service = self.service.as_ref().map_or(0, escaped);
        let more: usize = self.more.iter().map(|more| escaped(more) + 3).sum();
        BYTES_BESIDE + escaped(&self.what) + escaped(&self.why) + more + service
    }
}

/// Text from outside, made safe for a page.
pub(super) fn text(text: &str) -> String {
    let shown = visible(text);
    match shown.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &shown[..end]),
        None => shown.into_owned(),
    }
}

fn is_marked(kind: &EventKind) -> bool {
    match kind {
        EventKind::Balanced { orders, .. } => !orders.is_empty(),
        EventKind::DesiredChanged { .. }
        | EventKind::ReplicasSet { .. }
        | EventKind::ScaleDownHeld { .. }
        | EventKind::MetricCrossed { .. }
        | EventKind::TrafficChanged { .. }
        | EventKind::PodCrashed { .. }
        | EventKind::ActionTaken { .. }
        | EventKind::RampDone { .. }
        | EventKind::LoadClosed { .. } => true,
        _ => false,
    }
}

fn service_of(kind: &EventKind) -> Option<&str> {
    match kind {
        EventKind::DesiredChanged { service, .. }
        | EventKind::ReplicasSet { service, .. }
        | EventKind::ScaleDownHeld { service, .. }
        | EventKind::MetricCrossed { service, .. }
        | EventKind::TrafficChanged { service, .. }
        | EventKind::Balanced { service, .. }
        | EventKind::PodStarting { service, .. }
        | EventKind::PodReady { service, .. }
        | EventKind::PodUnready { service, .. }
        | EventKind::PodDraining { service, .. }
        | EventKind::PodGone { service, .. }
        | EventKind::PodCrashed { service, .. } => Some(service),
        _ => None,
    }
}

fn tone_name(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain | Tone::Strong => "plain",
        Tone::Faint => "faint",
        Tone::Load => "load",
        Tone::Metric | Tone::Target => "metric",
        Tone::Decision => "decision",
        Tone::Pod => "pod",
        Tone::Good => "good",
        Tone::Bad => "bad",
    }
}
