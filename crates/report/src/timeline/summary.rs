//! The block of figures below the charts.

use platform::event::{ExpectationResult, LatencySummary, LoadSummary, ReplicaShare, ScaleDelays};

use super::wrap;
use crate::{
    style::{Style, Tone},
    words::{ending, is_known, latency, milli, plural, seconds, tenths, thousands},
};

const INDENT: usize = 15;

/// `target`: the metric's target per replica in milli-units, if one is known.
pub(super) fn lines(summary: &LoadSummary, target: Option<i64>, style: Style) -> Vec<String> {
    let mut block = Block { style, lines: Vec::new() };
    if summary.interrupted {
        block.row("interrupted", "the figures are those up to the interruption", Tone::Bad);
    }
    if let Some(why) = &summary.ended_early {
        block.row("ended early", why, Tone::Bad);
    }
    if summary.plan.is_udp() {
        peers(summary, &mut block);
        datagrams(summary, &mut block);
    } else {
        connections(summary, &mut block);
        endings(summary, &mut block);
        messages(summary, &mut block);
        sequence(summary, &mut block);
        events(summary, &mut block);
        broadcasts(summary, &mut block);
    }
    if let Some(delays) = &summary.scale_up {
        let line = target.map_or_else(
            || "target and tolerance".to_owned(),
            |target| milli(target.saturating_add(target / 10)),
        );
        block.row("scale-up", &delay_words(delays, &format!("after the average passed {line}")), Tone::Plain);
    }
    if let Some(delays) = &summary.scale_down {
        block.row("scale-down", &delay_words(delays, "after the last close"), Tone::Plain);
    }
    latencies(summary, &mut block);
    shares(summary, &mut block);
    for (index, result) in summary.expectations.iter().enumerate() {
        block.expectation(if index == 0 { "expectations" } else { "" }, result);
    }
    block.lines
}

struct Block {
    style: Style,
    lines: Vec<String>,
}

impl Block {
    fn row(&mut self, name: &str, text: &str, tone: Tone) {
        let name = self.style.paint(Tone::Strong, &format!("  {name:<13}"));
        for (index, line) in wrap(text, self.style.width() - INDENT).iter().enumerate() {
            let head = if index == 0 { name.clone() } else { " ".repeat(INDENT) };
            self.lines.push(format!("{head}{}", self.style.paint(tone, line)).trim_end().to_owned());
        }
    }

    fn expectation(&mut self, name: &str, result: &ExpectationResult) {
        let (sign, tone) = if result.met { ("✓", Tone::Good) } else { ("✗", Tone::Bad) };
        let sign = self.style.paint(tone, sign);
        let name = self.style.paint(Tone::Strong, &format!("  {name:<13}"));
        let text = format!("{}  (seen: {})", result.expectation, result.seen);
        for (index, line) in wrap(&text, self.style.width() - INDENT - 2).iter().enumerate() {
            let head = if index == 0 { format!("{name}{sign} ") } else { " ".repeat(INDENT + 2) };
            self.lines.push(format!("{head}{line}"));
        }
    }
}

fn connections(summary: &LoadSummary, block: &mut Block) {
    let totals = &summary.totals;
    let mut parts = vec![
        format!("{} of {} connected", thousands(totals.connected_first), thousands(summary.plan.users())),
        format!("{} lost", thousands(totals.lost)),
        format!("{} refused", thousands(totals.refused)),
    ];
    let more = [
        (totals.connect_timeouts, "timed out connecting"),
        (totals.connect_errors, "could not connect"),
        (totals.connects_cut_off, "still connecting at the end"),
        (totals.reset, "reset"),
        (totals.eof, "ended by the server"),
        (totals.given_up, "given up without an answer"),
        (totals.protocol_errors, "given up for breaking the protocol"),
        (totals.notices, "told to reconnect"),
        // Over TCP nobody can say when.
        (
            if summary.plan.protocol == "tcp" { 0 } else { totals.refused_without_hint },
            "refused without a word when to come back",
        ),
        (totals.reconnected, "came back"),
        (totals.stayed_away, "away at the end"),
    ];
    parts.extend(seen(&more));
    parts.push(format!("at most {} open at once", thousands(summary.open_max)));
    let tone = if totals.lost > 0 { Tone::Bad } else { Tone::Plain };
    block.row("connections", &parts.join(" · "), tone);
}

/// How the server ended WebSocket connections.
fn endings(summary: &LoadSummary, block: &mut Block) {
    let all: Vec<String> = summary.endings.iter().map(ending).collect();
    if !all.is_empty() {
        block.row("ended by", &all.join(" · "), Tone::Plain);
    }
}

