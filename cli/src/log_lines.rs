//! The fate of replicas' log lines for Kafka, by the replicas' own counts (docs/telemetry.md).

use std::{
    collections::BTreeMap,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{Arc, mpsc},
    time::Duration,
};

use platform::{
    EventKind, ServiceKind, Target,
    target::{ReplicaSnapshot, ServiceSnapshot},
};

use crate::{failure::Failure, platform_source::spawn};

const PATIENCE: Duration = Duration::from_secs(2);
const INTERVAL: Duration = Duration::from_secs(1);
/// Above the size of any page of metrics.
const PAGE_BYTES_MAX: u64 = 1024 * 1024;
/// After this many consecutive failures to count a service, it is reported: starting or ending replicas take less time.
const LOOKS_WITHOUT_COUNT: u32 = 5;

/// Dropping it ends the counting.
pub(crate) struct Counting {
    _stop: mpsc::Sender<()>,
}

/// Counts once a second. `tell` gets an event per service and returns whether to continue.
pub(crate) fn count(
    target: Arc<dyn Target>,
    tell: impl Fn(EventKind) -> bool + Send + 'static,
) -> Result<Counting, Failure> {
    let (stop, stopped) = mpsc::channel();
    spawn("log-lines", move || {
        let mut counter = Counter::default();
        let page = |replica: &ReplicaSnapshot| match target.metrics_page(replica) {
            Ok(Some(page)) => Ok(page),
            Ok(None) => directly(replica),
            // An account that may not forward ports may be in the cluster's network.
            Err(error) => directly(replica).map_err(|own| format!("{}: {error}; {own}", replica.name)),
        };
        loop {
            let mut services = target.snapshot().map(|snapshot| snapshot.services).unwrap_or_default();
            // A cluster also has workloads that count no lines: parts such as Kafka, and other people's.
            services.retain(|service| ServiceKind::by_name(&service.name).is_some());
            let wanted = counter.look(&services, &page).into_iter().all(&tell);
            if !wanted || stopped.recv_timeout(INTERVAL) != Err(mpsc::RecvTimeoutError::Timeout) {
                break;
            }
        }
    })?;
    Ok(Counting { _stop: stop })
}

/// Fetches a replica's page of metrics.
type Page<'a> = &'a dyn Fn(&ReplicaSnapshot) -> Result<String, String>;

/// Services that could not be counted, and how often in a row.
#[derive(Default)]
struct Counter {
    failures: BTreeMap<String, u32>,
}

impl Counter {
    /// Counts all replicas once. Leaves out a service with a replica that does not answer, since its count is
    /// incomplete.
    fn look(&mut self, services: &[ServiceSnapshot], page: Page<'_>) -> Vec<EventKind> {
        services.iter().filter_map(|service| self.look_at(service, page)).collect()
    }

    fn look_at(&mut self, service: &ServiceSnapshot, page: Page<'_>) -> Option<EventKind> {
        match sums(service, page) {
            Ok([written, shipped, dropped]) => {
                self.failures.remove(&service.name);
                Some(EventKind::LogLinesCounted { service: service.name.clone(), written, shipped, dropped })
            }
            Err(why) => {
                let failures = self.failures.entry(service.name.clone()).or_default();
                *failures = failures.saturating_add(1);
                (*failures == LOOKS_WITHOUT_COUNT).then(|| EventKind::Warning {
                    message: format!("the log lines of {} cannot be counted: {why}", service.name),
                })
            }
        }
    }
}

/// Lines written, shipped and dropped by all replicas of a service.
fn sums(service: &ServiceSnapshot, page: Page<'_>) -> Result<[u64; 3], String> {
    let mut sums = [0; 3];
    let prefix = service.name.replace('-', "_");
    for replica in &service.replicas {
        let page = parse(&page(replica)?);
        for (sum, kind) in sums.iter_mut().zip(["", "_shipped", "_dropped"]) {
            let name = format!("{prefix}_log_lines{kind}_total");
            *sum += value(&page, &name).ok_or_else(|| format!("{} has no metric {name}", replica.name))?;
        }
    }
    Ok(sums)
}

/// From its own address.
fn directly(replica: &ReplicaSnapshot) -> Result<String, String> {
    let port = replica
        .admin_port
        .ok_or_else(|| format!("the platform does not report the metrics port of {}", replica.name))?;
    let address = replica.socket().ok_or_else(|| format!("{} has no address yet", replica.name))?;
    let address = SocketAddr::new(address.ip(), port);
    page_at(address).map_err(|error| format!("http://{address}/metrics of {}: {error}", replica.name))
}

fn page_at(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: replica\r\nConnection: close\r\n\r\n")?;
    let mut bytes = Vec::new();
    stream.take(PAGE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
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
    use std::net::TcpListener;

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
    /// Answers every request with a page, on its own port.
    fn serve(page: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        // Ends with the test's process.
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut request = [0; 1024];
                let _ = stream.read(&mut request);
                let _ = stream.write_all(page.as_bytes());
            }
        });
        address
    }

    fn service(name: &str, admin: Option<SocketAddr>) -> ServiceSnapshot {
        let since = jiff::Timestamp::UNIX_EPOCH;
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        serde_json::from_value(serde_json::json!({
            "name": name, "endpoint": null, "desired": 1, "autoscaler": null,
            "replicas": [{
                "name": format!("{name}-0"), "node": "node-0", "address": address, "pid": null, "server_id": null,
                "admin_port": admin.map(|admin| admin.port()), "phase": "ready", "since": since, "restarts": 0,
                "connections": null, "cpu_cores": null, "memory_bytes": null,
            }],
        }))
        .expect("a service")
    }

    #[test]
    fn each_service_is_asked_at_its_own_admin_port() {
        let tcp =
            serve("tcp_log_lines_total 3\ntcp_log_lines_shipped_total 2\ntcp_log_lines_dropped_total 1\n");
        let udp =
            serve("udp_log_lines_total 9\nudp_log_lines_shipped_total 9\nudp_log_lines_dropped_total 0\n");
        let users = serve(
            "ws_client_log_lines_total 4\nws_client_log_lines_shipped_total 4\nws_client_log_lines_dropped_total 0\n",
        );
        let services = [("tcp", tcp), ("udp", udp), ("ws-client", users)];
        let services = services.map(|(name, admin)| service(name, Some(admin)));
        let told = Counter::default().look(&services, &directly);
        let counted = |name: &str, written, shipped, dropped| EventKind::LogLinesCounted {
            service: name.to_owned(),
            written,
            shipped,
            dropped,
        };
        assert_eq!(told, [counted("tcp", 3, 2, 1), counted("udp", 9, 9, 0), counted("ws-client", 4, 4, 0)]);
    }

    #[test]
    fn services_that_cannot_be_counted_are_named_once() {
        let other = serve("HTTP/1.1 404 Not Found\r\n\r\n");
        for (service, expected) in [
            (service("tcp", None), "the platform does not report the metrics port of tcp-0"),
            (service("tcp", Some(other)), "tcp-0 has no metric tcp_log_lines_total"),
        ] {
            let mut counter = Counter::default();
            let told: Vec<EventKind> = (0..3 * LOOKS_WITHOUT_COUNT)
                .flat_map(|_| counter.look(std::slice::from_ref(&service), &directly))
                .collect();
            let message = format!("the log lines of tcp cannot be counted: {expected}");
            assert_eq!(told, [EventKind::Warning { message }]);
        }
    }
}
