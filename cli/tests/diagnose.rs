//! The support bundle of a platform on this machine.

mod support;

use std::{collections::BTreeMap, fs, io::Read as _, os::unix::fs::PermissionsExt as _};

use support::Lab;

#[test]
fn a_bundle_has_state_events_and_log_and_no_secret() {
    let lab = Lab::new("bundle");
    lab.up(&["--set", "tcp.env.MY_PASSWORD=hunter2hunter2"]);
    let file = lab.home().join("bundle.tar.gz");
    let diagnosed = lab.json(&["diagnose", "-o", file.to_str().expect("UTF-8")]);
    assert_eq!(diagnosed["left_out"], serde_json::json!([]));
    assert_eq!(fs::metadata(&file).expect("the bundle").permissions().mode() & 0o777, 0o600);

    let mut archive =
        tar::Archive::new(flate2::read::GzDecoder::new(fs::File::open(&file).expect("the bundle")));
    let mut texts = BTreeMap::new();
    for entry in archive.entries().expect("entries") {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path").to_string_lossy().into_owned();
        let mut text = String::new();
        entry.read_to_string(&mut text).expect("text");
        assert!(!text.contains("hunter2"), "{path}");
        texts.insert(path.split_once('/').expect("a folder").1.to_owned(), text);
    }
    assert!(texts["events.jsonl"].contains("PlatformReady"), "{}", texts["events.jsonl"]);
    assert!(texts["snapshot.json"].contains(&lab.platform));
    assert!(!texts["log.txt"].is_empty() && texts.contains_key("versions.json"), "{:?}", texts.keys());
    lab.ok(&["down"]);
}
