//! A balancer's decisions as Events of the Deployment, written and parsed.
//!
//! `ORDER, ORDER: REASON`. An order contains neither `, ` nor `: `, because pod names contain neither.

use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use platform::target::Balanced;

use crate::facts::EventFacts;

/// The reason of our Events.
const REASON: &str = "Balanced";
const REPORTER: &str = "playctl/balancer";
/// The API's limit, in bytes.
const NOTE_MAX: usize = 1024;
const CUT: &str = "…";

/// The Event that reports a decision.
pub(super) fn event(about: ObjectReference, by: &str, balanced: &Balanced) -> Event {
    let mut event = Event {
        action: Some("Balance".to_owned()),
        reason: Some(REASON.to_owned()),
        note: Some(note(balanced)),
        event_time: Some(MicroTime(clock::wall())),
        reporting_controller: Some(REPORTER.to_owned()),
        reporting_instance: Some(by.to_owned()),
        type_: Some("Normal".to_owned()),
        ..Event::default()
    };
    let name = about.name.clone().unwrap_or_default();
    event.metadata.name = Some(format!("{name}.{}", uuid::Uuid::new_v4().simple()));
    event.metadata.namespace.clone_from(&about.namespace);
    event.regarding = Some(about);
    event
}

fn note(balanced: &Balanced) -> String {
    let Balanced { orders, reason } = balanced;
    let mut note = format!("{}: {reason}", orders.join(", "));
    if note.len() > NOTE_MAX {
        let end = (0..=NOTE_MAX - CUT.len()).rfind(|end| note.is_char_boundary(*end)).unwrap_or(0);
        note.truncate(end);
        note.push_str(CUT);
    }
    note
}

/// The decision that an Event reports, if it is one of ours.
pub(crate) fn told(event: &EventFacts) -> Option<Balanced> {
    if event.reason != REASON || event.reporter != REPORTER {
        return None;
    }
    let (orders, reason) = event.message.split_once(": ").unwrap_or(("", &event.message));
    let orders = orders.split(", ").filter(|order| !order.is_empty()).map(ToOwned::to_owned);
    Some(Balanced { orders: orders.collect(), reason: reason.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(reporter: &str, message: String) -> EventFacts {
        EventFacts {
            name: "ws.1".to_owned(),
            count: 1,
            kind: "Deployment".to_owned(),
            about: "ws".to_owned(),
            reason: REASON.to_owned(),
            reporter: reporter.to_owned(),
            message,
            is_warning: false,
            last: None,
        }
    }

    #[test]
    fn a_decision_is_read_as_it_was_written() {
        let orders = ["ws-7d9c-0 becomes inactive", "ws-7d9c-0 gets the deletion cost -100", "5 → 2"];
        let balanced = Balanced {
            orders: orders.map(ToOwned::to_owned).to_vec(),
            reason: "9 of 10 sessions = 90 % > 80 %: wants ⌈9 ÷ 7⌉ = 2 servers; 1 more".to_owned(),
        };
        assert_eq!(told(&facts(REPORTER, note(&balanced))), Some(balanced.clone()));
        assert_eq!(told(&facts("somebody-else", note(&balanced))), None);
    }

    #[test]
    fn a_note_keeps_to_the_bound_of_the_api() {
        for length in 1000..1040 {
            let balanced = Balanced { orders: vec!["1 → 2".to_owned()], reason: "÷".repeat(length / 2) };
            let note = note(&balanced);
            assert!(note.len() <= NOTE_MAX && note.starts_with("1 → 2: ÷"), "{note}");
        }
    }
}
