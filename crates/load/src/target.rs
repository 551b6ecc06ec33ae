//! Addresses as typed by the user.

use std::{
    net::{SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket},
    time::Duration,
};

use scenario::Protocol;

use crate::LoadError;

/// How long each of several addresses of a name is tried before the run.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a machine may take to report that nobody listens on a UDP port.
const REFUSAL: Duration = Duration::from_millis(100);

/// The protocol in a target, as in `udp://127.0.0.1:10001`.
pub fn protocol(text: &str) -> Option<Protocol> {
    text.split_once("://").and_then(|(scheme, _)| scheme.parse().ok())
}

/// Splits a URL into what [`resolve`] takes and its path: `ws://host:port/chat` into `ws://host:port` and `/chat`. `None`:
/// it has none, or a load of this protocol requests none.
pub fn split_path(text: &str, protocol: Protocol) -> Option<(&str, &str)> {
    let begin = text.find("://")? + 3;
    let at = begin + text[begin..].find('/')?;
    let (address, path) = text.split_at(at);
    let is_path = match protocol {
        Protocol::Ws => true,
        // The root of a server of events, as browsers write it, means no stream.
        Protocol::Sse => path != "/",
        Protocol::Tcp | Protocol::Udp => false,
    };
    is_path.then_some((address, path))
}

/// Parses `host:port`, or `udp://host:port` if that is the load's protocol. Resolves names; of several addresses, IPv4
/// and IPv6, it takes the first at which somebody listens, or the first of all if nobody does.
pub fn resolve(text: &str, protocol: Protocol) -> Result<SocketAddr, LoadError> {
    let wrong = |reason: String| LoadError::Target { text: text.to_owned(), reason };
    let address = match text.split_once("://") {
        None => text,
        Some((scheme, address)) => match scheme.parse::<Protocol>() {
            Ok(spoken) if spoken == protocol => address,
            // Both run over HTTP.
            Err(_) if scheme == "http" && matches!(protocol, Protocol::Ws | Protocol::Sse) => address,
            Ok(_) => return Err(wrong(format!("the load speaks {protocol}"))),
            Err(_) => return Err(wrong(not_spoken(scheme))),
        },
    };
    let address = match protocol {
        Protocol::Ws | Protocol::Sse => address.strip_suffix('/').unwrap_or(address),
        Protocol::Tcp | Protocol::Udp => address,
    };
    if let Ok(address) = address.parse::<SocketAddr>() {
        let is_zero = address.port() == 0;
        return if is_zero { Err(wrong("port 0 cannot be connected to".to_owned())) } else { Ok(address) };
    }
    if let Some((address, path)) = address.split_once('/') {
        let example = format!("--protocol {protocol} {address}");
        return Err(wrong(match protocol {
            Protocol::Ws | Protocol::Sse => format!("the path is an option: {example} --path /{path}"),
            _ => format!("an address has no path: {example}"),
        }));
    }
    let shape = || wrong("expected host:port, such as 127.0.0.1:10000".to_owned());
    let (host, port) = match address.rsplit_once(':') {
        // The colons of an IPv6 address are not those before a port.
        Some((host, _)) if host.contains(':') && !host.starts_with('[') => (address, ""),
        Some((host, port)) => (host, port),
        None => (address, ""),
    };
    if port.is_empty() && !host.is_empty() {
        return Err(wrong(format!("the port is missing; expected host:port, such as {}:10000", bare(host))));
    }
    if host.is_empty() {
        return Err(shape());
    }
    if !port.parse::<u16>().is_ok_and(|port| port != 0) {
        return Err(wrong(format!("`{port}` is not a port; expected a number from 1 to 65535")));
    }
    let unresolved = |reason: String| LoadError::Name {
        text: text.to_owned(),
        host: host.to_owned(),
        // The beginning says the same as ours.
        reason: reason.trim_start_matches("failed to lookup address information: ").to_owned(),
    };
    let addresses: Vec<SocketAddr> =
        address.to_socket_addrs().map_err(|error| unresolved(error.to_string()))?.collect();
    let first = *addresses.first().ok_or_else(|| unresolved("it has no address".to_owned()))?;
    let listens = |address: &&SocketAddr| match protocol {
        Protocol::Tcp | Protocol::Ws | Protocol::Sse => TcpStream::connect_timeout(address, PATIENCE).is_ok(),
        Protocol::Udp => takes_datagrams(**address),
    };
    let several = addresses.iter().any(|address| *address != first);
    Ok(if several { addresses.iter().find(listens).copied().unwrap_or(first) } else { first })
}

fn not_spoken(scheme: &str) -> String {
    match scheme {
        "wss" | "https" | "tls" | "ssl" => {
            "the load does not speak TLS; load a port without it, such as the server's own behind its proxy"
                .to_owned()
        }
        "http" => {
            "over HTTP the load speaks WebSocket (--protocol ws) and server-sent events (--protocol sse)"
                .to_owned()
        }
        other => format!("the load does not speak `{other}`; expected tcp, udp, ws or sse"),
    }
}

