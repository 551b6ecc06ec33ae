//! Asks a Prometheus instant queries over its HTTP API.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use serde::Deserialize;

use crate::http;

/// A Prometheus, by its URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Client {
    /// `host:port`.
    authority: String,
    /// Where its API begins; empty or with a leading and without a trailing slash.
    path: String,
}

/// Values in milli-units by pod.
pub(crate) type ByPod = BTreeMap<String, i64>;

impl Client {
    /// Takes `http://HOST[:PORT][/PATH]`.
    pub(crate) fn new(url: &str) -> Result<Self, String> {
        let expected = || format!("prometheus.url: {url:?}: expected http://HOST[:PORT][/PATH]");
        let rest = url.strip_prefix("http://").ok_or_else(expected)?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let plain = |text: &str| text.chars().all(|c| c.is_ascii_graphic() && !"@?#\\".contains(c));
        if authority.is_empty() || !plain(authority) || !plain(path) {
            return Err(expected());
        }
        // An IPv6 address has colons of its own, in brackets.
        let port = authority.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
        let authority = match port {
            Some(port) if port.parse::<u16>().is_ok_and(|port| port > 0) => authority.to_owned(),
            Some(_) => return Err(expected()),
            None => format!("{authority}:80"),
        };
        Ok(Self { authority, path: path.trim_end_matches('/').to_owned() })
    }

    /// The value of each pod that an instant query gives now.
    pub(crate) async fn by_pod(&self, query: &str, timeout: Duration) -> Result<ByPod, String> {
        let path = format!("{}/api/v1/query?query={}", self.path, encoded(query));
        let answer = http::get_from(&self.authority, &path, timeout)
            .await
            .map_err(|error| format!("Prometheus at {}: {error}", self.authority))?;
        read(&answer).map_err(|why| format!("Prometheus at {}: {why}", self.authority))
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
    /// Its form depends on the kind.
    result: serde_json::Value,
}

#[derive(Debug, Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    /// Seconds since 1970, and the value as text, which may be `NaN` or `+Inf`.
    value: (f64, String),
}

fn read(answer: &http::Answer) -> Result<ByPod, String> {
    let first_line = || answer.body.lines().next().unwrap_or_default().to_owned();
    let reply: Reply = serde_json::from_str(&answer.body)
        .map_err(|_| format!("answered {} {}", answer.status, first_line()).trim_end().to_owned())?;
    match reply {
        Reply::Success { data } if data.kind == "vector" => {
            let series: Vec<Series> =
                serde_json::from_value(data.result).map_err(|error| format!("answered a vector: {error}"))?;
            series.into_iter().map(sample).collect()
        }
        Reply::Success { data } => Err(format!("expected a vector, answered a {}", data.kind)),
        Reply::Error { kind, error } => Err(format!("{kind}: {error}")),
    }
}

fn sample(series: Series) -> Result<(String, i64), String> {
    let Series { mut metric, value: (_, value) } = series;
    let pod = metric.remove("pod").ok_or("a series of the answer has no label pod")?;
    let value: f64 = value.parse().map_err(|_| format!("{pod}: {value:?} is no number"))?;
    // As the adapter does: fractions of a milli-unit are cut off, and NaN becomes 0 in the conversion.
    Ok((pod, (value * 1000.0) as i64))
}

/// All but what every URL may hold is written as `%XX`.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(status: u16, body: &str) -> http::Answer {
        http::Answer { status, body: body.to_owned() }
    }

    #[test]
    fn urls_are_taken_apart_or_refused() {
        let taken = |url: &str| Client::new(url).map(|client| (client.authority, client.path)).ok();
        let some = |authority: &str, path: &str| Some((authority.to_owned(), path.to_owned()));
        assert_eq!(taken("http://127.77.250.13:9090"), some("127.77.250.13:9090", ""));
        assert_eq!(taken("http://prometheus/"), some("prometheus:80", ""));
        assert_eq!(taken("http://[::1]:9090/a/b/"), some("[::1]:9090", "/a/b"));
        assert_eq!(taken("http://[::1]"), some("[::1]:80", ""));
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
            assert!(error.contains("expected http://HOST"), "{wrong}: {error}");
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
    fn what_went_wrong_is_said_in_its_own_words() {
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
                "expected a vector, answered a scalar",
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

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(status: u16, body in "\\PC*") {
            let _ = read(&answer(status, &body));
        }

        #[test]
        fn queries_survive_their_encoding(query in "\\PC*") {
            let encoded = encoded(&query);
            prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_graphic()));
            let mut bytes = Vec::new();
            let mut rest = encoded.as_bytes();
            while let Some((first, after)) = rest.split_first() {
                if *first == b'%' {
                    let hex = std::str::from_utf8(&after[..2]).unwrap();
                    bytes.push(u8::from_str_radix(hex, 16).unwrap());
                    rest = &after[2..];
                } else {
                    bytes.push(*first);
                    rest = after;
                }
            }
            prop_assert_eq!(String::from_utf8(bytes).unwrap(), query);
        }
    }
}
