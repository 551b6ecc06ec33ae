//! Explains a load without results: no client could connect, or no server answered.

use platform::event::{Counters, LoadSummary};
use scenario::Scenario;

/// Why streams of an unused pair are refused, and what to do.
const OLD_LOCKS: &str = "a departing client leaves its lock in Redis to expire, so a load within LOCK_TTL (60 s) of \
                         another one meets its locks: wait for a minute, or set stream.env.LOCK_RELEASE=true";

/// A remark for a load that missed its expectations: some of its streams may have met the locks of an earlier load.
pub(crate) fn old_locks(summary: &LoadSummary) -> Option<String> {
    let refused = summary.totals.streams_refused;
    let as_expected = summary.expectations.iter().all(|result| result.met);
    (refused > 0 && !as_expected).then(|| format!("{refused} streams were refused: {OLD_LOCKS}"))
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
    let question = match plan.protocol.as_str() {
        "ws" if was_there => "does a WebSocket server listen there, and is this its --path?",
        "sse" if was_there => "does it send server-sent events, and is this its --path?",
        _ => "does a server listen there?",
    };
    Some(format!(
        "none of {} attempts to connect to {} succeeded: {} refused, {} timed out, {} failed otherwise, {} were \
         cut off by the end{first}; {question}",
        totals.attempted,
        plan.target,
        totals.refused,
        totals.connect_timeouts,
        totals.connect_errors,
        totals.connects_cut_off
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
        format!("{sent} as expected; the first answer was {first}")
    } else if ended_by_server > 0 {
        let silent = match totals.message_timeouts {
            0 => String::new(),
            silent => format!(" and left {silent} messages without an answer"),
        };
        format!("{sent}: the server {}{codes}{silent}; is this its protocol?", endings(totals))
    } else if totals.bytes_received > 0 {
        format!("{sent} in full; {} bytes came", totals.bytes_received)
    } else if plan.protocol != "tcp" || scenario.messages.payload.bytes().ends_with(b"\n") {
        format!("{sent}; does a server listen there that answers?")
    } else {
        let payload = &plan.payload;
        format!("{sent}; a server that reads lines waits for a line end, which --payload '{payload}\\n' has")
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
