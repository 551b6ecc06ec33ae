//! Elasticsearch: the index template, and bulk requests.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use elasticsearch::Elasticsearch;
use elasticsearch::auth::Credentials as ClientCredentials;
use elasticsearch::cert::{Certificate, CertificateValidation};
use elasticsearch::http::headers::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use elasticsearch::http::response::Response;
use elasticsearch::http::transport::{MultiNodeConnectionPool, TransportBuilder};
use elasticsearch::http::{Method, StatusCode};
use elasticsearch::indices::IndicesPutIndexTemplateParts;
use serde::Deserialize;
use serde_json::json;
use tracing::debug;

use crate::PIPELINE;
use crate::settings::{self, Credentials, Trust};

/// The only part of a bulk's answer that is needed; it limits a good answer to a few bytes per document.
const ANSWER: &[(&str, &str)] =
    &[("filter_path", "errors,items.*.status,items.*.error.type,items.*.error.reason")];
/// The name under which dashboards find all log indices.
const ALIAS: &str = "k8s-logs";
/// Errors are truncated to this: they may quote the document.
const REASON_CHARS_MAX: usize = 300;

/// Creates a client without connecting.
///
/// # Errors
/// The client rejects its configuration; says why.
pub(crate) fn client(settings: &settings::Elasticsearch) -> Result<Elasticsearch, String> {
    let pool = MultiNodeConnectionPool::round_robin(settings.urls.clone(), None);
    // Answers are small and come from nearby: compressing them would cost both sides more than it saves. Proxies in the
    // environment are meant for remote servers.
    let mut builder = TransportBuilder::new(pool)
        .header(ACCEPT_ENCODING, HeaderValue::from_static("identity"))
        .timeout(settings.timeout)
        .disable_proxy();
    if let Some(credentials) = &settings.credentials {
        builder = builder.auth(match credentials {
            Credentials::Basic { user, password } => ClientCredentials::Basic(user.clone(), password.clone()),
            Credentials::ApiKey(key) => ClientCredentials::EncodedApiKey(key.clone()),
        });
    }
    match &settings.trust {
        Trust::Usual => {}
        Trust::Also(pem) => {
            let authorities = Certificate::from_pem(pem).map_err(|error| error.to_string())?;
            builder = builder.cert_validation(CertificateValidation::Full(authorities));
        }
        Trust::Everything => builder = builder.cert_validation(CertificateValidation::None),
    }
    builder.build().map(Elasticsearch::new).map_err(|error| error.to_string())
}

/// The outcome for one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Written {
    Created,
    /// It already existed.
    Duplicate,
    /// Not now; perhaps later.
    Busy(String),
    /// Never.
    Refused(String),
}

/// Why a whole request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// No answer, or not the expected kind; in words.
    #[error("{0}")]
    Unavailable(String),
    /// The request is too large for Elasticsearch, or for a proxy on the way to it.
    #[error("larger than Elasticsearch accepts in one request")]
    TooLarge,
    /// Something in the request will never be accepted; in words.
    #[error("{0}")]
    Refused(String),
}

/// Writes documents to Elasticsearch.
pub(crate) struct Sink {
    client: Elasticsearch,
    index_prefix: String,
    /// The template has been put since Elasticsearch was last unreachable.
    has_template: AtomicBool,
}

impl Sink {
    pub(crate) fn new(client: Elasticsearch, index_prefix: String) -> Self {
        Self { client, index_prefix, has_template: AtomicBool::new(false) }
    }

    /// Writes documents; returns the outcome of each, in order. Puts the index template first, once, and again after a
    /// failure: an Elasticsearch that was away may have lost it, and the first document creates the index.
    pub(crate) async fn write(&self, body: Bytes, documents: usize) -> Result<Vec<Written>, Failure> {
        if !self.has_template.load(Ordering::Relaxed) {
            self.put_template().await?;
            self.has_template.store(true, Ordering::Relaxed);
        }
        let written = self.post(body, documents).await;
        if matches!(written, Err(Failure::Unavailable(_))) {
            self.has_template.store(false, Ordering::Relaxed);
        }
        written
    }

