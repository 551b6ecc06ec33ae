//! What became of the log lines that replicas were to ship to Kafka, as they count them themselves (docs/telemetry.md).

use std::{
    collections::BTreeMap,
    io::{self, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    sync::{Arc, mpsc},
    time::Duration,
};

use platform::{EventKind, Target};

use crate::{commands::Failure, platform_source::spawn};

/// Where replicas answer `GET /metrics` (contracts: `ADMIN_PORT`).
const ADMIN_PORT: u16 = 9100;
const PATIENCE: Duration = Duration::from_secs(2);
const INTERVAL: Duration = Duration::from_secs(1);
/// A page of metrics is smaller.
const PAGE_BYTES_MAX: u64 = 1024 * 1024;

/// Ends the counting when dropped.
pub(crate) struct Counting {
    _stop: mpsc::Sender<()>,
}

/// Counts once a second. `tell` gets an event per service and says whether anybody still wants to know.
pub(crate) fn count(
    target: Arc<dyn Target>,
    tell: impl Fn(EventKind) -> bool + Send + 'static,
) -> Result<Counting, Failure> {
    let (stop, stopped) = mpsc::channel();
    spawn("log-lines", move || {
        while look(&*target).into_iter().all(&tell) {
            if stopped.recv_timeout(INTERVAL) != Err(mpsc::RecvTimeoutError::Timeout) {
                break;
            }
        }
    })?;
    Ok(Counting { _stop: stop })
}

/// One look at all replicas. Leaves out a service with a replica that does not answer: half a count is none.
fn look(target: &dyn Target) -> Vec<EventKind> {
    let Ok(snapshot) = target.snapshot() else { return Vec::new() };
    let of_service = |service: &platform::target::ServiceSnapshot| {
        let mut sums = [0; 3];
        for replica in &service.replicas {
            let page = metrics(replica.socket()?.ip()).ok()?;
            for (sum, kind) in sums.iter_mut().zip(["", "_shipped", "_dropped"]) {
                *sum += value(&page, &format!("{}_log_lines{kind}_total", service.name))?;
            }
        }
        let [written, shipped, dropped] = sums;
        Some(EventKind::LogLinesCounted { service: service.name.clone(), written, shipped, dropped })
    };
    snapshot.services.iter().filter_map(of_service).collect()
}

fn metrics(host: IpAddr) -> io::Result<BTreeMap<String, f64>> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(host, ADMIN_PORT), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: replica\r\nConnection: close\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.take(PAGE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(parse(&String::from_utf8_lossy(&bytes)))
}

/// Metrics without labels, by name.
fn parse(page: &str) -> BTreeMap<String, f64> {
    let metric = |line: &str| {
        let (name, value) = line.trim().split_once(' ')?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    };
    page.lines().filter(|line| !line.starts_with('#')).filter_map(metric).collect()
}

fn value(page: &BTreeMap<String, f64>, name: &str) -> Option<u64> {
    page.get(name).map(|value| *value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_on_a_page() {
        let page = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n# HELP tcp_log_lines_total x\n\
                    tcp_log_lines_total 12\ntcp_log_lines_shipped_total 11\r\ntcp_connections_closed_total{reason=\"x\"} 3\n";
        let page = parse(page);
        assert_eq!(value(&page, "tcp_log_lines_total"), Some(12));
        assert_eq!(value(&page, "tcp_log_lines_shipped_total"), Some(11));
        assert_eq!(value(&page, "tcp_log_lines_dropped_total"), None);
    }
}