fn messages(summary: &LoadSummary, block: &mut Block) {
    let totals = &summary.totals;
    if totals.messages_sent == 0 {
        return;
    }
    let mut parts = vec![
        format!("{} sent", thousands(totals.messages_sent)),
        format!("{} answered", thousands(totals.messages_answered)),
        format!("{} late", thousands(totals.messages_late)),
    ];
    let more = [
        (totals.message_timeouts, "not in time"),
        (totals.messages_cut_off, "cut off"),
        (totals.messages_wrong, "wrong"),
        (totals.messages_never_sent, "due but never sent"),
    ];
    parts.extend(seen(&more));
    block.row("messages", &parts.join(" · "), Tone::Plain);
}

/// Figures of event streams. Missing events are shown even if zero.
fn events(summary: &LoadSummary, block: &mut Block) {
    let totals = &summary.totals;
    if summary.plan.protocol != "sse" {
        return;
    }
    let mut parts = vec![
        format!("{} received", thousands(totals.events)),
        format!("{} missed", thousands(totals.events_missed)),
    ];
    parts.extend(seen(&[
        (totals.streams_refused, "refused without the lock"),
        (totals.pairs_held_twice, "times a pair was held by two"),
    ]));
    block.row("events", &parts.join(" · "), Tone::Plain);
}

/// Figures of numbered messages. Loss and similar figures are shown even if zero.
fn sequence(summary: &LoadSummary, block: &mut Block) {
    let totals = &summary.totals;
    if !summary.plan.sequence {
        return;
    }
    let mut parts = vec![
        format!("{} lost", thousands(totals.messages_lost)),
        format!("{} doubled", thousands(totals.messages_duplicated)),
        format!("{} reordered", thousands(totals.messages_reordered)),
        format!(
            "{} moves, {} to another replica",
            thousands(totals.moves),
            thousands(totals.moves_elsewhere)
        ),
    ];
    let more = [
        (totals.messages_resumed, "sent again after the server's word to come back"),
        (totals.messages_overdue, "answered too late"),
        (totals.messages_stray, "answers to nothing"),
    ];
    parts.extend(seen(&more));
    let bad = totals.messages_lost + totals.messages_duplicated + totals.messages_reordered > 0;
    block.row("sequence", &parts.join(" · "), if bad { Tone::Bad } else { Tone::Plain });
}

/// The fate of the broadcasts that actions sent.
fn broadcasts(summary: &LoadSummary, block: &mut Block) {
    let totals = &summary.totals;
    if totals.broadcasts_sent == 0 {
        return;
    }
    let mut parts = vec![
        format!("{} sent", thousands(totals.broadcasts_sent)),
        format!("{} of {} received", thousands(totals.broadcasts_received), thousands(totals.broadcasts_due)),
        format!("{} missed", thousands(totals.broadcasts_missed)),
        format!("{} doubled", thousands(totals.broadcasts_doubled)),
    ];
    parts.extend(seen(&[(totals.broadcasts_refused, "answered with an error")]));
    let bad = totals.broadcasts_missed + totals.broadcasts_doubled > 0;
    block.row("broadcasts", &parts.join(" · "), if bad { Tone::Bad } else { Tone::Plain });
}

fn peers(summary: &LoadSummary, block: &mut Block) {
    let totals = &summary.totals;
    let mut parts = vec![format!(
        "{} of {} open",
        thousands(totals.connected_first),
        thousands(summary.plan.connections)
    )];
    let more = [
        (totals.refused, "times told that nobody listens there"),
        (totals.connect_errors, "errors of the network"),
    ];
    parts.extend(seen(&more));
    block.row("peers", &parts.join(" · "), Tone::Plain);
}

/// The fate of the datagrams. Loss and similar figures are shown even if zero.
fn datagrams(summary: &LoadSummary, block: &mut Block) {
    let totals = &summary.totals;
    if totals.messages_sent == 0 {
        return;
    }
    let lost = totals.datagrams_lost();
    let mut parts = vec![
        format!("{} sent", thousands(totals.messages_sent)),
        format!("{} answered", thousands(totals.messages_answered)),
        format!("{} lost ({})", thousands(lost), per_cent(lost, totals.messages_sent)),
        format!("{} duplicated", thousands(totals.messages_duplicated)),
        format!("{} reordered", thousands(totals.messages_reordered)),
        format!("{} late", thousands(totals.messages_late)),
    ];
    let more = [
        (totals.receive_drops, "dropped at our own sockets"),
        (totals.messages_overdue, "answers too late"),
        (totals.messages_wrong, "wrong"),
        (totals.messages_stray, "datagrams that answer nothing"),
        (totals.messages_cut_off, "cut off"),
        (totals.messages_never_sent, "due but never sent"),
    ];
    parts.extend(seen(&more));
    block.row("datagrams", &parts.join(" · "), if lost > 0 { Tone::Bad } else { Tone::Plain });
}

