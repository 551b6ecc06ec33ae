//! Calls to the members of a cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Response;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::lines::Lines;
use super::wire::{self, Granted, KeptAlive, Page, Revoked, Trouble, TxnAnswer};
use super::{Batch, Committed, Entry, Error, Lease, Settings, Txn};
use crate::http::{self, Url};

/// A longer answer is an error: a page of a list has [`PAGE`] keys, and stored values have only a few KiB.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Keys per request.
const PAGE: usize = 250;
/// Limit on a list's memory.
const LIST_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Overhead of a key in addition to its bytes.
const ENTRY_BYTES: usize = 128;

/// The members of a cluster, and which of them to ask. Clones share that.
#[derive(Debug, Clone)]
pub struct Client {
    endpoints: Arc<[Url]>,
    /// The member that answered last.
    preferred: Arc<AtomicUsize>,
    timeout: Duration,
}

/// All keys with a prefix, at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    pub revision: i64,
    pub entries: Vec<Entry>,
}

impl Client {
    /// A member has `timeout` to answer; then the next one is tried. Clients start with different members.
    ///
    /// # Panics
    /// If no member is given.
    pub fn new(settings: &Settings, timeout: Duration) -> Self {
        assert!(!settings.endpoints.is_empty(), "settings name at least one member");
        let first = rand::random_range(0..settings.endpoints.len());
        let endpoints = settings.endpoints.clone().into();
        Self { endpoints, preferred: Arc::new(AtomicUsize::new(first)), timeout }
    }

    /// A lease that lives for `ttl` (in whole seconds) after it was last kept alive.
    ///
    /// # Errors
    /// No member grants one.
    pub async fn grant(&self, ttl: Duration) -> Result<Lease, Error> {
        let request = json!({"TTL": ttl.as_secs().to_string()});
        let granted: Granted = self.call("/v3/lease/grant", &request, wire::read_answer).await?;
        Ok(Lease(granted.id.0))
    }

    /// Keeps the lease alive.
    ///
    /// # Errors
    /// It has ended, or no member answers.
    pub async fn keep_alive(&self, lease: Lease) -> Result<(), Error> {
        let request = json!({"ID": lease.0.to_string()});
        let alive: KeptAlive = self.call("/v3/lease/keepalive", &request, wire::read_streamed).await?;
        if alive.ttl.0 > 0 { Ok(()) } else { Err(Error::LeaseGone) }
    }

    /// Ends the lease and removes its keys.
    ///
    /// # Errors
    /// It has ended already, or no member answers.
    pub async fn revoke(&self, lease: Lease) -> Result<(), Error> {
        let request = json!({"ID": lease.0.to_string()});
        self.call::<Revoked>("/v3/lease/revoke", &request, wire::read_answer).await.map(drop)
    }

    /// Carries out a transaction. After [`Error::Away`] it may have happened, or may yet happen; its guard shows which.
    ///
    /// # Errors
    /// A lease is gone, etcd refuses, or no member answers.
    pub async fn commit(&self, txn: &Txn) -> Result<Committed, Error> {
        self.call::<TxnAnswer>("/v3/kv/txn", &txn.request(), wire::read_answer).await.map(Committed::from)
    }

    /// All keys with a prefix, read page by page.
    ///
    /// # Errors
    /// No member answers, or there are too many.
    pub async fn list(&self, prefix: &[u8]) -> Result<List, Error> {
        let (mut from, end) = wire::range(prefix);
        let mut list = List { revision: 0, entries: Vec::new() };
        let mut bytes = 0;
        loop {
            let request = json!({
                "key": from, "range_end": end, "limit": PAGE.to_string(), "revision": list.revision.to_string()
            });
            let page: Page = self.call("/v3/kv/range", &request, wire::read_answer).await?;
            if list.revision == 0 {
                list.revision = page.revision();
            }
            let (more, before) = (page.more, list.entries.len());
            for entry in page.entries() {
                bytes += entry.key.len() + entry.value.len() + ENTRY_BYTES;
                if bytes > LIST_BYTES_MAX {
                    let prefix = String::from_utf8_lossy(prefix);
                    return Err(Error::TooMuch(format!("more than {LIST_BYTES_MAX} bytes under {prefix}")));
                }
                list.entries.push(entry);
            }
            if !more {
                return Ok(list);
            }
            let last = list.entries.last().filter(|_| list.entries.len() > before);
            let Some(last) = last else { return Err(Error::Away("a page without keys".into())) };
            from = wire::encode(&[&last.key[..], &[0]].concat());
        }
    }

