//! A run for a page.

use std::collections::BTreeMap;

use jiff::Timestamp;
use platform::{
    Event, EventKind,
    event::{ExpectationResult, LatencySummary, LoadSummary, LoadTick},
};
use serde::Serialize;

use super::{
    envelope::Envelope,
    figures::{self, Figure},
    lines::{Line, Lines, text},
    replicas::{self, Replicas},
    services::{self, Services, round},
};
use crate::words::thousands;

/// Maximum number of verdicts, and of notes.
const VERDICTS_MAX: usize = 1_000;
const NOTES_MAX: usize = 20;

/// Reads a run event by event and keeps what a page needs, bounded however long the run lasts.
#[derive(Debug, Clone, Default)]
pub struct Story {
    name: String,
    /// What a reader should know about the recording itself.
    notes: Vec<String>,
    began: Option<Timestamp>,
    end_ms: u64,
    platform: Option<String>,
    load: Option<Load>,
    summary: Option<Box<LoadSummary>>,
    checked: Vec<ExpectationResult>,
    /// Actions that failed.
    not_done: Vec<Verdict>,
    lines: Lines,
    services: Services,
    replicas: Replicas,
    open: Envelope<()>,
    connect: Envelope<Band>,
    first_byte: Envelope<Band>,
    message: Envelope<Band>,
}

/// Frequent changes, in short.
#[derive(Debug, Serialize)]
pub struct Pulse<'a> {
    t_ms: u64,
    /// Connections by replica; absent: nobody has counted yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    connections: Option<BTreeMap<&'a str, u64>>,
}

#[derive(Debug, Clone)]
struct Load {
    title: String,
    target: String,
}

/// Percentiles of one moment, µs.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Band {
    p50: u64,
    p90: u64,
    p99: u64,
}

/// The time, then p50, p90, p99 and the maximum in ms.
type Row = (u64, f64, f64, f64, f64);

/// An expectation and the observation.
#[derive(Debug, Clone, Serialize)]
struct Verdict {
    expectation: String,
    seen: String,
    met: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Drawn<'a> {
    name: &'a str,
    title: String,
    /// More about it, in single phrases.
    about: Vec<String>,
    notes: &'a [String],
    /// The start of the run's time, in milliseconds of the Unix clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    began_ms: Option<i64>,
    end_ms: u64,
    verdicts: Vec<Verdict>,
    /// A load started, but its end is missing.
    is_unfinished: bool,
    figures: Vec<Figure>,
    services: Vec<services::Drawn>,
    #[serde(flatten)]
    replicas: replicas::Drawn<'a>,
    /// Connections of the load.
    open: Vec<(u64, f64)>,
    connect: Vec<Row>,
    first_byte: Vec<Row>,
    message: Vec<Row>,
    events: Vec<&'a Line>,
    /// Events that do not fit.
    left_out: u64,
}

impl Story {
    /// `name`: identifies the run for a reader, such as the name of its file.
    pub fn new(name: &str) -> Self {
        Self { name: text(name), ..Self::default() }
    }

