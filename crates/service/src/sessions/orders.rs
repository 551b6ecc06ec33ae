//! Orders of the balancer: a channel of Redis with `{"HOSTID": n}`, each for the host it names.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tracing::{info, warn};

use crate::Readiness;
use crate::backoff::Backoff;
use crate::redis::{self, PubSubSink, PubSubStream, RedisError};

/// The part that `/readyz` calls degraded while orders cannot be heard.
const PART: &str = "orders";
/// How often a silent subscription is checked.
const CHECK_EVERY: Duration = Duration::from_secs(10);

/// How often it is said that orders cannot be read: anyone can publish any number of them.
const SAID_EVERY: Duration = Duration::from_mins(1);

/// Where orders come from, and for whom.
#[derive(Debug, Clone)]
pub struct Source {
    pub redis: redis::Settings,
    pub channel: &'static str,
    pub host_id: String,
}

/// Obeys orders for ever. `shed` asks that many sessions to leave, the most idle first, and returns how many it asked.
/// `interrupted` is called when the connection to Redis broke.
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
                    info!(%redis, channel, "orders to move sessions are heard again");
                }
                let failure = source.follow(subscription, orders, &shed).await;
                interrupted();
                failure
            }
            Err(error) => error,
        };
        let reason = format!("Redis at {redis}: {failure}");
        if readiness.degrade(PART, &reason) {
            warn!(%redis, channel, error = %failure, "orders to move sessions are not heard");
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
        let mut unreadable = Unreadable::default();
        loop {
            tokio::select! {
                order = orders.next() => match order {
                    Some(order) => self.carry_out(order.get_payload_bytes(), shed, &mut unreadable),
                    None => return std::io::Error::from(std::io::ErrorKind::ConnectionReset).into(),
                },
                () = tokio::time::sleep(CHECK_EVERY) => {
                    let count = unreadable.take();
                    if count > 0 {
                        warn!(channel = self.channel, count, "more orders were not {{\"HOSTID\": n}}");
                    }
                    if let Err(error) = redis::check(&mut subscription).await {
                        return error;
                    }
                }
            }
        }
    }

    fn carry_out(&self, payload: &[u8], shed: &impl Fn(usize) -> usize, unreadable: &mut Unreadable) {
        match count_for(payload, &self.host_id) {
            Ok(0) => {}
            Ok(count) => {
                let shed = shed(count);
                info!(ordered = count, shed, "sessions are moved to other instances");
            }
            Err(error) => {
                if let Some(count) = unreadable.note(clock::now()) {
                    warn!(channel = self.channel, count, %error, "orders are not {{\"HOSTID\": n}}");
                }
            }
        }
    }
}

/// Orders that cannot be read, and have not been told yet.
#[derive(Default)]
struct Unreadable {
    count: u64,
    said: Option<Instant>,
}

impl Unreadable {
    /// Takes note of one. Returns how many are to be told now, if any.
    fn note(&mut self, now: Instant) -> Option<u64> {
        self.count += 1;
        if self.said.is_some_and(|said| now.duration_since(said) < SAID_EVERY) {
            return None;
        }
        self.said = Some(now);
        Some(self.take())
    }

    fn take(&mut self) -> u64 {
        std::mem::take(&mut self.count)
    }
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
    fn many_that_cannot_be_read_are_told_in_few_lines() {
        let (mut unreadable, start) = (Unreadable::default(), clock::now());
        let told = (0..100_000_u32)
            .filter_map(|number| unreadable.note(start + Duration::from_millis(number.into())))
            .collect::<Vec<_>>();
        assert_eq!(told, [1, 60_000]);
        assert_eq!(unreadable.take(), 39_999);
        assert_eq!(unreadable.take(), 0);
    }

    #[test]
    fn an_order_is_for_the_hosts_that_it_names() {
        let order = br#"{"10.0.0.1": 3, "10.0.0.2": 1}"#;
        assert_eq!(count_for(order, "10.0.0.1").unwrap(), 3);
        assert_eq!(count_for(order, "10.0.0.3").unwrap(), 0);
        for bad in [&b"3"[..], br#"{"10.0.0.1": -1}"#, br#"{"10.0.0.1": "all"}"#, b"\xff", b""] {
            assert!(count_for(bad, "10.0.0.1").is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