/// Things that happened but should not have.
fn seen(counts: &[(u64, &str)]) -> impl Iterator<Item = String> {
    counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{} {what}", thousands(*count)))
}

/// Never rounds a few among many down to none.
fn per_cent(part: u64, of: u64) -> String {
    match part as f64 * 100.0 / of.max(1) as f64 {
        share if part > 0 && share < 0.01 => "< 0.01 %".to_owned(),
        share => format!("{share:.2} %"),
    }
}

/// `8.3 s after … = scrape 2.4 + sync 5.5 + pod 0.4`
fn delay_words(delays: &ScaleDelays, since: &str) -> String {
    let parts: Vec<_> = delays.parts.iter().map(|(name, ms)| format!("{name} {}", tenths(*ms))).collect();
    format!("{} {since} = {}", seconds(delays.total_ms), parts.join(" + "))
}

fn latencies(summary: &LoadSummary, block: &mut Block) {
    let kinds = [
        ("connect", &summary.connect, ""),
        ("first byte", &summary.first_byte, ""),
        ("message", &summary.message, " from its due time"),
        ("lateness", &summary.lateness, ""),
        ("reconnect", &summary.reconnect, ""),
        ("broadcast", &summary.broadcast, " to each client"),
        ("gap", &summary.gap, " to a session's next answer"),
        ("gap, less", &summary.gap_without_delay, " without its own delay"),
        ("events", &summary.event_gap, " between two of a client"),
    ];
    let measured = kinds.into_iter().filter(|(_, latency, _)| latency.count > 0);
    for (index, (name, latency, note)) in measured.enumerate() {
        let text = format!("{name:<10}  {} ms{note}", percentiles(latency));
        block.row(if index == 0 { "latency" } else { "" }, &text, Tone::Plain);
    }
}

fn percentiles(summary: &LatencySummary) -> String {
    let LatencySummary { p50_us, p99_us, max_us, .. } = *summary;
    format!("p50 {:<5} p99 {:<5} max {}", latency(p50_us), latency(p99_us), latency(max_us))
}

/// A bar for each replica, at the time with the most open connections. It says so, since all other figures are from the
/// end.
fn shares(summary: &LoadSummary, block: &mut Block) {
    const BAR: usize = 30;
    const SHOWN: usize = 12;
    if !summary.shares.iter().any(|share| is_known(&share.replica)) {
        return;
    }
    let longest =
        summary.shares.iter().take(SHOWN).map(|share| share.replica.chars().count()).max().unwrap_or(0);
    let open = thousands(summary.shares.iter().map(|share| share.connections).sum());
    block.row("replicas", &format!("at the peak, with {open} open"), Tone::Plain);
    let count =
        |share: &ReplicaShare| format!("{} ({:.0} %)", thousands(share.connections), share.share * 100.0);
    let counts =
        summary.shares.iter().take(SHOWN).map(|share| count(share).chars().count()).max().unwrap_or(0);
    // A narrow terminal has room for a shorter bar.
    let room = block.style.width().saturating_sub(INDENT + longest + counts + 4);
    let width = BAR.min(room);
    for share in summary.shares.iter().take(SHOWN) {
        let bar = bar(share.share, width);
        let text = format!("{:<longest$}  {bar:<width$}  {}", share.replica, count(share));
        block.row("", &text, Tone::Plain);
    }
    if summary.shares.len() > SHOWN {
        let more = plural((summary.shares.len() - SHOWN) as u64, "more replica", "more replicas");
        block.row("", &more, Tone::Faint);
    }
    if let Some(skew) = summary.skew.filter(|_| summary.shares.len() > 1) {
        let text = format!(
            "at the peak the fullest holds {:.2} × the mean · Jain's index {:.2} (1 is even)",
            skew.max_over_mean, skew.jain
        );
        block.row("skew", &text, Tone::Plain);
    }
}

/// A bar of eighths of a column.
fn bar(share: f64, width: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share.clamp(0.0, 1.0) * width as f64 * 8.0).round() as usize;
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}
