//! Names from outside may contain anything, but are always shown on one line.

mod support;

use std::fs;

use support::{Lab, both};

#[test]
fn names_with_line_ends_forge_no_lines() {
    let lab = Lab::new("names");
    let at = |name: &str| lab.home().join(name).to_str().expect("UTF-8").to_owned();
    let (hpa, state, printed) = (at("hpa.yaml"), at("state.yaml"), at("printed.yaml"));
    fs::write(&hpa, include_str!("hpa.yaml")).expect("written");
    fs::write(&state, include_str!("state.yaml")).expect("written");
    let is_ours = |text: &str| {
        assert!(
            text.contains(r"queue\nplayctl: forged\x1b[2J") || text.contains(r"queue\nplayctl"),
            "{text}"
        );
        for line in text.lines() {
            assert!(!line.starts_with("playctl") && !line.starts_with("forged"), "{text}");
            assert!(!line.contains('\u{1b}'), "{text}");
        }
    };
    let explained = lab.ok(&["explain", "--hpa", &hpa, "--state", &state]);
    is_ours(&explained);
    assert!(explained.contains(r"chat-0\nforged: a line 7,012"), "{explained}");

    // The printed text can be parsed again.
    let draft = lab.ok(&["explain", "--hpa", &hpa, "--print-state"]);
    is_ours(&draft);
    fs::write(&printed, draft).expect("written");
    is_ours(&lab.ok(&["explain", "--hpa", &hpa, "--state", &printed]));

    // JSON is exact.
    let json = lab.json(&["explain", "--hpa", &hpa, "--state", &state]);
    assert!(json.to_string().contains(r"queue\nplayctl: forged\u001b[2J"), "{json}");

    let wrong = include_str!("state.yaml").replace("chat-1: 4000", "\"chat-1\\nplayctl: forged\": x");
    fs::write(&state, wrong).expect("written");
    let refused = lab.run(&["explain", "--hpa", &hpa, "--state", &state]);
    assert_eq!(refused.status.code(), Some(2), "{}", both(&refused));
    let said = String::from_utf8(refused.stderr).expect("UTF-8");
    assert_eq!(said.lines().filter(|line| line.starts_with("playctl")).count(), 1, "{said}");
}
