//! One replica's samples in the metrics pipeline.

use std::time::Duration;

use platform::services::PodsMetric;

use crate::{
    RunId, Time,
    input::Sample,
    window::{MaxOver, RateOver},
};

#[derive(Debug, Clone)]
pub(crate) struct Series {
    connections: Option<u64>,
    windowed: MaxOver,
    /// CPU time used so far, when it was read, and by which run.
    cpu: Option<(RunId, Time, Duration)>,
    pub(crate) cpu_milli: Option<CpuRate>,
    pub(crate) memory_bytes: Option<u64>,
    packets: RateOver,
    /// Packets per second over the window, at the last scrape.
    packets_per_second: Option<f64>,
    sessions: Option<u64>,
}

/// A rate of CPU use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CpuRate {
    /// Thousandths of a core.
    pub(crate) milli: i64,
    pub(crate) at: Time,
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
            sessions: None,
        }
    }

    /// Adds a run's sample.
    pub(crate) fn take(&mut self, now: Time, run: RunId, sample: &Sample) {
        if let Some((at, count)) = sample.packets {
            self.packets.push(at, count);
        }
        self.packets_per_second = self.packets.per_second(now);
        self.sessions = sample.sessions;
        self.connections = sample.connections;
        if let Some(connections) = self.connections {
            self.windowed.push(now, connections);
        }
        let Some(usage) = sample.usage else { return };
        self.memory_bytes = Some(usage.memory_bytes);
        if let Some((last_run, last_at, last_cpu)) = self.cpu
            && last_run == run
        {
            self.cpu_milli = rate(usage.cpu.saturating_sub(last_cpu), now, last_at);
        }
        self.cpu = Some((run, now, usage.cpu));
    }

    /// There was nothing to scrape: no sample, as for a container that does not run.
    pub(crate) fn miss(&mut self) {
        (self.connections, self.cpu, self.cpu_milli, self.memory_bytes) = (None, None, None, None);
        (self.packets_per_second, self.sessions) = (None, None);
    }

    /// At the last scrape.
    pub(crate) fn connections(&self) -> Option<u64> {
        self.connections
    }

    /// The maximum of the window; `None`: nothing was scraped within it.
    pub(crate) fn connections_windowed(&mut self, now: Time) -> Option<u64> {
        self.windowed.max(now)
    }

    /// The service's count at the last answered scrape.
    pub(crate) fn packets_received(&self) -> Option<u64> {
        self.packets.last()
    }

    /// At the last scrape; `None`: the service does not count packets, or was scraped only once.
    pub(crate) fn packets_per_second(&self) -> Option<f64> {
        self.packets_per_second
    }

    /// Now; `None`: as above, or nothing was scraped for the whole window.
    pub(crate) fn packets_per_second_windowed(&mut self, now: Time) -> Option<f64> {
        self.packets.per_second(now)
    }

    /// At the last scrape; `None`: the service has none, or did not answer.
    pub(crate) fn sessions(&self) -> Option<u64> {
        self.sessions
    }

    /// A custom metric in milli-units, from the scrapes within the window.
    pub(crate) fn custom_metric(&mut self, name: &str, now: Time) -> Option<i64> {
        match PodsMetric::by_name(name)? {
            PodsMetric::Connections => self.connections_windowed(now).map(thousand),
            PodsMetric::Packets => Some((self.packets_per_second_windowed(now)? * 1000.0).round() as i64),
            PodsMetric::Sessions | PodsMetric::Users => self.sessions().map(thousand),
        }
    }

    pub(crate) fn set_window(&mut self, window: Duration) {
        self.windowed.set_length(window);
        self.packets.set_length(window);
    }
}

fn rate(cpu: Duration, at: Time, since: Time) -> Option<CpuRate> {
    let window = at.since(since);
    let milli = cpu.as_micros().checked_mul(1000)?.checked_div(window.as_micros())?;
    Some(CpuRate { milli: i64::try_from(milli).ok()?, at, window })
}

/// In milli-units.
pub(crate) fn thousand(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX).saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::Usage;

    fn sample(connections: u64, cpu_ms: u64) -> Sample {
        let usage = Usage { cpu: Duration::from_millis(cpu_ms), memory_bytes: 4096 };
        Sample { connections: Some(connections), packets: None, sessions: None, usage: Some(usage) }
    }

    #[test]
    fn cpu_is_a_rate_between_two_scrapes_of_one_run() {
        let mut series = Series::new(Duration::from_mins(1));
        series.take(Time::ZERO, RunId(7), &sample(5, 1000));
        assert_eq!((series.connections(), series.cpu_milli), (Some(5), None));

        let at = Time::ZERO + Duration::from_secs(7);
        series.take(at, RunId(7), &sample(3, 2400));
        assert_eq!(series.cpu_milli, Some(CpuRate { milli: 200, at, window: Duration::from_secs(7) }));
        assert_eq!((series.connections(), series.connections_windowed(at)), (Some(3), Some(5)));

        // There is no sample while it is down, and its next run starts with no usage.
        series.miss();
        assert_eq!((series.connections(), series.cpu_milli, series.memory_bytes), (None, None, None));
        series.take(at, RunId(8), &sample(3, 2400));
        assert_eq!((series.cpu_milli, series.memory_bytes), (None, Some(4096)));
    }
}
