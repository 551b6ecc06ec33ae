//! Parts that somebody else runs: whether they answer, and which version they report. They are asked when a client wants
//! to know, and before a platform starts to depend on them.

mod cql;

use std::{io, time::Duration};

use ::platform::{
    TargetError,
    target::{PartOrigin, PartSnapshot},
    values::Values,
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

use crate::http;

/// A part that takes longer counts as not answering.
const PATIENCE: Duration = Duration::from_secs(1);
/// The same for first use: its name may have to be resolved far away.
const FIRST_PATIENCE: Duration = Duration::from_secs(5);
/// Longer answers to a version query are truncated.
const LINE_MAX: u64 = 256;
/// The same for Redis, whose version is among other lines.
const INFO_MAX: u64 = 4096;

/// A part whose address is in the values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given {
    name: &'static str,
    /// The key in the values.
    key: &'static str,
    address: String,
}

impl Given {
    /// The parts that a platform gets by address.
    pub(crate) fn of(values: &Values) -> Vec<Self> {
        let given = |is_used: bool, name, key, address: Option<String>| {
            address.filter(|_| is_used).map(|address| Self { name, key, address })
        };
        let (kafka, memcached) = (&values.kafka, &values.memcached);
        let (elasticsearch, prometheus) = (&values.elasticsearch, &values.prometheus);
        let redis = values.redis.address.clone();
        let memcached_at = memcached.host.as_ref().map(|host| format!("{host}:{}", memcached.port));
        let all = [
            given(kafka.enabled, "kafka", "kafka.brokers", kafka.brokers.clone()),
            given(memcached.enabled, "memcached", "memcached.host", memcached_at),
            given(
                values.has_elasticsearch(),
                "elasticsearch",
                "elasticsearch.url",
                elasticsearch.url.clone(),
            ),
            given(prometheus.enabled, "prometheus", "prometheus.url", prometheus.url.clone()),
            given(values.has_redis(), "redis", "redis.address", redis),
            given(
                values.cassandra.enabled,
                "cassandra",
                "cassandra.contactPoints",
                values.cassandra.contact_points.clone(),
            ),
            given(values.etcd.enabled, "etcd", "etcd.endpoints", values.etcd.endpoints.clone()),
        ];
        all.into_iter().flatten().collect()
    }

    fn is(&self, part: &PartSnapshot) -> bool {
        part.origin == PartOrigin::Given
            && part.name == self.name
            && part.address.as_ref() == Some(&self.address)
    }
}

/// Refuses parts that do not answer: a mistyped address, or a server that somebody forgot to start. Skips those that
/// the platform already uses: they may be away for a while, which services can handle.
pub(crate) async fn check(given: Vec<Given>, used: &[PartSnapshot]) -> Result<(), TargetError> {
    let mut asked = JoinSet::new();
    for one in given.into_iter().filter(|one| !used.iter().any(|part| one.is(part))) {
        asked.spawn(async move {
            let answer = version(one.name, &one.address, FIRST_PATIENCE).await;
            answer.map_err(|error| {
                let Given { name, key, address } = one;
                let message = format!(
                    "{name} does not answer at {address}, where {key} says it is: {error}; start it, correct the \
                     address, or let the platform start one: playctl up --with {name}"
                );
                TargetError::BringUp { message }
            })
        });
    }
    while let Some(answer) = asked.join_next().await {
        answer.map_err(TargetError::other)??;
    }
    Ok(())
}

/// Fills in health and version of the given parts.
pub(crate) async fn look(parts: &mut [PartSnapshot]) {
    let mut asked = JoinSet::new();
    for (index, part) in parts.iter().enumerate().filter(|(_, part)| part.origin == PartOrigin::Given) {
        let (name, address) = (part.name.clone(), part.address.clone().unwrap_or_default());
        asked.spawn(async move { (index, version(&name, &address, PATIENCE).await) });
    }
    while let Some(answer) = asked.join_next().await {
        let Ok((index, told)) = answer else { continue };
        let part = &mut parts[index];
        part.healthy = told.is_ok();
        (part.version, part.detail) = match told {
            Ok(Told::Version(version)) => (Some(version), String::new()),
            Ok(Told::Nothing(why)) => (None, why.to_owned()),
            Err(error) => (None, error.to_string()),
        };
    }
}

