//! The document for made-up results.

use super::markdown;
use crate::{
    contestant::Contestant,
    document::chart,
    figures::{Figure, Goal, Unit},
    machine::Machine,
    results::{Outcome, Results, Row},
    strace::{Counts, Party},
};

fn results(ours: f64) -> Results {
    let figure = Figure {
        title: "messages",
        unit: Unit::PerCpuSecond,
        goals: vec![Goal::AtLeast { ratio: 1.2, of: Contestant::HaProxy }],
    };
    let samples = [(Contestant::Playctl, vec![ours; 5]), (Contestant::HaProxy, vec![100_000.0; 5])];
    let party = |contestant, calls: f64| Party {
        contestant,
        calls: [("sendto".to_owned(), calls), ("mmap".to_owned(), 0.001)].into(),
    };
    Results {
        machine: Machine {
            cpu: "Some CPU".to_owned(),
            cpus: 2,
            memory_gib: 24,
            system: "Debian".to_owned(),
            kernel: "6.1".to_owned(),
            congestion_control: "cubic".to_owned(),
        },
        rows: vec![Row {
            name: "gateway-pingpong".to_owned(),
            about: "messages to and fro".to_owned(),
            taken: "2026-11-21 03:00".to_owned(),
            machine: None,
            rounds: 5,
            seconds: 10,
            versions: [("HAProxy".to_owned(), "HAProxy version 2.6.12".to_owned())].into(),
            figures: vec![Outcome::new(&figure, &samples).unwrap()],
        }],
        system_calls: vec![Counts {
            work: "gateway-pingpong".to_owned(),
            unit: "message".to_owned(),
            parties: vec![party(Contestant::Playctl, 2.0), party(Contestant::HaProxy, 2.5)],
        }],
    }
}

#[test]
fn a_missed_goal_is_named_with_how_far_it_was_missed() {
    let text = markdown(&results(110_000.0));
    assert!(text.contains("| 1.10 × (1.10–1.10) | **missed by 8.3 %** |"), "{text}");
    assert!(text.contains("Not met:\n\n- `gateway-pingpong`, messages against HAProxy: 1.10 ×"), "{text}");
}

#[test]
fn met_goals_conditions_and_system_calls_are_shown() {
    let text = markdown(&results(130_000.0));
    assert!(text.contains("All goals that were measured are met."), "{text}");
    assert!(text.contains("2 × Some CPU, 24 GiB, Debian, Linux 6.1, congestion control cubic"), "{text}");
    assert!(text.contains("- HAProxy: HAProxy version 2.6.12"), "{text}");
    assert!(text.contains("5 rounds of 10 s"), "{text}");
    assert!(text.contains("| sendto | 2.00 | 2.50 |"), "{text}");
    assert!(!text.contains("mmap"), "a call that hardly happens has no line: {text}");
    assert!(text.contains("## Model"), "{text}");
}

#[test]
fn a_row_from_another_machine_says_so() {
    let mut results = results(130_000.0);
    assert!(!markdown(&results).contains("another machine:"));
    results.rows[0].machine = Some(Machine { cpus: 64, ..results.machine.clone() });
    let text = markdown(&results);
    assert!(text.contains("2026-11-21 03:00 UTC, on another machine: 64 × Some CPU"), "{text}");
}

#[test]
fn results_survive_being_written_and_read() {
    let written = serde_json::to_string(&results(110_000.0)).unwrap();
    let read: Results = serde_json::from_str(&written).unwrap();
    assert_eq!(markdown(&read), markdown(&results(110_000.0)));
}

#[test]
fn the_chart_has_a_bar_for_each_goal() {
    let met = chart::svg(&results(130_000.0));
    let missed = chart::svg(&results(110_000.0));
    assert_eq!(met.matches("rx=\"2\"").count(), 1);
    assert!(met.contains("gateway-pingpong") && met.contains("1.30 ×"), "{met}");
    assert_ne!(met.contains("#bc4c00"), missed.contains("#bc4c00"), "colours say what was missed");
}
