//! Orders of the balancer: the channel `drop-persistent-sessions` with `{"HOSTID": n}`, each for the host it names.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt;
use service::Readiness;
use service::backoff::Backoff;
use service::redis::{self, PubSubSink, PubSubStream, RedisError};
use tracing::{info, warn};

use crate::sessions::Sessions;

const CHANNEL: &str = "drop-persistent-sessions";
/// The part that `/readyz` calls degraded while orders cannot be heard.
const PART: &str = "orders";
/// How often a silent subscription is checked.
const CHECK_EVERY: Duration = Duration::from_secs(10);

/// Obeys orders for `host_id` for ever.
pub(crate) async fn obey(
    settings: &redis::Settings,
    host_id: &str,
    sessions: &Sessions,
    readiness: &Readiness,
) {
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    loop {
        let failure = match redis::subscribe(settings, CHANNEL).await {
            Ok((subscription, orders)) => {
                backoff.reset();
                if readiness.restore(PART) {
                    info!(redis = %settings, channel = CHANNEL, "orders to move sessions are heard again");
                }
                follow(subscription, orders, host_id, sessions).await
            }
            Err(error) => error,
        };
        let reason = format!("Redis at {settings}: {failure}");
        if readiness.degrade(PART, &reason) {
            warn!(redis = %settings, channel = CHANNEL, error = %failure, "orders to move sessions are not heard");
        }
        tokio::time::sleep(backoff.wait()).await;
    }
}

async fn follow(
    mut subscription: PubSubSink,
    mut orders: PubSubStream,
    host_id: &str,
    sessions: &Sessions,
) -> RedisError {
    loop {
        tokio::select! {
            order = orders.next() => match order {
                Some(order) => carry_out(order.get_payload_bytes(), host_id, sessions),
                None => return std::io::Error::from(std::io::ErrorKind::ConnectionReset).into(),
            },
            () = tokio::time::sleep(CHECK_EVERY) => {
                if let Err(error) = redis::check(&mut subscription).await {
                    return error;
                }
            }
        }
    }
}

fn carry_out(payload: &[u8], host_id: &str, sessions: &Sessions) {
    match count_for(payload, host_id) {
        Ok(0) => {}
        Ok(count) => {
            let shed = sessions.shed(count);
            info!(ordered = count, shed, "sessions are moved to other instances");
        }
        Err(error) => warn!(channel = CHANNEL, %error, "an order is not {{\"HOSTID\": n}}"),
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
    fn an_order_is_for_the_hosts_that_it_names() {
        let order = br#"{"10.0.0.1": 3, "10.0.0.2": 1}"#;
        assert_eq!(count_for(order, "10.0.0.1").unwrap(), 3);
        assert_eq!(count_for(order, "10.0.0.3").unwrap(), 0);
        for bad in [&b"3"[..], br#"{"10.0.0.1": -1}"#, br#"{"10.0.0.1": "all"}"#, b"\xff", b""] {
            assert!(count_for(bad, "10.0.0.1").is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
