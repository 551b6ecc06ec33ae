//! The documents in Elasticsearch.

use elasticsearch::http::transport::{SingleNodeConnectionPool, TransportBuilder};
use elasticsearch::indices::IndicesRefreshParts;
use elasticsearch::{CountParts, Elasticsearch, SearchParts};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// Queries one family of indices for the lines of one pod.
pub(crate) struct Documents {
    runtime: Runtime,
    client: Elasticsearch,
    pattern: String,
    of_pod: Value,
}

impl Documents {
    pub(crate) fn new(url: &str, index_prefix: &str, pod: &str) -> Self {
        let pool = SingleNodeConnectionPool::new(url.parse().unwrap());
        let transport = TransportBuilder::new(pool).disable_proxy().build().unwrap();
        Self {
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            client: Elasticsearch::new(transport),
            pattern: format!("{index_prefix}-*"),
            of_pod: json!({ "term": { "pod": pod } }),
        }
    }

    /// The number of lines; `None` while Elasticsearch is away.
    pub(crate) fn count(&self) -> Option<u64> {
        self.runtime.block_on(async {
            let pattern = [self.pattern.as_str()];
            self.client.indices().refresh(IndicesRefreshParts::Index(&pattern)).send().await.ok()?;
            let answer = self
                .client
                .count(CountParts::Index(&pattern))
                .body(json!({ "query": self.of_pod }))
                .send()
                .await
                .ok()?;
            answer.json::<Value>().await.ok()?["count"].as_u64()
        })
    }

    /// The texts of all lines, oldest first. Their time stamps must differ.
    pub(crate) fn texts(&self) -> Vec<String> {
        const PAGE: u64 = 10_000;
        let mut texts = Vec::new();
        let mut after: Option<Value> = None;
        loop {
            let mut query = json!({
                "size": PAGE,
                "track_total_hits": false,
                "query": self.of_pod,
                "_source": ["text"],
                "sort": [{ "timestamp": { "order": "asc", "numeric_type": "date_nanos" } }],
            });
            if let Some(after) = after.take() {
                query["search_after"] = after;
            }
            let page: Value = self.runtime.block_on(async {
                let pattern = [self.pattern.as_str()];
                let answer = self.client.search(SearchParts::Index(&pattern)).body(query).send().await;
                answer.unwrap().json().await.unwrap()
            });
            let hits = page["hits"]["hits"].as_array().unwrap_or_else(|| panic!("{page}"));
            texts.extend(hits.iter().map(|hit| hit["_source"]["text"].as_str().unwrap().to_owned()));
            match hits.last() {
                Some(last) => after = Some(last["sort"].clone()),
                None => return texts,
            }
        }
    }
}
