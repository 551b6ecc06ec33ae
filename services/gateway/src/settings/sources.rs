//! The sources of the replicas of the services behind the gateway.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use service::settings::{Reader, Setting};

use super::{DnsSettings, Protocol, Service, Source, positive, variables as v};

/// The services with these names, each with its source.
pub(super) fn read(reader: &mut Reader<'_>, names: Vec<String>, protocol: Protocol) -> Vec<Service> {
    let path: Option<String> = reader.optional(&v::ENDPOINTS_FILE);
    let by_dns = reader.is_set(&v::ENDPOINTS_DNS);
    let found = if protocol == Protocol::Http {
        reader.optional(&v::ENDPOINTS_DNS).map(|NamedNames(named)| named)
    } else {
        reader.optional(&v::ENDPOINTS_DNS).map(|found: NamePort| vec![(names[0].clone(), found)])
    };
    let refresh = positive(reader, &v::DNS_REFRESH);
    let server = reader.optional(&v::DNS_SERVER).map(|Server(address)| address);
    let health_port = Some(reader.get(&v::HEALTH_PORT)).filter(|port| *port != 0);
    if by_dns && path.is_some() {
        reader.refuse(&v::ENDPOINTS_DNS, "", "either this or ENDPOINTS_FILE, not both");
    }
    if !by_dns && path.is_none() {
        let expected = "the path of a JSON file of endpoints, or ENDPOINTS_DNS in its place";
        reader.refuse(&v::ENDPOINTS_FILE, "", expected);
    }
    let found = found.unwrap_or_default();
    if let Some((other, _)) = found.iter().find(|(service, _)| !names.contains(service)) {
        reader.refuse(&v::ENDPOINTS_DNS, other.as_str(), "the services of ROUTES and no others");
    }
    let mut service = |name: String| {
        let found_name = found.iter().find(|(service, _)| *service == name);
        if found_name.is_none() && !found.is_empty() {
            reader.refuse(&v::ENDPOINTS_DNS, "", format!("{name}=NAME:PORT too, for a route"));
        }
        let source = match found_name {
            Some((_, NamePort { name, port })) => {
                Source::Dns(DnsSettings { name: name.clone(), port: *port, health_port, refresh, server })
            }
            None => Source::File(path.clone().map(PathBuf::from).unwrap_or_default()),
        };
        Service { name, source }
    };
    names.into_iter().map(&mut service).collect()
}

/// `tcp.playground.svc:40000`
struct NamePort {
    name: String,
    port: u16,
}

impl Setting for NamePort {
    fn parse(text: &str) -> Result<Self, String> {
        let parts = text.rsplit_once(':').and_then(|(name, port)| Some((name, port.parse().ok()?)));
        match parts {
            Some((name, port)) if port != 0 && is_name(name) => Ok(Self { name: name.to_owned(), port }),
            _ => Err("a name and a port, as in tcp.playground.svc:40000".into()),
        }
    }
}

/// A DNS name, with or without a trailing dot.
fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(is_legal)
    };
    text.len() <= 253
        && text.parse::<IpAddr>().is_err()
        && text.strip_suffix('.').unwrap_or(text).split('.').all(is_label)
}

struct Server(SocketAddr);

impl Setting for Server {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| "an IP address and a port, as in 10.96.0.10:53".into())
    }
}

/// `directory=directory.playground.svc:8080,stream=stream.playground.svc:8080`
struct NamedNames(Vec<(String, NamePort)>);

impl Setting for NamedNames {
    fn parse(text: &str) -> Result<Self, String> {
        let mut named: Vec<(String, NamePort)> = Vec::new();
        for entry in text.split(',').map(str::trim) {
            let Some((service, name)) = entry.split_once('=') else {
                return Err(format!("SERVICE=NAME:PORT,… with PROTOCOL=HTTP (not {entry:?})"));
            };
            if named.iter().any(|(known, _)| known == service) {
                return Err(format!("each service once ({service} is there more than once)"));
            }
            named.push((service.to_owned(), NamePort::parse(name)?));
        }
        Ok(Self(named))
    }
}
