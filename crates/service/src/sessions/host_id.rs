//! The balancer's name for this instance: its IP address, as seen by others.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs, UdpSocket};

use crate::settings::{Host, Variable};
use crate::{logs, redis};

pub const HOST_ID: Variable = Variable::optional(
    "HOST_ID",
    "Name of this instance in its sessions, which the balancer uses in its orders; if not set, the IP address it \
     listens on, or else the one from which it reaches Redis.",
);

/// The configured name, or the listening address, or the address from which Redis is reached, or else the host's name.
pub fn resolve(configured: Option<&str>, host: Host, redis: &redis::Settings) -> String {
    if let Some(id) = configured {
        return id.to_owned();
    }
    if !host.0.is_unspecified() {
        return host.0.to_string();
    }
    address_towards(redis).unwrap_or_else(|| logs::pod_name(None))
}

/// The address from which packets to Redis would leave. Nothing is sent.
fn address_towards(redis: &redis::Settings) -> Option<String> {
    let peer = (redis.host.as_str(), redis.port).to_socket_addrs().ok()?.find(SocketAddr::is_ipv4)?;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(peer).ok()?;
    Some(socket.local_addr().ok()?.ip().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redis_at(host: &str) -> redis::Settings {
        redis::Settings { host: host.into(), port: 6379, password: None }
    }

    #[test]
    fn the_most_specific_answer_wins() {
        let loopback = Host::LOOPBACK;
        assert_eq!(resolve(Some("10.0.0.7"), loopback, &redis_at("127.0.0.1")), "10.0.0.7");
        assert_eq!(resolve(None, loopback, &redis_at("127.0.0.1")), "127.0.0.1");
        assert_eq!(resolve(None, Host::ANY, &redis_at("127.0.0.1")), "127.0.0.1");
        assert_eq!(resolve(None, Host::ANY, &redis_at("no such host")), logs::pod_name(None));
    }
}
