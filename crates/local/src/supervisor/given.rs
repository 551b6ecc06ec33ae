//! Parts that somebody else runs: whether they answer, and which version they say they are, asked when somebody wants to
//! know.

use std::{io, time::Duration};

use ::platform::target::{PartOrigin, PartSnapshot};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

use crate::http;

/// One that takes longer counts as one that does not answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Longer answers to a question for a version are cut.
const LINE_MAX: u64 = 256;

/// Fills in health and version of those that were given.
pub(crate) async fn look(parts: &mut [PartSnapshot]) {
    let mut asked = JoinSet::new();
    for (index, part) in parts.iter().enumerate().filter(|(_, part)| part.origin == PartOrigin::Given) {
        let (name, address) = (part.name.clone(), part.address.clone().unwrap_or_default());
        asked.spawn(async move {
            let late = || io::Error::new(io::ErrorKind::TimedOut, "no answer within a second");
            let told = timeout(PATIENCE, version(&name, &address)).await.unwrap_or_else(|_| Err(late()));
            (index, told)
        });
    }
    while let Some(answer) = asked.join_next().await {
        let Ok((index, told)) = answer else { continue };
        let part = &mut parts[index];
        part.healthy = told.is_ok();
        part.detail = match told {
            Ok(version) => version,
            Err(error) => error.to_string(),
        };
    }
}

/// What a part says of itself.
async fn version(name: &str, address: &str) -> io::Result<String> {
    match name {
        "memcached" => memcached(address).await,
        "elasticsearch" => document(address, "/", "/version/number").await,
        "prometheus" => document(address, "/api/v1/status/buildinfo", "/data/version").await,
        _ => kafka(address).await,
    }
}

/// Kafka's protocol tells what a broker understands, and not its version.
async fn kafka(brokers: &str) -> io::Result<String> {
    let mut answered = Err(io::Error::new(io::ErrorKind::InvalidInput, "no broker is named"));
    for broker in brokers.split(',') {
        answered = TcpStream::connect(broker.trim()).await;
        if answered.is_ok() {
            break;
        }
    }
    answered.map(|_| "answers; its protocol tells no version".to_owned())
}

async fn memcached(address: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"version\r\n").await?;
    let mut line = String::new();
    BufReader::new(stream.take(LINE_MAX)).read_line(&mut line).await?;
    let version = line.strip_prefix("VERSION ").map(|version| version.trim().to_owned());
    version.ok_or_else(|| unexpected(&line))
}

/// Asks for a JSON document and takes the text at `pointer`.
async fn document(url: &str, path: &str, pointer: &str) -> io::Result<String> {
    let Some(rest) = url.strip_prefix("http://") else {
        return Ok("not asked, since it speaks TLS".to_owned());
    };
    let (authority, base) = rest.split_once('/').unwrap_or((rest, ""));
    let authority = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
    let base = if base.is_empty() { String::new() } else { format!("/{}", base.trim_end_matches('/')) };
    let answer = http::get_from(&authority, &format!("{base}{path}"), PATIENCE).await?;
    let found = serde_json::from_str::<Value>(&answer.body).ok();
    let version = found.as_ref().and_then(|document| document.pointer(pointer)?.as_str());
    version.map(str::to_owned).ok_or_else(|| unexpected(&answer.body))
}

fn unexpected(answer: &str) -> io::Error {
    let beginning: String = answer.chars().take(80).collect();
    io::Error::new(io::ErrorKind::InvalidData, format!("answered {beginning:?}"))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Gives one answer to one question; its address.
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
            address: Some(address.to_owned()),
            detail: String::new(),
            healthy: true,
            pid: None,
        }
    }

    #[tokio::test]
    async fn versions_are_told_by_those_who_have_them() {
        let elasticsearch = serve("HTTP/1.1 200 OK\r\n\r\n{\"version\":{\"number\":\"8.16.6\"}}").await;
        let prometheus = serve("HTTP/1.1 200 OK\r\n\r\n{\"data\":{\"version\":\"2.42.0\"}}").await;
        let odd = serve("hello\r\n").await;
        let mut embedded = part("memcached", "127.0.0.1:1");
        embedded.origin = PartOrigin::Embedded;
        let mut parts = [
            part("memcached", &serve("VERSION 1.6.18\r\n").await),
            part("elasticsearch", &format!("http://{elasticsearch}")),
            part("prometheus", &format!("http://{prometheus}/prefix/")),
            part("memcached", &odd),
            embedded.clone(),
        ];
        look(&mut parts).await;
        let details: Vec<&str> = parts.iter().map(|part| part.detail.as_str()).collect();
        assert_eq!(details[..3], ["1.6.18", "8.16.6", "2.42.0"]);
        assert!(parts[..3].iter().all(|part| part.healthy));
        assert!(!parts[3].healthy && details[3].contains("hello"), "{:?}", parts[3]);
        assert_eq!(parts[4], embedded, "what was not given is left alone");
    }

    #[tokio::test]
    async fn who_does_not_answer_is_not_healthy() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let there = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let both = format!("{free},{}", there.local_addr().unwrap());
        let mut parts =
            [part("kafka", &free), part("kafka", &both), part("prometheus", "https://127.0.0.1:1")];
        look(&mut parts).await;
        assert!(!parts[0].healthy && parts[0].detail.contains("refused"), "{:?}", parts[0]);
        assert!(parts[1].healthy && parts[2].healthy, "{parts:?}");
    }
}
