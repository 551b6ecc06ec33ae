//! Scrapes: what the kernel says of all replicas at one moment, and what is kept of it per replica.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use crate::{
    kernel::{proc, sockets},
    window::{MaxOver, RateOver},
};

/// What to look at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Targets {
    pub(crate) ports: HashSet<u16>,
    pub(crate) pids: Vec<u32>,
}

/// What was seen.
#[derive(Debug)]
pub(crate) struct Scrape {
    pub(crate) at: Instant,
    /// The ports whose connections were counted.
    ports: HashSet<u16>,
    /// Established connections by the server's address; none: not in here.
    connections: HashMap<SocketAddr, u64>,
    usage: HashMap<u32, proc::Usage>,
    /// What services count themselves, by process and when they were asked.
    packets: HashMap<u32, (Instant, u64)>,
}

impl Scrape {
    /// Blocks for as long as the kernel takes to list the connections (some milliseconds for ten thousand).
    pub(crate) fn take(targets: &Targets) -> Self {
        let mut connections = HashMap::new();
        for port in &targets.ports {
            let counted = sockets::established(*port, |ip: IpAddr| {
                *connections.entry(SocketAddr::new(ip, *port)).or_default() += 1;
            });
            if let Err(error) = counted {
                tracing::error!(port, %error, "cannot count connections");
            }
        }
        // A process that ended in the meantime has no usage.
        let usage = targets.pids.iter().filter_map(|pid| Some((*pid, proc::usage(*pid).ok()?))).collect();
        let ports = targets.ports.clone();
        Self { at: Instant::now(), ports, connections, usage, packets: HashMap::new() }
    }

    /// With what the services say that they have counted.
    pub(crate) fn with_packets(self, packets: HashMap<u32, (Instant, u64)>) -> Self {
        Self { packets, ..self }
    }

    /// One in which all processes use next to nothing.
    #[cfg(test)]
    pub(crate) fn of_connections(at: Instant, connections: HashMap<SocketAddr, u64>, pids: &[u32]) -> Self {
        let little = proc::Usage { cpu: Duration::ZERO, resident: 1 << 20 };
        let ports = connections.keys().map(SocketAddr::port).collect();
        Self {
            at,
            ports,
            connections,
            usage: pids.iter().map(|pid| (*pid, little)).collect(),
            packets: HashMap::new(),
        }
    }

    /// `None`: not counted, since nothing connects to that port.
    pub(crate) fn connections(&self, address: SocketAddr) -> Option<u64> {
        let counted = self.ports.contains(&address.port());
        counted.then(|| self.connections.get(&address).copied().unwrap_or(0))
    }

    /// `None`: there is no such process any more.
    pub(crate) fn usage(&self, pid: u32) -> Option<proc::Usage> {
        self.usage.get(&pid).copied()
    }
}

/// What is kept of one replica.
#[derive(Debug)]
pub(crate) struct Series {
    connections: Option<u64>,
    windowed: MaxOver,
    cpu: Option<(u32, Instant, Duration)>,
    pub(crate) cpu_milli: Option<CpuSample>,
    pub(crate) memory_bytes: Option<u64>,
    packets: RateOver,
    /// Packets per second over the window, at the last scrape.
    packets_per_second: Option<f64>,
}

/// A rate of CPU use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CpuSample {
    /// Thousandths of a core.
    pub(crate) milli: i64,
    pub(crate) at: Instant,
    pub(crate) window: Duration,
}

impl Series {
    pub(crate) fn new(window: Duration) -> Self {
        Self {
            connections: None,
            windowed: MaxOver::new(window),
            cpu: None,
            cpu_milli: None,
            memory_bytes: None,
            packets: RateOver::new(window),
            packets_per_second: None,
        }
    }

