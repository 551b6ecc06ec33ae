//! Bulks, documents and searches of the embedded Elasticsearch. Whatever is taken can be read by everybody, and no
//! search is blinded by it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;

// The modules themselves: the crate shows none of them.
#[path = "../../crates/local/src/embedded/elasticsearch/bulk.rs"]
mod bulk;
#[path = "../../crates/local/src/journal.rs"]
#[allow(dead_code, reason = "what readers that wait need is not used here")]
mod journal;
#[path = "../../crates/local/src/embedded/elasticsearch/search.rs"]
mod search;
#[path = "../../crates/local/src/embedded/elasticsearch/store.rs"]
mod store;

fuzz_target!(|input: (&str, &str, &str)| {
    let (body, document, query) = input;
    let directory = tempfile::tempdir().expect("a directory");
    let mut store = store::Store::create(directory.path().join("documents"), 64 * 1024).expect("a store");
    let one = format!("{{\"create\":{{\"_index\":\"i\",\"_id\":\"one\"}}}}\n{document}\n");
    let mut taken = 0;
    for body in [body, &one] {
        for action in bulk::parse(body).unwrap_or_default() {
            let written = store.write(&action).expect("a disk that works");
            taken += usize::from(!written.is_error());
        }
    }
    if let Ok(query) = search::Query::parse("*", query) {
        query.run(&store).expect("an answer");
    }
    let all = search::Query::parse("*", r#"{"size":10000}"#).expect("a query").run(&store).expect("an answer");
    let all: Value = serde_json::from_str(&all).expect("an answer that everybody can read");
    assert_eq!(all["unreadable"], 0);
    assert_eq!(all["hits"]["hits"].as_array().map(Vec::len), Some(taken));
});
