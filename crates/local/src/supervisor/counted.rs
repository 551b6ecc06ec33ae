//! Counts that the kernel does not keep per process, so the services do: read from their admin ports, as a scraper
//! would.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::http;

/// A replica that does not answer within this has no sample at this scrape.
const TIMEOUT: Duration = Duration::from_secs(1);

/// A process, and the values to read from its page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) pid: u32,
    pub(crate) admin: SocketAddr,
    pub(crate) series: &'static str,
}

/// Each process's count, and when it was reported.
pub(crate) async fn counts(replicas: impl IntoIterator<Item = Asked>) -> HashMap<u32, (Instant, u64)> {
    let mut asked = JoinSet::new();
    for Asked { pid, admin, series } in replicas {
        asked.spawn_local(async move {
            let answer = http::get(admin, "/metrics", TIMEOUT).await.ok()?;
            // The count belongs to the moment of the answer.
            Some((pid, (clock::now(), number(&answer.body, series)?)))
        });
    }
    let mut counted = HashMap::new();
    while let Some(answered) = asked.join_next().await {
        counted.extend(answered.ok().flatten());
    }
    counted
}

/// The value of a series without labels in Prometheus' text format, if it is a whole number.
fn number(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    // A timestamp may follow.
    value.split_ascii_whitespace().next()?.parse().ok()
}

/// Invariants for any page of metrics. Panics if one is violated.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz(page: &str, count: u64) {
    for series in ::platform::services::PodsMetric::ALL.into_iter().filter_map(|metric| metric.series()) {
        let _ = number(page, series);
        // Whatever precedes it on separate lines.
        let ours = page.lines().any(|line| line.starts_with(series));
        let page = format!("{page}\n{series} {count}\n");
        assert!(ours || number(&page, series) == Some(count));
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        task::LocalSet,
    };

    use super::*;

    const PACKETS: &str = "udp_packets_received_total";

    #[test]
    fn a_counter_is_found_by_its_whole_name() {
        let text = "# TYPE udp_packets_received counter\nudp_packets_received_total_x 1\n\
                    udp_packets_received_total 42\nother 7\n";
        assert_eq!(number(text, PACKETS), Some(42));
        assert_eq!(number("udp_packets_received_total 42 1700000000\n", PACKETS), Some(42));
        assert_eq!(number("udp_packets_received_total{a=\"b\"} 42\n", PACKETS), None);
        assert_eq!(number("udp_packets_received_total 4.2\n", PACKETS), None);
    }

    #[tokio::test]
    async fn replicas_that_do_not_answer_are_left_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let asked = |pid, admin| Asked { pid, admin, series: PACKETS };
        let (there, gone) = (listener.local_addr().unwrap(), SocketAddr::from(([127, 0, 0, 1], 1)));
        let counted = LocalSet::new()
            .run_until(async {
                tokio::task::spawn_local(async move {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let mut request = [0; 1024];
                    assert!(stream.read(&mut request).await.unwrap() > 0);
                    let answer =
                        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nudp_packets_received_total 42\n";
                    stream.write_all(answer).await.unwrap();
                });
                counts([asked(7, there), asked(8, gone)]).await
            })
            .await;
        assert_eq!(counted.into_iter().map(|(pid, (_, count))| (pid, count)).collect::<Vec<_>>(), [(7, 42)]);
    }
}
