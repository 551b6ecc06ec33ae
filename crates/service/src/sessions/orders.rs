//! Orders of the balancer: a Redis channel with `{"HOSTID": n}`, each for the named host.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt;
use tracing::{info, warn};

use crate::Readiness;
use crate::backoff::Backoff;
use crate::logs::Seldom;
use crate::redis::{self, PubSubSink, PubSubStream, RedisError};

/// The part that `/readyz` reports as degraded while orders cannot be received.
const PART: &str = "orders";
/// How often a silent subscription is checked.
const CHECK_EVERY: Duration = Duration::from_secs(10);

/// The source of orders, and their addressee.
#[derive(Debug, Clone)]
pub struct Source {
    pub redis: redis::Settings,
    pub channel: &'static str,
    pub host_id: String,
}

/// Obeys orders forever. `shed` asks that many sessions to leave, the longest idle first, and returns how many it
/// asked. Calls `interrupted` when the connection to Redis breaks.
pub async fn obey(
    source: &Source,
    readiness: &Readiness,
    shed: impl Fn(usize) -> usize,
    interrupted: impl Fn(),
) {
    let Source { redis, channel, .. } = source;
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    loop {
        let failure = match redis::subscribe(redis, channel).await {
            Ok((subscription, orders)) => {
                backoff.reset();
                if readiness.restore(PART) {
                    info!(%redis, channel, "receiving orders to move sessions again");
                }
                let failure = source.follow(subscription, orders, &shed).await;
                interrupted();
                failure
            }
            Err(error) => error,
        };
        let reason = format!("Redis at {redis}: {failure}");
        if readiness.degrade(PART, &reason) {
            warn!(%redis, channel, error = %failure, "cannot receive orders to move sessions");
        }
        tokio::time::sleep(backoff.wait()).await;
    }
}

impl Source {
    async fn follow(
        &self,
        mut subscription: PubSubSink,
        mut orders: PubSubStream,
        shed: &impl Fn(usize) -> usize,
    ) -> RedisError {
        let mut untold = Untold::default();
        loop {
            tokio::select! {
                order = orders.next() => match order {
                    Some(order) => self.carry_out(order.get_payload_bytes(), shed, &mut untold),
                    None => return std::io::Error::from(std::io::ErrorKind::ConnectionReset).into(),
                },
                () = tokio::time::sleep(CHECK_EVERY) => {
                    if let Some((count, [])) = untold.unreadable.take() {
                        warn!(channel = self.channel, count, "more orders were not {{\"HOSTID\": n}}");
                    }
                    if let Some(moved) = untold.moved.take() {
                        tell_moved(moved);
                    }
                    if let Err(error) = redis::check(&mut subscription).await {
                        return error;
                    }
                }
            }
        }
    }

    fn carry_out(&self, payload: &[u8], shed: &impl Fn(usize) -> usize, untold: &mut Untold) {
        match count_for(payload, &self.host_id) {
            Ok(0) => {}
            Ok(count) => {
                let shed = shed(count);
                if let Some(moved) = untold.moved.note(clock::now(), [count as u64, shed as u64]) {
                    tell_moved(moved);
                }
            }
            Err(error) => {
                if let Some((count, [])) = untold.unreadable.note(clock::now(), []) {
                    warn!(channel = self.channel, count, %error, "orders are not {{\"HOSTID\": n}}");
                }
            }
        }
    }
}

fn tell_moved((orders, [ordered, shed]): (u64, [u64; 2])) {
    info!(orders, ordered, shed, "moving sessions to other instances");
}

/// Unreported orders: anyone can publish any number of them.
#[derive(Default)]
struct Untold {
    unreadable: Seldom,
    /// How many sessions were ordered to leave, and how many were asked to.
    moved: Seldom<2>,
}

/// How many sessions this host should close.
fn count_for(payload: &[u8], host_id: &str) -> Result<usize, serde_json::Error> {
    let counts: HashMap<String, usize> = serde_json::from_slice(payload)?;
    Ok(counts.get(host_id).copied().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_applies_to_the_hosts_it_names() {
        let order = br#"{"10.0.0.1": 3, "10.0.0.2": 1}"#;
        assert_eq!(count_for(order, "10.0.0.1").unwrap(), 3);
        assert_eq!(count_for(order, "10.0.0.3").unwrap(), 0);
        for bad in [&b"3"[..], br#"{"10.0.0.1": -1}"#, br#"{"10.0.0.1": "all"}"#, b"\xff", b""] {
            assert!(count_for(bad, "10.0.0.1").is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