    /// Takes a scrape over. `process`: pid of the present process, if any.
    pub(crate) fn take(&mut self, scrape: &Scrape, address: SocketAddr, process: Option<u32>) {
        let Some(pid) = process else {
            // Nothing to scrape: no sample, as a container that does not run has none.
            (self.connections, self.cpu, self.cpu_milli, self.memory_bytes) = (None, None, None, None);
            self.packets_per_second = None;
            return;
        };
        if let Some((at, count)) = scrape.packets.get(&pid) {
            self.packets.push(*at, *count);
        }
        self.packets_per_second = self.packets.per_second(scrape.at);
        self.connections = scrape.connections(address);
        if let Some(connections) = self.connections {
            self.windowed.push(scrape.at, connections);
        }
        let Some(usage) = scrape.usage.get(&pid) else {
            return;
        };
        self.memory_bytes = Some(usage.resident);
        if let Some((last_pid, last_at, last_cpu)) = self.cpu
            && last_pid == pid
        {
            self.cpu_milli = rate(usage.cpu.saturating_sub(last_cpu), scrape.at, last_at);
        }
        self.cpu = Some((pid, scrape.at, usage.cpu));
    }

    /// At the last scrape.
    pub(crate) fn connections(&self) -> Option<u64> {
        self.connections
    }

    /// The most of the window; `None`: nothing was scraped within it.
    pub(crate) fn connections_windowed(&mut self, now: Instant) -> Option<u64> {
        self.windowed.max(now)
    }

    /// What the service had counted at the last scrape that it answered.
    pub(crate) fn packets_received(&self) -> Option<u64> {
        self.packets.last()
    }

    /// At the last scrape; `None`: the service does not count packets, or has been asked only once.
    pub(crate) fn packets_per_second(&self) -> Option<f64> {
        self.packets_per_second
    }

    /// At this moment; `None`: as above, or nothing was scraped for the whole window.
    pub(crate) fn packets_per_second_windowed(&mut self, now: Instant) -> Option<f64> {
        self.packets.per_second(now)
    }

    pub(crate) fn set_window(&mut self, window: Duration) {
        self.windowed.set_length(window);
        self.packets.set_length(window);
    }
}

fn rate(cpu: Duration, at: Instant, since: Instant) -> Option<CpuSample> {
    let window = at.saturating_duration_since(since);
    let milli = cpu.as_micros().checked_mul(1000)?.checked_div(window.as_micros())?;
    Some(CpuSample { milli: i64::try_from(milli).ok()?, at, window })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrape(at: Instant, connections: u64, cpu_ms: u64) -> (Scrape, SocketAddr) {
        let address = SocketAddr::from(([127, 77, 2, 1], 40000));
        let usage = proc::Usage { cpu: Duration::from_millis(cpu_ms), resident: 4096 };
        (
            Scrape {
                at,
                ports: HashSet::from([address.port()]),
                connections: HashMap::from([(address, connections)]),
                usage: HashMap::from([(7, usage)]),
                packets: HashMap::new(),
            },
            address,
        )
    }

    #[test]
    fn cpu_is_a_rate_between_two_scrapes_of_one_process() {
        let start = Instant::now();
        let mut series = Series::new(Duration::from_mins(1));
        let (first, address) = scrape(start, 5, 1000);
        series.take(&first, address, Some(7));
        assert_eq!((series.connections(), series.cpu_milli), (Some(5), None));

        let at = start + Duration::from_secs(7);
        let (second, _) = scrape(at, 3, 2400);
        series.take(&second, address, Some(7));
        assert_eq!(series.cpu_milli, Some(CpuSample { milli: 200, at, window: Duration::from_secs(7) }));
        assert_eq!((series.connections(), series.connections_windowed(at)), (Some(3), Some(5)));

        // A restarted replica has used nothing before; while it is down there is no sample.
        series.take(&second, address, None);
        assert_eq!((series.connections(), series.cpu_milli, series.memory_bytes), (None, None, None));
        series.take(&second, address, Some(7));
        assert_eq!((series.cpu_milli, series.memory_bytes), (None, Some(4096)));
    }
}