/// A host as it is written before a port.
fn bare(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() }
}

/// Whether no error says that nobody listens there.
fn takes_datagrams(address: SocketAddr) -> bool {
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let ask = || -> std::io::Result<()> {
        let socket = UdpSocket::bind(any)?;
        socket.connect(address)?;
        socket.set_read_timeout(Some(REFUSAL))?;
        socket.send(&[])?;
        match socket.recv(&mut [0]) {
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Err(error),
            _ => Ok(()),
        }
    };
    ask().is_ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn addresses_are_read_with_and_without_a_scheme() {
        for text in ["127.0.0.1:10000", "tcp://127.0.0.1:10000"] {
            assert_eq!(resolve(text, Protocol::Tcp).unwrap(), "127.0.0.1:10000".parse().unwrap());
        }
        assert_eq!(resolve("[::1]:5151", Protocol::Udp).unwrap(), "[::1]:5151".parse().unwrap());
        assert_eq!(resolve("udp://localhost:80", Protocol::Udp).unwrap().port(), 80);
        assert_eq!(protocol("udp://localhost:80"), Some(Protocol::Udp));
        assert_eq!(protocol("localhost:80"), None);
    }

    #[test]
    fn a_url_has_an_address_and_a_path() {
        let (ws, sse) = (Protocol::Ws, Protocol::Sse);
        for (text, protocol, split) in [
            ("ws://h:1/chat/{user}?a=b", ws, Some(("ws://h:1", "/chat/{user}?a=b"))),
            ("http://h:1/events", sse, Some(("http://h:1", "/events"))),
            ("http://h:1/", sse, None),
            ("ws://h:1", ws, None),
            ("ws://h:1/", ws, Some(("ws://h:1", "/"))),
            ("h:1/chat", ws, None),
            ("tcp://h:1/x", Protocol::Tcp, None),
        ] {
            assert_eq!(split_path(text, protocol), split, "{text}");
        }
        for text in ["http://127.0.0.1:80/", "sse://127.0.0.1:80", "127.0.0.1:80"] {
            assert_eq!(resolve(text, sse).unwrap(), "127.0.0.1:80".parse().unwrap(), "{text}");
        }
    }

    #[test]
    fn a_name_with_several_addresses_resolves_to_one_that_listens() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Some(listener) = fixtures::over_ipv6(TcpListener::bind(address)) else { continue };
            let listening = listener.local_addr().unwrap();
            let name = format!("localhost:{}", listening.port());
            if name.to_socket_addrs().unwrap().any(|known| known == listening) {
                assert_eq!(resolve(&name, Protocol::Tcp).unwrap(), listening);
            }
            let socket = UdpSocket::bind(address).unwrap();
            let bound = socket.local_addr().unwrap();
            let name = format!("localhost:{}", bound.port());
            if name.to_socket_addrs().unwrap().any(|known| known == bound) {
                assert_eq!(resolve(&name, Protocol::Udp).unwrap(), bound);
            }
        }
    }

    #[test]
    fn invalid_addresses_are_named() {
        for text in ["127.0.0.1:0", ":80", "host:99999", "udp://127.0.0.1:1", "x://127.0.0.1:1", ""] {
            let error = resolve(text, Protocol::Tcp).expect_err(text).to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
        for (text, protocol, words) in [
            ("host:99999", Protocol::Tcp, "`99999` is not a port; expected a number from 1 to 65535"),
            ("wss://host:443", Protocol::Ws, "does not speak TLS"),
            ("https://host:443", Protocol::Tcp, "does not speak TLS"),
            ("http://host:80", Protocol::Tcp, "--protocol sse"),
            ("redis://host:80", Protocol::Tcp, "does not speak `redis`; expected tcp, udp, ws or sse"),
            ("127.0.0.1:80/x", Protocol::Tcp, "an address has no path: --protocol tcp 127.0.0.1:80"),
            ("no-such-host.invalid:80", Protocol::Tcp, "the name no-such-host.invalid cannot be resolved: "),
        ] {
            let error = resolve(text, protocol).expect_err(text);
            let is_there = !matches!(error, LoadError::Name { .. });
            assert_eq!(error.exit_code() == platform::exit::USAGE, is_there, "a name may resolve later");
            let error = error.to_string();
            assert!(error.contains(words) && !error.contains("failed to lookup"), "{error}");
        }
        for (text, example) in [
            ("127.0.0.1", "127.0.0.1:10000"),
            ("host:", "host:10000"),
            ("tcp://host", "host:10000"),
            ("::1", "[::1]:10000"),
        ] {
            let error = resolve(text, Protocol::Tcp).expect_err(text).to_string();
            assert!(error.contains("the port is missing") && error.contains(example), "{error}");
        }
    }
}
