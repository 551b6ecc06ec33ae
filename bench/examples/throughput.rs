//! How fast the logger writes a backlog into Elasticsearch, compared with posting the same documents to `_bulk`
//! directly.
//!
//! ```text
//! infrastructure/testbed/testbed up kafka elasticsearch
//! eval "$(infrastructure/testbed/testbed env)"
//! cargo run --release -p bench --example throughput -- [RECORDS [ROUNDS]]
//! ```
//!
//! Both sides send the same lines with IDs of the same format, in bulks of the same size and concurrency, into indices
//! with the same template. The bodies of the direct side are built before its clock starts; the logger's time includes
//! joining its group. The first tenth does not count, because Elasticsearch speeds up while it warms up; then the sides
//! alternate, and so does the side that begins. Each round has its own ratio, so that other load on the machine affects
//! both sides.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use elasticsearch::Elasticsearch;
use elasticsearch::http::headers::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use elasticsearch::http::transport::{SingleNodeConnectionPool, TransportBuilder};
use elasticsearch::http::{Method, StatusCode};
use elasticsearch::indices::IndicesDeleteParts;
use jiff::Timestamp;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use service::Shutdown;
use service::settings::Env;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

type Failed = Box<dyn Error + Send + Sync>;

/// Both sides use the service's defaults.
const BULK_BYTES: usize = 2 * 1024 * 1024;
const IN_FLIGHT: usize = 4;
const PARTITIONS: i32 = 3;

fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    let (records, rounds) = (number(1_000_000)?, number(3)?);
    let (brokers, url) = (std::env::var("KAFKA_BROKERS")?, std::env::var("ELASTICSEARCH_URL")?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let bench = Bench {
        runtime,
        client: client(&url)?,
        url,
        brokers,
        records,
        run: std::process::id(),
        now: clock::wall(),
    };

    let topic = format!("throughput-{}", bench.run);
    let mut out = std::io::stdout();
    writeln!(out, "{records} records into {topic}, {PARTITIONS} partitions")?;
    bench.fill(&topic)?;
    // The logger goes first: it creates the template.
    bench.logger(&topic, 0, records / 10)?;
    bench.direct(&topic, records / 10)?;
    let mut ratios = Vec::new();
    for round in 1..=rounds {
        let (logger, direct) = if round % 2 == 1 {
            let logger = bench.logger(&topic, round, records)?;
            (logger, bench.direct(&topic, records)?)
        } else {
            let direct = bench.direct(&topic, records)?;
            (bench.logger(&topic, round, records)?, direct)
        };
        let ratio = logger / direct;
        ratios.push(ratio);
        writeln!(out, "round {round}: logger {logger:.0}/s, _bulk directly {direct:.0}/s, ratio {ratio:.2}")?;
    }
    writeln!(out, "median of the ratios: {:.2} (wanted: at least 0.9)", median(&mut ratios))?;
    Ok(())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn client(url: &str) -> Result<Elasticsearch, Failed> {
    let pool = SingleNodeConnectionPool::new(url.parse()?);
    let plain = HeaderValue::from_static("identity");
    let transport = TransportBuilder::new(pool).header(ACCEPT_ENCODING, plain).disable_proxy().build()?;
    Ok(Elasticsearch::new(transport))
}

/// A line like those of services.
fn line(number: usize, now: Timestamp) -> String {
    format!(
        r#"{{"pod":"tcp-{}","text":"INFO tcp::worker: connection closed reason=client client=127.77.0.1:{} sent={number}","timestamp":"{now}"}}"#,
        number % 5,
        10_000 + number % 20_000,
    )
}

struct Bench {
    runtime: Runtime,
    client: Elasticsearch,
    url: String,
    brokers: String,
    records: usize,
    run: u32,
    /// The timestamp of all records.
    now: Timestamp,
}

impl Bench {
    fn fill(&self, topic: &str) -> Result<(), Failed> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        let admin: AdminClient<DefaultClientContext> = config.create()?;
        let new = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1));
        self.runtime.block_on(admin.create_topics(&[new], &AdminOptions::new()))?;
        let producer: ThreadedProducer<DefaultProducerContext> =
            config.set("linger.ms", "50").create_with_context(DefaultProducerContext)?;
        for number in 0..self.records {
            let value = line(number, self.now);
            let mut record = BaseRecord::<(), str>::to(topic).payload(&value);
            while let Err((_, back)) = producer.send(record) {
                // The queue is full.
                producer.flush(Duration::from_secs(1)).ok();
                record = back;
            }
        }
        producer.flush(Duration::from_mins(2))?;
        Ok(())
    }

    /// Documents per second of a logger with its own group, until it has written `records`.
    fn logger(&self, topic: &str, round: usize, records: usize) -> Result<f64, Failed> {
        let (prefix, group) = (self.index_prefix(), format!("{topic}-{round}"));
        let env: Env = [
            ("ADMIN_HOST", "127.0.0.1"),
            ("ADMIN_PORT", "0"),
            ("KAFKA_BROKERS", &self.brokers),
            ("KAFKA_LOGGING_TOPIC", topic),
            ("KAFKA_GROUP", &group),
            ("ELASTICSEARCH_URL", &self.url),
            ("ELASTICSEARCH_INDEX", &prefix),
        ]
        .into_iter()
        .collect();
        let began = clock::now();
        let shutdown = Shutdown::new();
        let server = logger::Server::bind(logger::Settings::from_env(&env)?, shutdown.clone())?;
        let admin = server.admin_address();
        let running = std::thread::spawn(move || server.run());
        let mut written = 0;
        while written < records {
            pause();
            written = created(admin)?;
        }
        let rate = written as f64 / began.elapsed().as_secs_f64();
        shutdown.drain();
        running.join().map_err(|_| "the logger has panicked")??;
        self.delete(&format!("{prefix}-{}", self.now.strftime("%Y.%m.%d")))?;
        Ok(rate)
    }

    /// Documents per second of bulks posted as fast as they are accepted.
    fn direct(&self, topic: &str, records: usize) -> Result<f64, Failed> {
        // The logger's template applies to this index too.
        let index = format!("{}-directly", self.index_prefix());
        let bodies = self.bodies(topic, &index, records);
        let began = clock::now();
        self.runtime.block_on(async {
            let mut on_their_way = JoinSet::new();
            for body in bodies {
                if on_their_way.len() == IN_FLIGHT {
                    on_their_way.join_next().await.transpose()?.transpose()?;
                }
                on_their_way.spawn(post(self.client.clone(), body));
            }
            while let Some(posted) = on_their_way.join_next().await {
                posted??;
            }
            Ok::<_, Failed>(())
        })?;
        let rate = records as f64 / began.elapsed().as_secs_f64();
        self.delete(&index)?;
        Ok(rate)
    }

    fn index_prefix(&self) -> String {
        format!("throughput-{}", self.run)
    }

    fn bodies(&self, topic: &str, index: &str, records: usize) -> Vec<Bytes> {
        let mut bodies = Vec::new();
        let mut body = String::new();
        for number in 0..records {
            let id = format!("{topic}-0-{number}-{:08x}", number.wrapping_mul(0x9e37_79b9) as u32);
            // Writing to a string cannot fail.
            let _ = writeln!(body, r#"{{"create":{{"_index":"{index}","_id":"{id}"}}}}"#);
            let _ = writeln!(body, "{}", line(number, self.now));
            if body.len() >= BULK_BYTES {
                bodies.push(Bytes::from(std::mem::take(&mut body)));
            }
        }
        bodies.push(Bytes::from(body));
        bodies
    }

    fn delete(&self, index: &str) -> Result<(), Failed> {
        let indices = self.client.indices();
        self.runtime.block_on(indices.delete(IndicesDeleteParts::Index(&[index])).send())?;
        Ok(())
    }
}

/// Posts a bulk, retrying while Elasticsearch has no room for it, as the logger does.
async fn post(client: Elasticsearch, body: Bytes) -> Result<(), Failed> {
    const AGAIN: Duration = Duration::from_millis(100);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    let brief = [("filter_path", "errors")];
    loop {
        let (headers, body) = (headers.clone(), Some(body.clone()));
        let answer =
            client.transport().send(Method::Post, "_bulk", headers, Some(&brief), body, None).await?;
        if answer.status_code() == StatusCode::TOO_MANY_REQUESTS {
            tokio::time::sleep(AGAIN).await;
            continue;
        }
        let answer = answer.error_for_status_code()?.text().await?;
        return if answer.contains("true") { Err(answer.into()) } else { Ok(()) };
    }
}

/// Documents that the logger has written so far.
fn created(admin: SocketAddr) -> Result<usize, Failed> {
    let mut stream = TcpStream::connect(admin)?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    let value = page.lines().find_map(|line| line.strip_prefix("logger_documents_created_total "));
    Ok(value.ok_or("no such metric")?.trim().parse()?)
}

#[expect(clippy::disallowed_methods, reason = "between two looks at a counter")]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}
