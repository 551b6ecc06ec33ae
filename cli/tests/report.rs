//! Recorded runs, shown again.

mod support;

use std::fs;

use serde_json::Value;
use support::{Lab, both, lossy};

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/report/tests/fixtures/tcp-10k.jsonl");

/// What a page was made of.
fn data(page: &str) -> Value {
    let (_, rest) = page.split_once(r#"<script type="application/json" id="data">"#).expect("it has data");
    serde_json::from_str(rest.split_once("</script>").expect("they end").0).expect("JSON")
}

#[test]
fn a_run_is_shown_as_it_was_printed_and_leaves_the_files_that_were_asked_for() {
    let lab = Lab::new("report");
    let shown = lab.ok(&["report", RECORDED]);
    assert!(shown.contains("tcp 1 → 2") && shown.contains("✓ lost = 0"), "{shown}");
    let path = |name: &str| lab.home().join(name).to_str().expect("UTF-8").to_owned();
    let (html, svg, junit) = (path("run.html"), path("run.svg"), path("run.xml"));
    let output = lab.run(&["report", RECORDED, "--html", &html, "--svg", &svg, "--junit", &junit]);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    assert!(lossy(&output.stderr).contains("run.html (") && output.stdout.is_empty(), "{}", both(&output));
    let page = data(&fs::read_to_string(html).expect("written"));
    assert_eq!(
        (page["runs"].as_array().expect("runs").len(), &page["runs"][0]["notes"]),
        (1, &Value::Array(vec![]))
    );
    assert!(fs::read_to_string(svg).expect("written").starts_with("<svg"));
    let xml = fs::read_to_string(junit).expect("written");
    assert!(xml.contains(r#"tests="5" failures="0""#) && xml.contains("<system-out>seen: 10000<"), "{xml}");
    let document: Value =
        serde_json::from_str(&lab.ok(&["report", RECORDED, "--output", "json"])).expect("JSON");
    assert_eq!(document["plan"]["connections"], 10_000);
    let kinds = |text: &str| -> Vec<(Value, Value)> {
        let events = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        events.map(|mut event| (event["seq"].take(), event["type"].take())).collect()
    };
    let printed = kinds(&lab.ok(&["report", RECORDED, "--output", "jsonl"]));
    assert!(printed == kinds(&fs::read_to_string(RECORDED).expect("it is there")), "the very events");
}

#[test]
fn a_recording_that_is_cut_off_or_has_other_lines_says_so_on_stderr_and_in_the_page() {
    let lab = Lab::new("report-broken");
    let text = fs::read_to_string(RECORDED).expect("it is there");
    let half = text.char_indices().nth(text.len() / 2).expect("it is longer").0;
    let broken = lab.home().join("broken.jsonl");
    let page = lab.home().join("broken.html");
    let [broken_path, page_path] = [&broken, &page].map(|path| path.to_str().expect("UTF-8"));
    fs::write(&broken, format!("not an event\n{}", &text[..half])).expect("written");
    let output = lab.run(&["report", broken_path, "--html", page_path]);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    let page = data(&fs::read_to_string(&page).expect("written"));
    let notes = page["runs"][0]["notes"].to_string();
    for part in ["left out: 1 line that could not be read; line 1 is no event", "cut off in the middle"] {
        assert!(
            lossy(&output.stderr).contains(part) && notes.contains(part),
            "{part}: {notes} {}",
            both(&output)
        );
    }
    // Nothing is known of its expectations.
    for wants_result in [&["--junit", page_path][..], &["--output", "json"]] {
        let output = lab.run(&[&["report", broken_path], wants_result].concat());
        assert_eq!(output.status.code(), Some(1), "{}", both(&output));
        assert!(lossy(&output.stderr).contains("has no result"), "{}", both(&output));
    }
}

#[test]
fn two_runs_stand_in_one_page_and_mistakes_are_usage_errors() {
    let lab = Lab::new("report-two");
    let page = lab.home().join("two.html");
    let page = page.to_str().expect("UTF-8");
    lab.ok(&["report", RECORDED, "--compare", RECORDED, "--html", page]);
    assert_eq!(data(&fs::read_to_string(page).expect("written"))["runs"].as_array().expect("runs").len(), 2);
    for (words, says) in [
        (&["report", RECORDED, "--compare", RECORDED][..], "--html"),
        (&["report", "/nowhere.jsonl"], "cannot read /nowhere.jsonl"),
        (&["report", RECORDED, "--html", "/nowhere/run.html"], "cannot write /nowhere/run.html"),
        (&["report", RECORDED, "--compare", "/nowhere.jsonl", "--html", page], "cannot read /nowhere.jsonl"),
        (
            &["report", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")],
            "has no event of a run; line 1 is no event",
        ),
    ] {
        let output = lab.run(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", both(&output));
        assert!(lossy(&output.stderr).contains(says), "{words:?}: {}", both(&output));
    }
}
