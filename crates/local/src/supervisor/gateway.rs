//! The gateway's processes: one per listener and node, like a DaemonSet's pods.

use std::time::{Duration, Instant};

use super::{proxy::Proxied, service::Running};
use crate::slot::Ordinals;

/// A gateway that died is started again at once, since its share of the new connections waits for it; if it goes on
/// dying, after this, doubled each time.
const RESTART_FIRST: Duration = Duration::from_millis(250);
const RESTART_MAX: Duration = Duration::from_secs(10);
/// What ran for so long did not die of its start.
const STABLE_AFTER: Duration = Duration::from_secs(30);

/// All gateway processes of the platform.
#[derive(Debug, Default)]
pub(crate) struct Gateways {
    pub(crate) ordinals: Ordinals,
    pub(crate) all: Vec<Gateway>,
    /// Grows with every change of what they are started from.
    pub(crate) revision: u64,
}

#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) name: String,
    /// Which of the platform's entrances.
    pub(crate) entrance: usize,
    pub(crate) node: u32,
    pub(crate) ordinal: u16,
    pub(crate) ip: std::net::IpAddr,
    pub(crate) revision: u64,
    /// If its process is not ours.
    pub(crate) proxied: Option<Proxied>,
    pub(crate) running: Option<Running>,
    pub(crate) ready: bool,
    /// The version of the endpoints that it has taken over.
    pub(crate) version: u64,
    pub(crate) restarts: u32,
    pub(crate) told: Option<Instant>,
    delay: Duration,
    /// Our end of its stdin; its end tells the gateway that we are gone.
    pub(crate) line: Option<std::os::unix::net::UnixStream>,
}

impl Gateway {
    pub(crate) fn new(
        name: String,
        entrance: usize,
        node: u32,
        ordinal: u16,
        ip: std::net::IpAddr,
        revision: u64,
    ) -> Self {
        Self {
            name,
            entrance,
            node,
            ordinal,
            ip,
            revision,
            proxied: None,
            running: None,
            ready: false,
            version: 0,
            restarts: 0,
            told: None,
            delay: Duration::ZERO,
            line: None,
        }
    }

    /// How long to wait before it is started again after having run for `ran`.
    pub(crate) fn next_delay(&mut self, ran: Duration) -> Duration {
        if ran >= STABLE_AFTER {
            self.delay = Duration::ZERO;
        }
        let delay = self.delay;
        self.delay = (delay * 2).clamp(RESTART_FIRST, RESTART_MAX);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_at_once_and_a_stable_run_is_a_new_beginning() {
        let ip = "127.77.1.1".parse().unwrap();
        let mut gateway = Gateway::new("gateway-node-0".to_owned(), 0, 0, 0, ip, 1);
        let short = Duration::from_secs(1);
        let delays: Vec<u128> = (0..8).map(|_| gateway.next_delay(short).as_millis()).collect();
        assert_eq!(delays, [0, 250, 500, 1000, 2000, 4000, 8000, 10_000]);
        assert_eq!(gateway.next_delay(STABLE_AFTER), Duration::ZERO);
    }
}
