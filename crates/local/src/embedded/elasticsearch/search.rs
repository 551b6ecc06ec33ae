//! Searches: by time and pod, sorted by time.
//!
//! The supported part of the query language: `match_all`, `bool` with `filter`, `term` and `prefix` on `pod`, `range`
//! on `timestamp`; `size`, and `sort` by `timestamp`. Anything else is refused, never ignored: an answer to a different
//! question would be worse than none.

use std::{cmp::Reverse, fmt, io};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::store::{Kept, Looked, Store};

/// Default for `size`, as in Elasticsearch.
const SIZE: u64 = 10;
/// As in Elasticsearch (`index.max_result_window`).
const SIZE_MAX: u64 = 10_000;
/// Parameters of a URL that change no hits here.
const UNIMPORTANT: [&str; 7] =
    ["", "pretty", "human", "track_total_hits", "ignore_unavailable", "allow_no_indices", "expand_wildcards"];
/// The alias of all indices, from the logger's template.
const ALIAS: &str = "k8s-logs";
/// This many hits more than twice the answer are held before the list is cut.
const SPARE: usize = 1000;
/// Limit on the bytes of all hits. A search that finds more is refused; request fewer at a time. The largest document
/// is smaller.
const HITS_BYTES_MAX: usize = 9 * 1024 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Query {
    /// Names of indices; a name that ends in `*` is a prefix.
    indices: Vec<String>,
    filters: Vec<Filter>,
    size: usize,
    newest_first: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Filter {
    Pod(String),
    PodPrefix(String),
    From(Timestamp),
    After(Timestamp),
    To(Timestamp),
    Before(Timestamp),
}

fn size(number: Option<u64>, given: &dyn fmt::Display) -> Result<usize, String> {
    let size = number.filter(|size| *size <= SIZE_MAX);
    size.map(|size| size as usize).ok_or_else(|| format!("size: expected 0 to {SIZE_MAX}, got {given}"))
}

impl Query {
    /// Parses a request, or says what is not supported.
    pub(super) fn parse(indices: &str, body: &str) -> Result<Self, String> {
        let body: Map<String, Value> = match body.trim() {
            "" => Map::new(),
            body => serde_json::from_str(body).map_err(|error| error.to_string())?,
        };
        let mut query = Self {
            indices: indices.split(',').map(str::to_owned).collect(),
            filters: Vec::new(),
            size: SIZE as usize,
            newest_first: false,
        };
        for (key, value) in &body {
            match key.as_str() {
                "query" => query.clause(value)?,
                "size" => query.size = size(value.as_u64(), value)?,
                "sort" => query.newest_first = newest_first(value)?,
                // All members are returned, and all hits are counted.
                "_source" | "track_total_hits" => {}
                other => return Err(format!("{other}: not supported by the embedded Elasticsearch")),
            }
        }
        Ok(query)
    }

    /// Applies the parameters of its URL, which come before the body's.
    pub(super) fn with_parameters(mut self, parameters: &str) -> Result<Self, String> {
        for parameter in parameters.split('&') {
            match parameter.split_once('=').unwrap_or((parameter, "")) {
                ("size", text) => self.size = size(text.parse().ok(), &text)?,
                (name, _) if UNIMPORTANT.contains(&name) => {}
                (other, _) => return Err(format!("{other}: not supported by the embedded Elasticsearch")),
            }
        }
        Ok(self)
    }

    fn clause(&mut self, clause: &Value) -> Result<(), String> {
        let (kind, what) = only(clause)?;
        match kind {
            "match_all" => Ok(()),
            "bool" => {
                let (key, filters) = only(what)?;
                let filters = filters.as_array().filter(|_| key == "filter");
                let filters = filters.ok_or("bool: expected a list under filter, and nothing else")?;
                filters.iter().try_for_each(|filter| self.clause(filter))
            }
            "term" | "prefix" => {
                let (field, value) = only(what)?;
                let value = value.get("value").unwrap_or(value);
                let text = value.as_str().filter(|_| field == "pod");
                let text =
                    text.ok_or_else(|| format!("{kind}: expected pod and a text, got {what}"))?.to_owned();
                self.filters.push(if kind == "term" { Filter::Pod(text) } else { Filter::PodPrefix(text) });
                Ok(())
            }
            "range" => {
                let (field, bounds) = only(what)?;
                let bounds = bounds.as_object().filter(|_| field == "timestamp");
                for (bound, value) in
                    bounds.ok_or_else(|| format!("range: expected timestamp, got {what}"))?
                {
                    let time = value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
                    let time = time.ok_or_else(|| format!("range: expected a time, got {value}"))?;
                    self.filters.push(match bound.as_str() {
                        "gte" => Filter::From(time),
                        "gt" => Filter::After(time),
                        "lte" => Filter::To(time),
                        "lt" => Filter::Before(time),
                        other => {
                            return Err(format!(
                                "range: {other} is not supported by the embedded Elasticsearch"
                            ));
                        }
                    });
                }
                Ok(())
            }
            other => Err(format!("query {other}: not supported by the embedded Elasticsearch")),
        }
    }

    /// The answer, as JSON. Stored documents that can no longer be read are left out and counted.
    ///
    /// Documents are read twice, first for the sort keys and then for the answer, so that the answer bounds the memory.
    pub(super) fn run(&self, store: &Store) -> Result<String, SearchError> {
        let mut found: Vec<Found> = Vec::new();
        let (mut total, mut unreadable) = (0_u64, 0_u64);
        for (place, kept) in store.documents().enumerate() {
            let kept = match kept {
                Ok(kept) => kept,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    unreadable += 1;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let looked = Looked::at(kept.source.get()).unwrap_or_default();
            let wanted = self.indices.iter().any(|pattern| matches(pattern, &kept.index))
                && self.filters.iter().all(|filter| filter.passes(&looked));
            if !wanted {
                continue;
            }
            total += 1;
            let time = looked.timestamp.unwrap_or_default();
            found.push(Found { time, place, bytes: kept.bytes() });
            if found.len() >= 2 * self.size + SPARE {
                self.cut(&mut found);
            }
        }
        self.cut(&mut found);
        if unreadable > 0
            && let Some((searches, [])) = store.bad_searches.lock().note(clock::now(), [])
        {
            tracing::warn!(unreadable, searches, "documents of the embedded Elasticsearch cannot be read");
        }
        if found.iter().map(|hit| hit.bytes).sum::<usize>() > HITS_BYTES_MAX {
            return Err(SearchError::TooLarge { hits: found.len() });
        }
        let hits = serde_json::to_string(&read(store, &found)?).map_err(io::Error::from)?;
        let shards = json!({ "total": 1, "successful": 1, "skipped": 0, "failed": 0 });
        let total = json!({ "value": total, "relation": "eq" });
        Ok(format!(
            r#"{{"took":0,"timed_out":false,"unreadable":{unreadable},"_shards":{shards},"hits":{{"total":{total},"max_score":null,"hits":{hits}}}}}"#
        ))
    }
}

/// A hit before its document is read.
struct Found {
    time: Timestamp,
    /// Its position among all documents.
    place: usize,
    bytes: usize,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum SearchError {
    #[error("the {hits} hits have more than {HITS_BYTES_MAX} bytes; ask for fewer at a time (size)")]
    TooLarge { hits: usize },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The documents of hits, in the order of the hits.
fn read(store: &Store, found: &[Found]) -> io::Result<Vec<Kept>> {
    let mut order: Vec<usize> = (0..found.len()).collect();
    order.sort_by_key(|hit| found[*hit].place);
    let mut documents = store.documents().enumerate();
    let mut hits = Vec::with_capacity(found.len());
    for hit in order {
        let document = documents.find(|(place, _)| *place == found[hit].place);
        let (_, document) = document.ok_or(io::ErrorKind::UnexpectedEof)?;
        hits.push((hit, document?));
    }
    hits.sort_by_key(|(hit, _)| *hit);
    Ok(hits.into_iter().map(|(_, document)| document).collect())
}

impl Query {
    /// Sorts, and keeps only hits that can be part of the answer.
    fn cut(&self, found: &mut Vec<Found>) {
        // Stable: lines of the same time keep the order in which they were written.
        if self.newest_first {
            found.sort_by_key(|hit| Reverse(hit.time));
        } else {
            found.sort_by_key(|hit| hit.time);
        }
        found.truncate(self.size);
    }
}

impl Filter {
    fn passes(&self, looked: &Looked<'_>) -> bool {
        let (pod, time) = (looked.pod.as_deref().unwrap_or_default(), looked.timestamp);
        match self {
            Self::Pod(wanted) => pod == wanted,
            Self::PodPrefix(prefix) => pod.starts_with(prefix.as_str()),
            Self::From(bound) => time.is_some_and(|time| time >= *bound),
            Self::After(bound) => time.is_some_and(|time| time > *bound),
            Self::To(bound) => time.is_some_and(|time| time <= *bound),
            Self::Before(bound) => time.is_some_and(|time| time < *bound),
        }
    }
}

fn matches(pattern: &str, index: &str) -> bool {
    if pattern == ALIAS {
        return true;
    }
    match pattern.strip_suffix('*') {
        Some(beginning) => index.starts_with(beginning),
        None => index == pattern,
    }
}

/// The only member of an object.
fn only(value: &Value) -> Result<(&str, &Value), String> {
    let mut members = value.as_object().into_iter().flatten();
    match (members.next(), members.next()) {
        (Some((key, value)), None) => Ok((key, value)),
        _ => Err(format!("expected an object with one member, got {value}")),
    }
}

/// `"timestamp"`, `{"timestamp":"desc"}`, `{"timestamp":{"order":"desc",…}}`, or a list of one of these.
fn newest_first(sort: &Value) -> Result<bool, String> {
    let not_understood = || format!("sort: expected timestamp with asc or desc, got {sort}");
    let one = match sort {
        Value::Array(list) if list.len() == 1 => &list[0],
        Value::Array(_) => return Err(not_understood()),
        one => one,
    };
    if one == "timestamp" {
        return Ok(false);
    }
    let (field, order) = only(one)?;
    match order.get("order").unwrap_or(order).as_str() {
        Some("asc") if field == "timestamp" => Ok(false),
        Some("desc") if field == "timestamp" => Ok(true),
        _ => Err(not_understood()),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::bulk, *};

    /// `(pod, minute)` of each hit, in order.
    fn search(body: &Value) -> Result<Vec<(String, String)>, String> {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::create(directory.path().join("documents"), 10_000).unwrap();
        let pods = ["tcp-0", "tcp-1", "udp-0", "tcp-0"];
        for (minute, pod) in [(2, pods[0]), (0, pods[1]), (3, pods[2]), (1, pods[3])] {
            let timestamp = format!("2026-11-21T10:0{minute}:00.5Z");
            let lines = format!(
                "{{\"create\":{{\"_index\":\"logs-a\",\"_id\":\"{minute}\"}}}}\n{}\n",
                json!({"pod": pod, "text": "x", "timestamp": timestamp})
            );
            store.write(&bulk::parse(&lines).unwrap()[0]).unwrap();
        }
        let answer = Query::parse("logs-*", &body.to_string())?.run(&store).unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let hits = answer["hits"]["hits"].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Ok(hits.iter().map(|hit| (text(&hit["_source"]["pod"]), text(&hit["_id"]))).collect())
    }

    fn minutes(body: &Value) -> Vec<String> {
        search(body).unwrap().into_iter().map(|(_, minute)| minute).collect()
    }

    #[test]
    fn hits_are_filtered_sorted_and_cut() {
        assert_eq!(minutes(&json!({})), ["0", "1", "2", "3"]);
        assert_eq!(minutes(&json!({"size": 2, "sort": [{"timestamp": "desc"}]})), ["3", "2"]);
        let filter = json!([
            {"prefix": {"pod": "tcp-"}},
            {"range": {"timestamp": {"gte": "2026-11-21T10:01:00.5Z", "lt": "2026-11-21T10:02:00.5Z"}}},
        ]);
        assert_eq!(minutes(&json!({"query": {"bool": {"filter": filter}}})), ["1"]);
        assert_eq!(minutes(&json!({"query": {"term": {"pod": {"value": "udp-0"}}}})), ["3"]);
        assert_eq!(Query::parse("other", "").unwrap().indices, ["other"]);
        let sized = |parameters| Query::parse("*", r#"{"size": 3}"#).unwrap().with_parameters(parameters);
        assert_eq!(sized("").unwrap().size, 3);
        assert_eq!(sized("pretty&size=2").unwrap().size, 2);
        assert!(sized("q=text").unwrap_err().contains("q: not supported"));
        assert!(sized("size=-1").unwrap_err().contains("expected 0 to 10000, got -1"));
        assert!(matches("k8s-logs", "logs-a") && !matches("logs", "logs-a") && matches("logs-a", "logs-a"));
    }

    #[test]
    fn an_answer_is_bounded_and_smaller_pages_give_all_hits() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::create(directory.path().join("documents"), 64 * 1024 * 1024).unwrap();
        let document = json!({ "text": "x".repeat(HITS_BYTES_MAX / 4) }).to_string();
        for id in ["1", "2", "3", "4"] {
            let action = bulk::Action { index: "i".to_owned(), id: id.to_owned(), source: &document };
            assert!(!store.write(&action).unwrap().is_error());
        }
        let run = |size| Query::parse("*", &json!({ "size": size }).to_string()).unwrap().run(&store);
        assert!(run(3).unwrap().len() < HITS_BYTES_MAX);
        let error = run(4).unwrap_err();
        assert!(matches!(error, SearchError::TooLarge { hits: 4 }), "{error}");
    }

    #[test]
    fn invalid_input_is_refused() {
        for (body, reason) in [
            (json!({"aggs": {}}), "aggs: not supported"),
            (json!({"size": 10_001}), "expected 0 to 10000"),
            (json!({"sort": ["pod"]}), "expected"),
            (json!({"query": {"match": {"text": "x"}}}), "query match: not supported"),
            (json!({"query": {"range": {"timestamp": {"gte": "now-1h"}}}}), "expected a time"),
            (json!({"query": {"bool": {"should": []}}}), "bool: expected a list under filter"),
        ] {
            let error = search(&body).unwrap_err();
            assert!(error.contains(reason), "{body}: {error}");
        }
    }
}