/// What an answering part reports about itself.
#[derive(Debug)]
enum Told {
    Version(String),
    /// It cannot be asked for its version; says why.
    Nothing(&'static str),
}

async fn version(name: &str, address: &str, patience: Duration) -> io::Result<Told> {
    let told = async {
        match name {
            "redis" => redis(address).await,
            "cassandra" => cassandra(address).await,
            "etcd" => etcd(address, patience).await,
            "memcached" => memcached(address).await.map(Told::Version),
            "elasticsearch" => document(address, "/", "/version/number", patience).await,
            "prometheus" => document(address, "/api/v1/status/buildinfo", "/data/version", patience).await,
            _ => kafka(address).await,
        }
    };
    let late = || {
        let message = format!("no answer within {} s", patience.as_secs());
        io::Error::new(io::ErrorKind::TimedOut, message)
    };
    timeout(patience, told).await.unwrap_or_else(|_| Err(late()))
}

/// Any of its brokers will do. Kafka's protocol reports what a broker supports, but not its version.
async fn kafka(brokers: &str) -> io::Result<Told> {
    let mut asked = JoinSet::new();
    for broker in brokers.split(',').map(|broker| broker.trim().to_owned()) {
        asked.spawn(TcpStream::connect(broker));
    }
    let mut failure = io::Error::new(io::ErrorKind::InvalidInput, "no broker is given");
    while let Some(answer) = asked.join_next().await {
        match answer.map_err(io::Error::other)? {
            Ok(_) => return Ok(Told::Nothing("its protocol does not report a version")),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Any of its nodes will do.
async fn cassandra(nodes: &str) -> io::Result<Told> {
    let mut failure = io::Error::new(io::ErrorKind::InvalidInput, "no node is given");
    for node in nodes.split(',') {
        match cql::version(node.trim()).await {
            Ok(Some(version)) => return Ok(Told::Version(version)),
            Ok(None) => return Ok(Told::Nothing("it requires a login, so its version is unknown")),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Any of its members will do.
async fn etcd(endpoints: &str, patience: Duration) -> io::Result<Told> {
    let mut failure = io::Error::new(io::ErrorKind::InvalidInput, "no member is given");
    for endpoint in endpoints.split(',') {
        match document(endpoint.trim(), "/version", "/etcdserver", patience).await {
            Ok(told) => return Ok(told),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn memcached(address: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"version\r\n").await?;
    let mut line = String::new();
    BufReader::new(stream.take(LINE_MAX)).read_line(&mut line).await?;
    let version = line.strip_prefix("VERSION ").map(|version| version.trim().to_owned());
    version.ok_or_else(|| unexpected(&line))
}

/// One that requires a password is not asked further: only its clients know it.
async fn redis(address: &str) -> io::Result<Told> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"PING\r\nINFO server\r\n").await?;
    let mut lines = BufReader::new(stream.take(INFO_MAX)).lines();
    let first = lines.next_line().await?.unwrap_or_default();
    if first.starts_with("-NOAUTH") {
        return Ok(Told::Nothing("it requires a password, so its version is unknown"));
    }
    if first != "+PONG" {
        return Err(unexpected(&first));
    }
    while let Some(line) = lines.next_line().await? {
        if let Some(version) = line.strip_prefix("redis_version:") {
            return Ok(Told::Version(version.to_owned()));
        }
        if line.is_empty() || line.starts_with('-') {
            break;
        }
    }
    Ok(Told::Nothing("it does not report a version"))
}

/// Requests a JSON document and extracts the text at `pointer`.
async fn document(url: &str, path: &str, pointer: &str, patience: Duration) -> io::Result<Told> {
    let text = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let unusable =
        |error: &dyn std::fmt::Display| io::Error::new(io::ErrorKind::InvalidInput, error.to_string());
    let url = http::Url::parse(&text).map_err(|error| unusable(&error))?;
    if url.scheme() == "https" {
        let host = url.host_str().ok_or_else(|| unusable(&"it names no host"))?;
        drop(TcpStream::connect((host, url.port_or_known_default().unwrap_or(443))).await?);
        return Ok(Told::Nothing("it uses TLS, so its version is unknown"));
    }
    let url =
        http::url(format_args!("{}{path}", text.trim_end_matches('/'))).map_err(|error| unusable(&error))?;
    let answer = http::get_url(url, patience).await?;
    let found = serde_json::from_str::<Value>(&answer.body).ok();
    let version = found.as_ref().and_then(|document| document.pointer(pointer)?.as_str());
    version.map(|version| Told::Version(version.to_owned())).ok_or_else(|| unexpected(&answer.body))
}

fn unexpected(answer: &str) -> io::Error {
    let beginning: String = answer.chars().take(80).collect();
    io::Error::new(io::ErrorKind::InvalidData, format!("answered {beginning:?}"))
}

#[cfg(test)]
mod tests {
    use ::platform::values::ValuesSource;
    use tokio::net::TcpListener;

    use super::*;

    /// Answers one request with this text; returns its address.
    async fn serve(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut question = [0; 512];
            assert!(stream.read(&mut question).await.unwrap() > 0);
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        address
    }

    fn part(name: &str, address: &str) -> PartSnapshot {
        PartSnapshot {
            name: name.to_owned(),
            origin: PartOrigin::Given,
            version: None,
            address: Some(address.to_owned()),
            detail: String::new(),
            healthy: true,
            restarts: 0,
            pid: None,
            connects_from: None,
            connections: None,
        }
    }

    #[tokio::test]
    async fn servers_that_report_a_version_show_it() {
        let elasticsearch = serve("HTTP/1.1 200 OK\r\n\r\n{\"version\":{\"number\":\"8.16.6\"}}").await;
        let prometheus = serve("HTTP/1.1 200 OK\r\n\r\n{\"data\":{\"version\":\"2.42.0\"}}").await;
        let odd = serve("hello\r\n").await;
        let redis =
            serve("+PONG\r\n$40\r\n# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n").await;
        let mut embedded = part("memcached", "127.0.0.1:1");
        embedded.origin = PartOrigin::Embedded;
        let mut parts = [
            part("memcached", &serve("VERSION 1.6.18\r\n").await),
            part("elasticsearch", &format!("http://{elasticsearch}")),
            part("prometheus", &format!("http://{prometheus}/prefix/")),
            part("memcached", &odd),
            part("redis", &redis),
            part("redis", &serve("-NOAUTH Authentication required.\r\n").await),
            embedded.clone(),
        ];
        look(&mut parts).await;
        let versions: Vec<Option<&str>> = parts.iter().map(|part| part.version.as_deref()).collect();
        assert_eq!(
            versions,
            [Some("1.6.18"), Some("8.16.6"), Some("2.42.0"), None, Some("7.0.15"), None, None]
        );
        assert!(parts[..3].iter().all(|part| part.healthy));
        assert!(!parts[3].healthy && parts[3].detail.contains("hello"), "{:?}", parts[3]);
        assert!(parts[5].healthy && parts[5].detail.contains("password"), "{:?}", parts[5]);
        assert_eq!(parts[6], embedded, "what was not given is left alone");
    }

    /// An address where nobody listens, or can listen while it is held.
    fn nobody() -> (socket2::Socket, std::net::SocketAddr) {
        let held = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        held.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = held.local_addr().unwrap().as_socket().unwrap();
        (held, address)
    }

    #[tokio::test]
    async fn a_server_that_does_not_answer_is_not_healthy() {
        let (_held, free) = nobody();
        let free = free.to_string();
        let there = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let both = format!("{free},{}", there.local_addr().unwrap());
        let tls = format!("https://{}/path", there.local_addr().unwrap());
        let mut parts = [
            part("kafka", &free),
            part("kafka", &both),
            part("elasticsearch", &tls),
            part("prometheus", &format!("https://{free}")),
        ];
        look(&mut parts).await;
        assert!(!parts[0].healthy && parts[0].detail.contains("refused"), "{:?}", parts[0]);
        assert!(parts[1].healthy && parts[2].healthy, "{parts:?}");
        assert!(!parts[3].healthy && parts[3].detail.contains("refused"), "{:?}", parts[3]);
    }

    #[tokio::test]
    async fn a_given_server_that_does_not_answer_is_refused_unless_already_used() {
        let (_held, free) = nobody();
        let set = vec![format!("kafka.brokers={free}"), "memcached.host=127.0.0.1".to_owned()];
        let memcached = serve("VERSION 1.6.18\r\n").await;
        let port = memcached.rsplit_once(':').unwrap().1;
        let set = [set, vec![format!("memcached.port={port}"), "prometheus.url=http://nowhere".to_owned()]];
        let values = Values::load(&ValuesSource { set: set.concat(), ..ValuesSource::default() }).unwrap();
        let given = Given::of(&values);
        let names: Vec<&str> = given.iter().map(|one| one.name).collect();
        assert_eq!(names, ["kafka", "memcached"], "one that is not enabled is not used");

        let error = check(given.clone(), &[]).await.unwrap_err();
        assert_eq!(error.exit_code(), ::platform::exit::BRING_UP_FAILED);
        let said = error.to_string();
        assert!(
            said.starts_with(&format!("kafka does not answer at {free}, where kafka.brokers says it is")),
            "{said}"
        );
        assert!(said.contains("refused") && said.ends_with("playctl up --with kafka"), "{said}");

        // It is already used, and away for a while.
        let used = [part("kafka", &free.to_string()), part("memcached", &memcached)];
        check(given, &used).await.unwrap();
    }
}
