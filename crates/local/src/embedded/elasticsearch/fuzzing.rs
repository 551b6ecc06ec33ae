//! Invariants for documents, bulks and searches of any client. Panics if one is violated.

use std::path::Path;

use serde_json::Value;

use super::{bulk, search::Query, store::Store};

const SEGMENT_MAX: u64 = 256 * 1024;

/// Writes bulks into a new store and searches it. Anybody can read every accepted document, and no search is blinded by
/// one. `directory` is reused.
pub fn documents(directory: &Path, bulks: &[String], query: &str) {
    let mut store = Store::create(directory.join("documents"), SEGMENT_MAX).expect("a store");
    let mut taken = 0;
    for action in bulks.iter().flat_map(|body| bulk::parse(body).unwrap_or_default()) {
        let written = store.write(&action).expect("a disk that works");
        let item: Value = serde_json::from_str(&written.item(&action)).expect("an item that can be read");
        assert_eq!(item["create"].get("error").is_some(), written.is_error());
        taken += usize::from(!written.is_error());
    }
    let answer = |query: &Query| -> Value {
        let answer = query.run(&store).expect("an answer");
        serde_json::from_str(&answer).expect("an answer that everybody can read")
    };
    let hits = |answer: &Value| answer["hits"]["hits"].as_array().map(Vec::len);
    let all = answer(&Query::parse("*", r#"{"size":10000}"#).expect("a query"));
    assert_eq!(all["unreadable"], 0);
    assert_eq!(all["hits"]["total"]["value"], store.documents().count());
    // Older ones are dropped when there are too many.
    assert!(hits(&all).is_some_and(|hits| hits <= taken && (hits == taken || taken > 100)));
    if let Ok(query) = Query::parse("*", query) {
        assert!(hits(&answer(&query)) <= hits(&all));
    }
}
