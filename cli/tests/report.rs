//! Recorded runs, shown again.

mod support;

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::Stdio,
    time::Duration,
};

use serde_json::Value;
use support::{Lab, both, eventually, lossy};

const SOON: Duration = Duration::from_mins(1);

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/report/tests/fixtures/tcp-10k.jsonl");

/// The data in a page.
fn data(page: &str) -> Value {
    let (_, rest) = page.split_once(r#"<script type="application/json" id="data">"#).expect("it has data");
    serde_json::from_str(rest.split_once("</script>").expect("they end").0).expect("JSON")
}

#[test]
fn a_report_repeats_the_printed_run_and_writes_the_requested_files() {
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
    let recorded = fs::read_to_string(RECORDED).expect("it is there");
    let xml = fs::read_to_string(junit).expect("written");
    assert!(xml.contains(r#"tests="5" failures="0""#) && xml.contains("<system-out>seen: 10000<"), "{xml}");
    // The run's start does not depend on how late its first event comes.
    let late = lab.home().join("late.jsonl");
    let kept: Vec<&str> = recorded.lines().skip_while(|line| line.contains("\"t_ms\":0,")).collect();
    fs::write(&late, kept.join("\n")).expect("written");
    let late_junit = path("late.xml");
    lab.ok(&["report", late.to_str().expect("UTF-8"), "--junit", &late_junit]);
    assert_eq!(fs::read_to_string(late_junit).expect("written"), xml);
    let document: Value =
        serde_json::from_str(&lab.ok(&["report", RECORDED, "--output", "json"])).expect("JSON");
    assert_eq!(document["plan"]["connections"], 10_000);
    let kinds = |text: &str| -> Vec<(Value, Value)> {
        let events = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        events.map(|mut event| (event["seq"].take(), event["type"].take())).collect()
    };
    let printed = kinds(&lab.ok(&["report", RECORDED, "--output", "jsonl"]));
    assert!(printed == kinds(&recorded), "the very events");
}

#[test]
fn cut_offs_and_foreign_lines_in_a_recording_are_reported_on_stderr_and_in_the_page() {
    let lab = Lab::new("report-broken");
    let text = fs::read_to_string(RECORDED).expect("it is there");
    let half = text.char_indices().nth(text.len() / 2).expect("it is longer").0;
    let broken = lab.home().join("broken.jsonl");
    let page = lab.home().join("broken.html");
    let [broken_path, page_path] = [&broken, &page].map(|path| path.to_str().expect("UTF-8"));
    fs::write(&broken, format!("not an event\n{}", &text[..half])).expect("written");
    // A warning is not progress, so --quiet does not suppress it.
    let output = lab.run(&["report", broken_path, "--html", page_path, "--quiet"]);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    let page = data(&fs::read_to_string(&page).expect("written"));
    let notes = page["runs"][0]["notes"].to_string();
    for part in ["left out: 1 line that could not be read; line 1 is not an event", "cut off in the middle"] {
        assert!(
            lossy(&output.stderr).contains(part) && notes.contains(part),
            "{part}: {notes} {}",
            both(&output)
        );
    }
    let output = lab.run(&["report", broken_path, "--output", "json"]);
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    assert!(lossy(&output.stderr).contains("has no result"), "{}", both(&output));
}

#[test]
fn a_cut_off_run_has_its_known_test_cases_and_one_that_says_it_was_cut_off() {
    let lab = Lab::new("report-cut-off");
    let text = fs::read_to_string(RECORDED).expect("it is there");
    let lines: Vec<&str> = text.lines().collect();
    let [run, xml] = ["run.jsonl", "run.xml"].map(|name| lab.home().join(name));
    let [run_path, xml_path] = [&run, &xml].map(|path| path.to_str().expect("UTF-8"));
    // Before its verdicts, and between two of them.
    for (kept, cases) in [(lines.len() / 2, 1), (lines.len() - 3, 4)] {
        fs::write(&run, lines[..kept].join("\n")).expect("written");
        let output = lab.run(&["report", run_path, "--junit", xml_path]);
        assert_eq!(output.status.code(), Some(0), "{}", both(&output));
        let xml = fs::read_to_string(&xml).expect("written");
        assert!(xml.contains(&format!(r#"tests="{cases}" failures="0" errors="1""#)), "{xml}");
        assert!(
            xml.contains(r#"name="tcp-10k""#) && xml.contains("the recording ends before the load did"),
            "{xml}"
        );
    }
    // Without a load there are no expectations.
    fs::write(&run, lines[0]).expect("written");
    let output = lab.run(&["report", run_path, "--junit", xml_path]);
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    assert!(lossy(&output.stderr).contains("has no load"), "{}", both(&output));
}

#[test]
fn files_that_are_no_single_run_in_order_say_so_in_the_page_and_on_stderr() {
    let lab = Lab::new("report-disorder");
    let text = fs::read_to_string(RECORDED).expect("it is there");
    let mut lines: Vec<&str> = text.lines().collect();
    let id = lines[0].split(r#""run":""#).nth(1).expect("an id").split('"').next().expect("an id");
    let another = text.replace(id, "01a1fcd8-620f-75ca-9a05-f87039aa7a7e");
    let twice = format!("{text}{text}");
    let two = format!("{text}{another}");
    lines.reverse();
    let marked = format!("\u{feff}{text}");
    let [run, page] = ["run.jsonl", "run.html"].map(|name| lab.home().join(name));
    let [run_path, page_path] = [&run, &page].map(|path| path.to_str().expect("UTF-8"));
    for (text, says) in [
        (&marked, ""),
        (&lines.join("\n"), "events are not in the order of the run, the first in line 2"),
        (&twice, "left out: a repetition of this run (188 events), from line 189 on"),
        (&two, "left out: other runs in the same file (188 events)"),
    ] {
        fs::write(&run, text).expect("written");
        let output = lab.run(&["report", run_path, "--html", page_path, "--quiet"]);
        assert_eq!(output.status.code(), Some(0), "{}", both(&output));
        let notes = data(&fs::read_to_string(&page).expect("written"))["runs"][0]["notes"].to_string();
        assert!(
            lossy(&output.stderr).contains(says) && notes.contains(says),
            "{says}: {notes} {}",
            both(&output)
        );
        assert_eq!(says.is_empty(), output.stderr.is_empty(), "{}", both(&output));
    }
}

#[test]
fn a_dash_is_standard_input_and_output() {
    let lab = Lab::new("report-dash");
    for option in ["--html", "--svg", "--junit"] {
        let input = fs::File::open(RECORDED).expect("it is there");
        let output = lab.command(&["report", "-", option, "-"]).stdin(input).output().expect("runs");
        assert_eq!(output.status.code(), Some(0), "{}", both(&output));
        let begins = if option == "--html" { "<!doctype html>" } else { "<" };
        assert!(lossy(&output.stdout).starts_with(begins) && output.stderr.is_empty(), "{}", both(&output));
        assert!(!lab.home().join("-").exists());
    }
    let page = data(&lab.ok(&["report", RECORDED, "--html", "-"]));
    assert_eq!(page["runs"][0]["name"], "tcp-10k.jsonl");
    for (words, says) in [
        (&["report", RECORDED, "--html", "-", "--svg", "-"][..], "name a file"),
        (&["report", RECORDED, "--html", "-", "--output", "json"], "--output writes"),
        (&["report", "-", "--compare", "-", "--html", "-"], "only one of the two runs"),
    ] {
        let output = lab.run(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", both(&output));
        assert!(lossy(&output.stderr).contains(says), "{words:?}: {}", both(&output));
    }
}

#[test]
fn standard_input_is_named_and_ctrl_c_ends_reading_it() {
    let lab = Lab::new("report-endless");
    let first = fs::read_to_string(RECORDED).expect("it is there").lines().next().expect("a line").to_owned();
    let mut report = lab
        .command(&["report", "-", "--output", "jsonl"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("playctl starts");
    // The pipe stays open.
    let mut input = report.stdin.take().expect("piped");
    writeln!(input, "{first}").expect("it reads");
    let mut line = String::new();
    BufReader::new(report.stdout.take().expect("piped")).read_line(&mut line).expect("it prints");
    assert!(line.contains("\"type\""), "{line}");
    rustix::process::kill_process(rustix::process::Pid::from_child(&report), rustix::process::Signal::INT)
        .expect("it runs");
    let ended = eventually(SOON, || report.try_wait().expect("a child").ok_or("it still runs"));
    if ended.is_err() {
        report.kill().expect("it runs");
    }
    assert_eq!(ended.expect("it ends").code(), Some(130));

    for (given, says) in [
        ("", "standard input has no event of a run; it is empty"),
        (&*format!("x\n{first}\n"), "playctl: standard input: left out: 1 line"),
    ] {
        let mut report = lab.command(&["report", "-"]);
        let mut report = report
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        report.stdin.take().expect("piped").write_all(given.as_bytes()).expect("it reads");
        let output = report.wait_with_output().expect("it ends");
        assert!(lossy(&output.stderr).contains(says), "{says}: {}", both(&output));
    }
}

#[test]
fn a_recorded_run_and_a_platform_contradict_each_other() {
    let lab = Lab::new("report-of-none");
    for (words, says) in [
        (&["dashboard", "--run", RECORDED, "--target", "cluster"][..], ["--run", "--target"]),
        (&["--platform", "blue", "dashboard", "--run", RECORDED], ["--run", "--platform"]),
        (&["dashboard", "--run", RECORDED, "-n", "chat"], ["--run", "--namespace"]),
        (&["report", RECORDED, "--hpa", "tcp"], ["RUN.jsonl", "--hpa"]),
    ] {
        let output = lab.run(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", both(&output));
        let [one, other] = says;
        let says = format!("{one} and {other} conflict");
        assert!(lossy(&output.stderr).contains(&says), "{words:?}: {}", both(&output));
    }
}

#[test]
fn one_page_shows_two_runs_and_mistakes_are_usage_errors() {
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
            "has no event of a run; line 1 is not an event",
        ),
    ] {
        let output = lab.run(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", both(&output));
        assert!(lossy(&output.stderr).contains(says), "{words:?}: {}", both(&output));
    }
}
