//! Explains a load without results: no client could connect, or no server answered.

use platform::event::{Counters, LoadSummary};
use scenario::Scenario;

/// Why streams of an unused pair are refused, and what to do.
const OLD_LOCKS: &str = "a departing client leaves its lock in Redis to expire, so a load within LOCK_TTL (60 s) of \
                         another one meets its locks: wait for a minute, or set stream.env.LOCK_RELEASE=true";

/// A remark for a load that missed its expectations: some of its streams may have met the locks of an earlier load.
pub(crate) fn old_locks(summary: &LoadSummary) -> Option<String> {
    let refused = summary.totals.streams_refused;
    // Changes of replicas do not depend on a few streams.
    let is_missed =
        summary.expectations.iter().any(|result| !result.met && !result.expectation.contains('→'));
    let streams = if refused == 1 { "stream was" } else { "streams were" };
    (refused > 0 && is_missed).then(|| format!("{refused} {streams} refused: {OLD_LOCKS}"))
}

/// No attempt to connect succeeded.
pub(crate) fn nobody_there(summary: &LoadSummary) -> Option<String> {
    let LoadSummary { totals, plan, first_error, .. } = summary;
    let is_silent = plan.is_udp() && totals.refused > 0 && totals.bytes_received == 0;
    if totals.attempted == 0 || (totals.connected > 0 && !is_silent) {
        return None;
    }
    if plan.is_udp() {
        return Some(format!(
            "none of {} datagrams to {} was answered; does a server listen there?",
            totals.messages_sent, plan.target
        ));
    }
    if totals.streams_refused > 0 {
        return Some(format!(
            "{} answers and refused all {} streams: somebody has their lock, or the user and the profile of --path are \
             not bound; curl -N shows the reason as a comment; {OLD_LOCKS}",
            plan.target, totals.streams_refused
        ));
    }
    let first = first_error.as_ref().map(|error| format!("; the first: {error}")).unwrap_or_default();
    // Something accepted the connections, but did not answer as requested.
    let was_there = totals.connects_cut_off > 0 || !summary.endings.is_empty();
    let statuses: Vec<u16> = summary.endings.iter().map(|ending| ending.code).collect();
    let question = match (plan.protocol.as_str(), statuses.as_slice()) {
        ("ws" | "sse", [401 | 403 | 407]) => {
            "does it expect a --header, such as 'Authorization: Bearer TOKEN'?"
        }
        ("ws" | "sse", [429 | 503]) => "it is there; is it full, or still starting?",
        ("ws", [400 | 426]) => "is this its --path, and does it expect a --subprotocol or a --header?",
        ("ws", _) if was_there => "does a WebSocket server listen there, and is this its --path?",
        ("sse", _) if was_there => "does it send server-sent events, and is this its --path?",
        _ => "does a server listen there?",
    };
    let counts = [
        (totals.refused, "refused"),
        (totals.connect_timeouts, "timed out"),
        (totals.connect_errors, "failed otherwise"),
        (totals.connects_cut_off, "cut off by the end"),
    ];
    let counts: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, how)| format!("{count} {how}")).collect();
    Some(format!(
        "none of {} attempts to connect to {} succeeded ({}){first}; {question}",
        totals.attempted,
        plan.target,
        counts.join(", "),
    ))
}

/// A load that expects answers and gets none, or only wrong ones.
pub(crate) fn no_answers(summary: &LoadSummary, scenario: &Scenario) -> Option<String> {
    let LoadSummary { totals, plan, first_wrong_answer, first_error, .. } = summary;
    let ended_by_server = totals.eof + totals.eof_after_notice + totals.reset;
    if plan.protocol == "sse" && totals.connected > 0 && totals.events == 0 {
        let refused = match totals.streams_refused {
            0 => String::new(),
            refused => {
                format!(", and {refused} streams were refused, since somebody has their lock or nobody may")
            }
        };
        return Some(format!(
            "no event came from {} on {} connections{refused}",
            plan.target, totals.connected
        ));
    }
    if totals.protocol_errors > 0 && totals.messages_answered == 0 {
        let first = first_error.as_deref().unwrap_or("it broke the protocol");
        return Some(format!("none of {} messages was answered; {first}", totals.messages_sent));
    }
    let nothing_was_asked = totals.messages_sent == 0 && ended_by_server == 0;
    if !scenario.expects_answers() || nothing_was_asked || totals.messages_answered > 0 {
        return None;
    }
    if totals.messages_sent == 0 {
        return Some(format!(
            "no message was sent to {}: the server {}{} before one was due",
            plan.target,
            endings(totals),
            codes(summary)
        ));
    }
    let codes = codes(summary);
    let sent = format!("none of {} messages to {} was answered", totals.messages_sent, plan.target);
    // The observations, most informative first.
    Some(if let Some(first) = first_wrong_answer {
        let hint = match scenario.messages.answer {
            Some(_) => "",
            None => "; --answer TEXT says what is right, --expect any takes everything",
        };
        format!("{sent} as expected; the first answer was {first}{hint}")
    } else if ended_by_server > 0 {
        let silent = match totals.message_timeouts {
            0 => String::new(),
            silent => format!(" and left {silent} messages without an answer"),
        };
        format!("{sent}: the server {}{codes}{silent}; is this its protocol?", endings(totals))
    } else if totals.bytes_received > 0 {
        let reads_lines = line_end(summary, scenario).map(|hint| format!("; {hint}")).unwrap_or_default();
        format!("{sent} in full; {} bytes came{reads_lines}", totals.bytes_received)
    } else if let Some(hint) = line_end(summary, scenario) {
        format!("{sent}; {hint}")
    } else {
        format!("{sent}; does a server listen there that answers?")
    })
}

/// A remark for a payload without a line end.
fn line_end(summary: &LoadSummary, scenario: &Scenario) -> Option<String> {
    let plan = &summary.plan;
    let has_none = plan.protocol == "tcp" && !scenario.messages.payload.bytes().ends_with(b"\n");
    let whole = scenario.messages.payload.to_string();
    has_none.then(|| {
        let example =
            if whole == plan.payload { format!(", which --payload '{whole}\\n' has") } else { String::new() };
        format!("a server that reads lines waits for a line end{example}")
    })
}

/// The codes of the closes: ` (1013 Maximum connections per host reached: 40)`.
fn codes(summary: &LoadSummary) -> String {
    let codes: Vec<String> = summary.endings.iter().map(report::ending).collect();
    if codes.is_empty() { String::new() } else { format!(" ({})", codes.join(", ")) }
}

/// How the server ended connections: `closed 40 of 50 connections and reset 10`.
fn endings(totals: &Counters) -> String {
    let Counters { eof, eof_after_notice, reset, connected, .. } = *totals;
    match (eof + eof_after_notice, reset) {
        (closed, 0) => format!("closed {closed} of {connected} connections"),
        (0, reset) => format!("reset {reset} of {connected} connections"),
        (closed, reset) => format!("closed {closed} of {connected} connections and reset {reset}"),
    }
}
