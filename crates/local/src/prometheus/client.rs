//! Asks a Prometheus instant queries over its HTTP API.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;

use crate::http;

/// A Prometheus, identified by its URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Client {
    /// The address for queries.
    query: http::Url,
}

/// Why a query failed. The autoscaler retries at its next sync.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum QueryError {
    #[error("there is no Prometheus, or it is not ready yet")]
    NoServer,
    #[error("prometheus.url: {0:?}: expected http://HOST[:PORT][/PATH]")]
    Url(String),
    #[error("Prometheus at {at}: {error}")]
    Http { at: String, error: String },
    /// It answered, but not with values of pods.
    #[error("Prometheus at {at}: {answer}")]
    Answer { at: String, answer: String },
}

/// Values in milli-units by pod.
pub(crate) type ByPod = BTreeMap<String, i64>;

impl Client {
    /// Takes `http://HOST[:PORT][/PATH]`.
    pub(crate) fn new(url: &str) -> Result<Self, QueryError> {
        let refused = || QueryError::Url(url.to_owned());
        // A lenient URL parser would take the first part of the path for a missing host.
        let rest = url.strip_prefix("http://").filter(|rest| !rest.is_empty() && !rest.starts_with('/'));
        let base = rest.ok_or_else(refused)?.trim_end_matches('/');
        let query = http::url(format_args!("http://{base}/api/v1/query")).map_err(|_| refused())?;
        // With its own question mark, the rest of the path would be part of the query.
        if query.query().is_some() || query.port() == Some(0) {
            return Err(refused());
        }
        Ok(Self { query })
    }

    /// The current value of each pod, by an instant query.
    pub(crate) async fn by_pod(&self, query: &str, timeout: Duration) -> Result<ByPod, QueryError> {
        let mut url = self.query.clone();
        url.query_pairs_mut().append_pair("query", query);
        let at = || self.query.authority().to_owned();
        let answer = http::get_url(url, timeout).await;
        let answer = answer.map_err(|error| QueryError::Http { at: at(), error: error.to_string() })?;
        read(&answer).map_err(|answer| QueryError::Answer { at: at(), answer })
    }
}

/// The Prometheus that provides custom metrics.
#[derive(Debug, Default)]
pub(crate) struct Prometheus {
    client: Option<(String, Client)>,
}