    /// A note about the recording for readers of the page.
    pub fn note(&mut self, note: &str) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(text(note));
        }
    }

    /// Processes the next event.
    pub fn push(&mut self, event: &Event) {
        self.began.get_or_insert_with(|| event.run_began());
        self.end_ms = self.end_ms.max(event.t_ms);
        self.lines.push(event);
        self.services.observe(event.t_ms, &event.kind);
        self.replicas.observe(event.t_ms, &event.kind);
        match &event.kind {
            EventKind::PlatformStarted { platform, target, gateway, .. } => {
                let gateway = if gateway.is_none() {
                    String::new()
                } else {
                    format!(", gateway: {}, {}", gateway.kind, gateway.policy)
                };
                self.platform = Some(text(&format!("{platform} on {target}{gateway}")));
            }
            EventKind::LoadStarted { plan } => {
                // Data of an earlier load.
                self.summary = None;
                self.checked.clear();
                self.not_done.clear();
                let what = if plan.is_udp() { "peers" } else { "connections" };
                self.load = Some(Load {
                    title: text(&format!("{}: {} {what}", plan.name, thousands(plan.users()))),
                    target: text(&plan.target),
                });
            }
            EventKind::LoadTick(tick) => self.tick(event.t_ms, tick),
            EventKind::ExpectationChecked(result) if self.checked.len() < VERDICTS_MAX => {
                self.checked.push(result.clone());
            }
            EventKind::ActionTaken { action, because, outcome, failed: true }
                if self.not_done.len() < VERDICTS_MAX =>
            {
                let expectation = text(&format!("action: {because}: {action}"));
                self.not_done.push(Verdict {
                    expectation,
                    seen: text(&format!("not done: {outcome}")),
                    met: false,
                });
            }
            EventKind::LoadFinished { summary } => self.summary = Some(summary.clone()),
            _ => {}
        }
    }

    fn tick(&mut self, t_ms: u64, tick: &LoadTick) {
        self.open.push(t_ms, tick.open as f64, ());
        for (bands, latency) in [
            (&mut self.connect, &tick.connect),
            (&mut self.first_byte, &tick.first_byte),
            (&mut self.message, &tick.message),
        ] {
            let LatencySummary { count, p50_us: p50, p90_us: p90, p99_us: p99, max_us, .. } = *latency;
            if count > 0 {
                bands.push(t_ms, max_us as f64, Band { p50, p90, p99 });
            }
        }
    }

    /// Frequent changes.
    pub fn pulse(&self) -> Pulse<'_> {
        Pulse { t_ms: self.end_ms, connections: self.replicas.latest() }
    }

    pub(super) fn title(&self) -> String {
        match (&self.load, &self.platform) {
            (Some(load), _) => load.title.clone(),
            (None, Some(platform)) => platform.clone(),
            (None, None) => self.name.clone(),
        }
    }

    pub(super) fn finish(&self) -> Drawn<'_> {
        let (events, left_out) = self.lines.finish();
        let summary = self.summary.as_deref();
        let results = match summary {
            Some(summary) if !summary.expectations.is_empty() => &summary.expectations,
            _ => &self.checked,
        };
        let mut verdicts: Vec<Verdict> = results.iter().take(VERDICTS_MAX).map(Verdict::of).collect();
        verdicts.extend(self.not_done.iter().cloned());
        Drawn {
            name: &self.name,
            title: self.title(),
            about: self.about(),
            notes: &self.notes,
            began_ms: self.began.map(Timestamp::as_millisecond),
            end_ms: self.end_ms,
            verdicts,
            is_unfinished: self.load.is_some() && summary.is_none(),
            figures: summary.map(figures::of).unwrap_or_default(),
            services: self.services.finish(&self.replicas),
            replicas: self.replicas.finish(),
            open: self.open.samples().iter().map(|sample| (sample.t_ms, sample.key)).collect(),
            connect: bands(&self.connect),
            first_byte: bands(&self.first_byte),
            message: bands(&self.message),
            events,
            left_out,
        }
    }

    fn about(&self) -> Vec<String> {
        let began = self.began.map(|began| format!("began {began:.0}"));
        let load = self.load.as_ref();
        let ended = self.summary.as_ref().and_then(|summary| {
            let early = summary.ended_early.as_deref().map(|why| text(&format!("ended early: {why}")));
            early.or_else(|| summary.interrupted.then(|| "interrupted".to_owned()))
        });
        let parts = [
            load.and(self.platform.clone()),
            load.map(|load| format!("clients connect to {}", load.target)),
            began,
            ended,
        ];
        parts.into_iter().flatten().collect()
    }
}

impl Verdict {
    fn of(result: &ExpectationResult) -> Self {
        Self { expectation: text(&result.expectation), seen: text(&result.seen), met: result.met }
    }
}

fn bands(samples: &Envelope<Band>) -> Vec<Row> {
    let ms = |us: f64| round(us / 1e3);
    let row = |t_ms: u64, max_us: f64, band: Band| {
        let Band { p50, p90, p99 } = band;
        (t_ms, ms(p50 as f64), ms(p90 as f64), ms(p99 as f64), ms(max_us))
    };
    samples.samples().iter().map(|sample| row(sample.t_ms, sample.key, sample.more)).collect()
}