    async fn put_template(&self) -> Result<(), Failure> {
        let template = json!({
            "index_patterns": [format!("{}-*", self.index_prefix)],
            "priority": 500,
            "template": {
                "settings": { "number_of_shards": 1, "auto_expand_replicas": "0-1" },
                "aliases": { ALIAS: {} },
                // Members not named here are kept but not indexed, so that other programs' logs cannot use up the
                // index's limit on fields.
                "mappings": { "dynamic": false, "properties": {
                    "timestamp": { "type": "date_nanos" },
                    "pod": { "type": "keyword", "ignore_above": 256 },
                    "text": { "type": "text" },
                } },
            },
            "_meta": { "description": "Log lines, written by playctl serve logger" },
        });
        let name = IndicesPutIndexTemplateParts::Name(&self.index_prefix);
        let answer = self.client.indices().put_index_template(name).body(template).send().await;
        match accepted(answer).await {
            Ok(_) => self.put_alias().await,
            // No single document is to blame.
            Err(Failure::Refused(reason)) => return Err(Failure::Unavailable(reason)),
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    /// Adds the alias to indices older than the template. There may be none, and a user who may write documents may not
    /// be allowed to do this: neither prevents writing documents.
    async fn put_alias(&self) {
        let add = json!({ "add": { "index": format!("{}-*", self.index_prefix), "alias": ALIAS } });
        let answer = self.client.indices().update_aliases().body(json!({ "actions": [add] })).send().await;
        if let Err(reason) = accepted(answer).await {
            debug!(target: PIPELINE, %reason, alias = ALIAS, "cannot add the alias to older indices");
        }
    }

    async fn post(&self, body: Bytes, documents: usize) -> Result<Vec<Written>, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        let answer =
            self.client.transport().send(Method::Post, "_bulk", headers, Some(ANSWER), Some(body), None);
        let answer = accepted(answer.await).await?;
        let answer: Answer = serde_json::from_slice(&answer)
            .map_err(|error| Failure::Unavailable(format!("not an answer to a bulk request: {error}")))?;
        if answer.items.len() != documents {
            let message = format!("an answer for {} of {documents} documents", answer.items.len());
            return Err(Failure::Unavailable(message));
        }
        Ok(answer.items.into_iter().map(|item| item.create.outcome()).collect())
    }
}

/// The body of a successful answer.
pub(crate) async fn accepted(answer: Result<Response, elasticsearch::Error>) -> Result<Bytes, Failure> {
    let unavailable = |error: &dyn std::error::Error| Failure::Unavailable(in_words(error));
    let answer = answer.map_err(|error| unavailable(&error))?;
    let status = answer.status_code();
    let body = answer.bytes().await.map_err(|error| unavailable(&error))?;
    if status.is_success() {
        return Ok(body);
    }
    Err(match status {
        StatusCode::PAYLOAD_TOO_LARGE => Failure::TooLarge,
        StatusCode::UNAUTHORIZED => Failure::Unavailable(
            "Elasticsearch rejects ELASTICSEARCH_USER and ELASTICSEARCH_PASSWORD or ELASTICSEARCH_API_KEY"
                .into(),
        ),
        StatusCode::FORBIDDEN => Failure::Unavailable(format!(
            "Elasticsearch forbids it: {}",
            short(&String::from_utf8_lossy(&body))
        )),
        status => {
            let reason =
                format!("Elasticsearch answers {status}: {}", short(&String::from_utf8_lossy(&body)));
            if status == StatusCode::BAD_REQUEST {
                Failure::Refused(reason)
            } else {
                Failure::Unavailable(reason)
            }
        }
    })
}

/// An error and its causes. The innermost one says what happened ("Connection refused").
fn in_words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    short(&text)
}

fn short(text: &str) -> String {
    match text.char_indices().nth(REASON_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The answer to a bulk request.
#[derive(Deserialize)]
struct Answer {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    create: Outcome,
}

#[derive(Deserialize)]
struct Outcome {
    status: u16,
    error: Option<ItemError>,
}

#[derive(Deserialize)]
struct ItemError {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    reason: String,
}

impl Outcome {
    fn outcome(self) -> Written {
        const CREATED: std::ops::RangeInclusive<u16> = 200..=299;
        const BAD_REQUEST: u16 = 400;
        const FORBIDDEN: u16 = 403;
        const CONFLICT: u16 = 409;
        const TOO_LARGE: u16 = 413;
        let reason = || {
            let error = self.error.as_ref();
            error.map_or_else(
                || format!("status {}", self.status),
                |error| short(&format!("{}: {}", error.kind, error.reason)),
            )
        };
        match self.status {
            status if CREATED.contains(&status) => Written::Created,
            CONFLICT => Written::Duplicate,
            BAD_REQUEST | FORBIDDEN | TOO_LARGE if !self.is_of_the_cluster() => Written::Refused(reason()),
            _ => Written::Busy(reason()),
        }
    }

    /// Whether a bad request is not the document's fault, so that any other would fail too. Such errors are also 400 or
    /// 403 (too many shards, a closed index, a full disk), and disappear once somebody repairs the cluster.
    fn is_of_the_cluster(&self) -> bool {
        const KINDS: [&str; 3] =
            ["validation_exception", "index_closed_exception", "cluster_block_exception"];
        self.error.as_ref().is_some_and(|error| KINDS.contains(&error.kind.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(item: &str) -> Written {
        serde_json::from_str::<Outcome>(item).unwrap().outcome()
    }

    #[test]
    fn answers_are_told_apart() {
        assert_eq!(outcome(r#"{"status":201}"#), Written::Created);
        let conflict = r#"{"status":409,"error":{"type":"version_conflict_engine_exception","reason":"r"}}"#;
        assert_eq!(outcome(conflict), Written::Duplicate);
        let busy = r#"{"status":429,"error":{"type":"es_rejected_execution_exception","reason":"full"}}"#;
        assert_eq!(outcome(busy), Written::Busy("es_rejected_execution_exception: full".into()));
        let parsing = r#"{"status":400,"error":{"type":"document_parsing_exception","reason":"no date"}}"#;
        assert_eq!(outcome(parsing), Written::Refused("document_parsing_exception: no date".into()));
        let shards = r#"{"status":400,"error":{"type":"validation_exception","reason":"too many shards"}}"#;
        assert!(matches!(outcome(shards), Written::Busy(_)), "no document is to blame for that");
        let forbidden = r#"{"status":403,"error":{"type":"security_exception","reason":"not yours"}}"#;
        assert_eq!(outcome(forbidden), Written::Refused("security_exception: not yours".into()));
        let blocked = r#"{"status":403,"error":{"type":"cluster_block_exception","reason":"disk full"}}"#;
        assert!(matches!(outcome(blocked), Written::Busy(_)), "it is accepted when the block is gone");
        assert!(matches!(outcome(r#"{"status":503}"#), Written::Busy(_)));
        assert!(matches!(outcome(r#"{"status":404}"#), Written::Busy(_)), "an index that cannot be created");
    }
}