impl Prometheus {
    /// The client for this address, recreated only if the address changed.
    pub(crate) fn client(&mut self, url: Option<&str>) -> Result<Client, QueryError> {
        let url = url.ok_or(QueryError::NoServer)?;
        match &self.client {
            Some((known, client)) if known == url => Ok(client.clone()),
            _ => {
                let client = Client::new(url)?;
                self.client = Some((url.to_owned(), client.clone()));
                Ok(client)
            }
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
enum Reply {
    Success {
        data: Data,
    },
    Error {
        #[serde(rename = "errorType")]
        kind: String,
        error: String,
    },
}

#[derive(Debug, Deserialize)]
struct Data {
    #[serde(rename = "resultType")]
    kind: String,
    /// Its format depends on the kind.
    result: serde_json::Value,
}

#[derive(Debug, Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    /// Seconds since 1970, and the value as text, which may be `NaN` or `+Inf`.
    value: (f64, String),
}

/// Maximum length of a reason: an answer from another program may be a whole page.
const REASON_MAX: usize = 200;

fn read(answer: &http::Answer) -> Result<ByPod, String> {
    by_pod(answer).map_err(|why| {
        let mut shown: String = why.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some((end, _)) = shown.char_indices().nth(REASON_MAX) {
            shown.truncate(end);
            shown.push('…');
        }
        shown
    })
}

fn by_pod(answer: &http::Answer) -> Result<ByPod, String> {
    let first_line = || answer.body.lines().next().unwrap_or_default();
    let reply: Reply = serde_json::from_str(&answer.body)
        .map_err(|_| format!("answered {} {}", answer.status, first_line()))?;
    match reply {
        Reply::Success { data } if data.kind == "vector" => {
            let series: Vec<Series> =
                serde_json::from_value(data.result).map_err(|error| format!("answered a vector: {error}"))?;
            series.into_iter().map(sample).collect()
        }
        Reply::Success { data } => Err(format!("expected a vector, got a {}", data.kind)),
        Reply::Error { kind, error } => Err(format!("{kind}: {error}")),
    }
}

fn sample(series: Series) -> Result<(String, i64), String> {
    let Series { mut metric, value: (_, value) } = series;
    let pod = metric.remove("pod").ok_or("a series of the answer has no label pod")?;
    let value: f64 = value.parse().map_err(|_| format!("{pod}: {value:?} is not a number"))?;
    // As the adapter does: truncates fractions of a milli-unit, and NaN becomes 0 in the conversion.
    Ok((pod, (value * 1000.0) as i64))
}

/// Invariants for any answer. Panics if one is violated.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz(status: u16, body: &str, pods: &[(String, f64)]) {
    let reason = read(&http::Answer { status, body: body.to_owned() }).err();
    assert!(
        reason.is_none_or(|reason| reason.chars().count() <= REASON_MAX + 1 && reason.lines().count() <= 1)
    );

    // An answer that follows the rules is parsed correctly.
    let series = pods.iter().map(|(pod, value)| {
        serde_json::json!({"metric": {"pod": pod, "namespace": body}, "value": [1.5, value.to_string()]})
    });
    let data = serde_json::json!({"resultType": "vector", "result": series.collect::<Vec<_>>()});
    let body = serde_json::json!({"status": "success", "data": data}).to_string();
    let expected: ByPod = pods.iter().map(|(pod, value)| (pod.clone(), (value * 1000.0) as i64)).collect();
    assert_eq!(read(&http::Answer { status, body }), Ok(expected));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(status: u16, body: &str) -> http::Answer {
        http::Answer { status, body: body.to_owned() }
    }

    #[test]
    fn urls_are_taken_or_refused() {
        let asked = |url: &str| Client::new(url).map(|client| client.query.to_string()).ok();
        for (url, expected) in [
            ("http://127.77.250.13:9090", "http://127.77.250.13:9090/api/v1/query"),
            ("http://prometheus/", "http://prometheus/api/v1/query"),
            ("http://[::1]:9090/a/b/", "http://[::1]:9090/a/b/api/v1/query"),
            ("http://[::1]", "http://[::1]/api/v1/query"),
        ] {
            assert_eq!(asked(url).as_deref(), Some(expected));
        }
        for wrong in [
            "https://there:9090",
            "there:9090",
            "http://",
            "http:///a",
            "http://there:port",
            "http://there:0",
            "http://user:secret@there",
            "http://there/a?b=c",
            "http://a b",
        ] {
            let error = Client::new(wrong).unwrap_err();
            assert_eq!(error, QueryError::Url(wrong.to_owned()));
        }
    }

    #[test]
    fn values_are_read_by_pod() {
        let body = r#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{"namespace":"playground","pod":"tcp-0"},"value":[1700000000.123,"7012"]},
            {"metric":{"namespace":"playground","pod":"tcp-1"},"value":[1700000000.123,"0.0019"]},
            {"metric":{"namespace":"playground","pod":"tcp-2"},"value":[1700000000.123,"NaN"]}]}}"#;
        let expected = [("tcp-0", 7_012_000), ("tcp-1", 1), ("tcp-2", 0)];
        let expected: ByPod = expected.map(|(pod, milli)| (pod.to_owned(), milli)).into();
        assert_eq!(read(&answer(200, body)).unwrap(), expected);
        let nothing = r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#;
        assert_eq!(read(&answer(200, nothing)).unwrap(), ByPod::new());
    }

    #[test]
    fn errors_keep_their_original_words() {
        for (status, body, expected) in [
            (
                400,
                r#"{"status":"error","errorType":"bad_data","error":"parse error: unexpected end"}"#,
                "bad_data: parse error",
            ),
            (503, "Service Unavailable\nmore", "answered 503 Service Unavailable"),
            (
                200,
                r#"{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}"#,
                "expected a vector, got a scalar",
            ),
            (
                200,
                r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"2"]}]}}"#,
                "no label pod",
            ),
        ] {
            let error = read(&answer(status, body)).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn reasons_are_one_line_however_long_the_answer_is() {
        let long = "x".repeat(100_000);
        let value = format!(r#"{{"metric":{{"pod":"p"}},"value":[1,"{long}"]}}"#);
        for body in [
            long.clone(),
            format!(r#"{{"status":"error","errorType":"a\nb","error":"{long}"}}"#),
            format!(r#"{{"status":"success","data":{{"resultType":"{long}","result":[]}}}}"#),
            format!(r#"{{"status":"success","data":{{"resultType":"vector","result":"{long}"}}}}"#),
            format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{value}]}}}}"#),
        ] {
            let reason = read(&answer(200, &body)).unwrap_err();
            assert!(reason.chars().count() <= REASON_MAX + 1 && !reason.contains('\n'), "{reason}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(status: u16, body in "\\PC*") {
            let _ = read(&answer(status, &body));
        }

        #[test]
        fn queries_survive_their_encoding(query in "\\PC*") {
            let mut url = Client::new("http://there:9090").unwrap().query;
            url.query_pairs_mut().append_pair("query", &query);
            prop_assert!(url.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
            let (_, read) = url.query_pairs().next().unwrap();
            prop_assert_eq!(&*read, query);
        }
    }
}
