//! Recordings of runs, replayed: equal inputs give equal effects.
//!
//! `demo.jsonl.gz` has the supervisor's inputs in a run of `playctl demo`; to record it again:
//! `PLAYCTL_RECORD=$PWD/demo.jsonl cargo run --release -- demo && gzip -9n demo.jsonl`, and move it to `tests/recordings`.
//! After a change of the effects' format, `UPDATE_RECORDINGS=1 cargo test -p controller --test replay` records the
//! current effects of the same inputs; check that the difference is intended. After an intended change of the
//! controller's behaviour, record the history again with
//! `cargo run -p controller --example histories -- --seed 5 --record crates/controller/tests/recordings/history.jsonl.gz`.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
};

use controller::{Header, Input, Recorded, Recording, Time};
use flate2::{Compression, GzBuilder, read::GzDecoder};

/// Replaces the effects of a recording with the current ones of its inputs.
fn update(path: &Path) {
    let text = std::io::read_to_string(GzDecoder::new(File::open(path).expect("a recording"))).expect("text");
    let mut lines = text.lines();
    let header = lines.next().expect("a header");
    let mut controller = serde_json::from_str::<Header>(header).expect("a header").controller();
    let mut file = GzBuilder::new().write(File::create(path).expect("writable"), Compression::best());
    writeln!(file, "{header}").expect("written");
    for line in lines {
        let Recorded { now, input, .. } = serde_json::from_str(line).expect("a step");
        let recording = Recording::begin(now, &input).expect("a step");
        let effects = controller.step(now, input);
        writeln!(file, "{}", recording.end(&effects).expect("a step")).expect("written");
    }
    file.finish().expect("written");
}

/// Returns the number of steps.
fn replay(path: &Path) -> usize {
    let name = path.display();
    let file = File::open(path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut lines = BufReader::new(GzDecoder::new(file)).lines().map(|line| line.expect("a line of text"));
    let header = lines.next().unwrap_or_else(|| panic!("{name} is empty; expected a header"));
    let header: Header = serde_json::from_str(&header).unwrap_or_else(|error| panic!("{name}:1: {error}"));
    let mut controller = header.controller();
    let mut steps = 0;
    for (index, line) in lines.enumerate() {
        let number = index + 2;
        let step: Recorded =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{name}:{number}: {error}"));
        let (now, input) = (step.now, format!("{:?}", step.input));
        if let Err(difference) = step.replay(&mut controller) {
            panic!("{name}:{number}: at {now:?}, told {input}: {difference:#?}");
        }
        steps += 1;
    }
    steps
}

#[test]
fn every_recording_is_replayed_with_the_same_effects() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    let files =
        std::fs::read_dir(&directory).expect("the recordings").map(|entry| entry.expect("a file").path());
    let recordings: Vec<_> = files.filter(|path| path.to_string_lossy().ends_with(".jsonl.gz")).collect();
    assert!(!recordings.is_empty(), "no recordings in {}", directory.display());
    for recording in recordings {
        if std::env::var_os("UPDATE_RECORDINGS").is_some() {
            update(&recording);
        }
        assert!(replay(&recording) >= 100, "{} is too short to show anything", recording.display());
    }
}

#[test]
fn a_step_is_written_and_read_again_and_a_difference_is_named() {
    let header = Header {
        platform: "playground".to_owned(),
        target: "this machine".to_owned(),
        began: "2026-11-28T06:00:00Z".parse().unwrap(),
        capacity: controller::Capacity { ordinals: 9, replicas: 9, nodes: 1 },
    };
    let read: Header = serde_json::from_str(&header.line().unwrap()).unwrap();
    assert_eq!(read, header);

    let recording = Recording::begin(Time::from_nanos(7), &Input::Interrupted).unwrap();
    let effects = header.controller().step(Time::from_nanos(7), Input::Interrupted);
    let line = recording.end(&effects).unwrap();
    let step: Recorded = serde_json::from_str(&line).unwrap();
    assert_eq!((step.now, &step.input, step.effects.len()), (Time::from_nanos(7), &Input::Interrupted, 3));
    assert_eq!(step.clone().replay(&mut header.controller()), Ok(()));

    let mut other = step.clone();
    other.effects[1] = "Finished".to_owned();
    let difference = other.replay(&mut header.controller()).unwrap_err();
    assert_eq!((difference.number, difference.before.as_deref()), (2, Some("Finished")));
    let mut shorter = step.clone();
    shorter.effects.pop();
    let difference = shorter.replay(&mut header.controller()).unwrap_err();
    assert_eq!((difference.number, difference.before, difference.now.is_some()), (3, None, true));
    let mut longer = step;
    longer.effects.push("Scrape".to_owned());
    let difference = longer.replay(&mut header.controller()).unwrap_err();
    assert_eq!((difference.number, difference.before.as_deref(), difference.now), (4, Some("Scrape"), None));
}