    /// Watches all keys with a prefix, from a revision on.
    ///
    /// # Errors
    /// No member answers, or the revision was compacted.
    pub async fn watch(&self, prefix: &[u8], from_revision: i64) -> Result<Watch, Error> {
        let (key, range_end) = wire::range(prefix);
        let request = json!({"create_request": {
            "key": key, "range_end": range_end, "start_revision": from_revision.to_string(), "fragment": true
        }});
        let request = &request;
        self.ask_around(|endpoint| async move {
            let response = post(endpoint, "/v3/watch", request).await?;
            let mut watch = Watch { response, lines: Lines::default(), missed: None };
            let first = watch.read().await.map_err(as_trouble)?;
            if let Some(ended) = first.ended.clone() {
                return Err(as_trouble(ended));
            }
            if !first.created && first.changes.is_empty() {
                return Err(Trouble::Member("no answer of etcd's to a watch".into()));
            }
            watch.missed = Some(first).filter(|first| !first.changes.is_empty());
            Ok(watch)
        })
        .await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        path: &str,
        request: &Value,
        read: fn(u16, &[u8]) -> Result<T, Trouble>,
    ) -> Result<T, Error> {
        self.ask_around(|endpoint| async move {
            let response = post(endpoint, path, request).await?;
            let status = response.status().as_u16();
            read(status, &whole(response).await?)
        })
        .await
    }

    /// Tries one member after another, until one answers.
    async fn ask_around<'a, T, Asking: Future<Output = Result<T, Trouble>>>(
        &'a self,
        ask: impl Fn(&'a Url) -> Asking,
    ) -> Result<T, Error> {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut reasons = Vec::new();
        for step in 0..self.endpoints.len() {
            let number = (first + step) % self.endpoints.len();
            let endpoint = &self.endpoints[number];
            let reason = match timeout(self.timeout, ask(endpoint)).await {
                Ok(Ok(answer)) => {
                    self.preferred.store(number, Ordering::Relaxed);
                    return Ok(answer);
                }
                Ok(Err(Trouble::Final(error))) => return Err(error),
                Ok(Err(Trouble::Member(reason))) => reason,
                Err(_) => format!("no answer within {} ms", self.timeout.as_millis()),
            };
            reasons.push(format!("{}: {reason}", endpoint.authority()));
        }
        Err(Error::Away(reasons.join("; ")))
    }
}

fn as_trouble(error: Error) -> Trouble {
    match error {
        Error::Away(reason) => Trouble::Member(reason),
        error => Trouble::Final(error),
    }
}

async fn post(endpoint: &Url, path: &str, request: &Value) -> Result<Response, Trouble> {
    let mut url = endpoint.clone();
    url.set_path(path);
    http::CLIENT
        .post(url)
        .header("Content-Type", "application/json")
        // From gRPC: without a leader, a member ends a watch instead of staying silent.
        .header("Grpc-Metadata-hasleader", "true")
        .body(request.to_string())
        .send()
        .await
        .map_err(|error| Trouble::Member(wire::brief(&http::innermost(&error), "no answer")))
}

async fn whole(mut response: Response) -> Result<Vec<u8>, Trouble> {
    let mut body = Vec::new();
    while let Some(chunk) = next_chunk(&mut response).await? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(Trouble::Member(format!("an answer of more than {ANSWER_BYTES_MAX} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

async fn next_chunk(
    response: &mut Response,
) -> Result<Option<impl AsRef<[u8]> + std::ops::Deref<Target = [u8]>>, Trouble> {
    let chunk = response.chunk().await;
    chunk.map_err(|error| Trouble::Member(wire::brief(&http::innermost(&error), "the answer broke off")))
}

/// Changes as they happen, reported by one member.
#[derive(Debug)]
pub struct Watch {
    response: Response,
    lines: Lines,
    /// Changes that came with the confirmation.
    missed: Option<Batch>,
}

impl Watch {
    /// The next changes, in the order of their revisions. Waits while there are none; nothing is lost if the caller
    /// stops waiting and calls again.
    ///
    /// # Errors
    /// The watch is over: the member is gone or has no leader, or its messages are invalid.
    pub async fn next(&mut self) -> Result<Batch, Error> {
        if let Some(missed) = self.missed.take() {
            return Ok(missed);
        }
        loop {
            let batch = self.read().await?;
            match batch.ended {
                Some(ended) => return Err(ended),
                None if batch.changes.is_empty() => {}
                None => return Ok(batch),
            }
        }
    }

    async fn read(&mut self) -> Result<Batch, Error> {
        loop {
            if let Some(line) = self.lines.next_line() {
                return wire::read_watched(line);
            }
            match next_chunk(&mut self.response).await {
                Ok(Some(chunk)) if self.lines.push(&chunk) => {}
                Ok(Some(_)) => return Err(Error::Away("a line without an end".into())),
                Ok(None) => return Err(Error::Away("the member closed the watch".into())),
                Err(Trouble::Member(reason)) => return Err(Error::Away(reason)),
                Err(Trouble::Final(error)) => return Err(error),
            }
        }
    }
}
