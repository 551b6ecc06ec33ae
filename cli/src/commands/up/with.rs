//! `--with PART,PART=ADDRESS…`: real servers in place of embedded parts, as settings of `values.yaml`.

use platform::PartKind;
use serde_json::{Value, json};

/// A part that can be real, and its address if it is already running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct With {
    part: PartKind,
    address: Option<String>,
}

/// The members of the platform's own etcd cannot be chosen individually.
fn choices() -> impl Iterator<Item = PartKind> {
    PartKind::ALL.into_iter().filter(|kind| !PartKind::ETCD_MEMBERS.contains(kind))
}

/// The parts of one `--with`. A word that is not a part continues the address before it: a Kafka has several brokers, an
/// etcd several members, a Cassandra several nodes.
pub(super) fn parse(text: &str) -> Result<Vec<With>, String> {
    let mut parsed: Vec<With> = Vec::new();
    for word in text.split(',') {
        let (name, address) = match word.split_once('=') {
            Some((name, address)) => (name, Some(address)),
            None => (word, None),
        };
        if let Some(part) = choices().find(|kind| kind.name() == name) {
            if address == Some("") {
                return Err(format!("{word:?}: expected an address after the =, or no ="));
            }
            parsed.push(With { part, address: address.map(str::to_owned) });
        } else if let Some(With {
            part: PartKind::Kafka | PartKind::Etcd | PartKind::Cassandra,
            address: Some(addresses),
        }) = parsed.last_mut()
            && !word.is_empty()
            && address.is_none()
        {
            addresses.push(',');
            addresses.push_str(word);
        } else {
            let known: Vec<&str> = choices().map(PartKind::name).collect();
            return Err(format!(
                "{word:?}: expected PART or PART=ADDRESS, PART being one of {}",
                known.join(", ")
            ));
        }
    }
    parsed.iter().try_for_each(With::check)?;
    Ok(parsed)
}

impl With {
    /// Checks an address without connecting to it.
    fn check(&self) -> Result<(), String> {
        let Some(address) = &self.address else { return Ok(()) };
        if address.contains('@') {
            return Err(
                "an address with a user and a password in it: expected them in the service's environment \
                        (logger.env.ELASTICSEARCH_USERNAME and ELASTICSEARCH_PASSWORD), out of process lists"
                    .to_owned(),
            );
        }
        let expected = |what: &str| Err(format!("{address:?}: expected {what}"));
        match self.part {
            PartKind::Kafka | PartKind::Cassandra
                if address.split(',').any(|server| host_and_port(server).is_none()) =>
            {
                expected("host:port, several with commas between them")
            }
            PartKind::Memcached | PartKind::Redis if host_and_port(address).is_none() => {
                expected("host:port")
            }
            PartKind::Etcd
                if address.split(',').any(|member| host_and_port(without_scheme(member)).is_none()) =>
            {
                expected("host:port or http://host:port, several with commas between them")
            }
            PartKind::Elasticsearch | PartKind::Prometheus
                if host_and_port(address).is_none() && !is_url(address) =>
            {
                expected("a URL such as http://127.0.0.1:9200, or host:port")
            }
            _ => Ok(()),
        }
    }

    /// In the form for `--set-json`.
    pub(super) fn settings(&self) -> Vec<String> {
        let mut all = Vec::new();
        let mut set = |key: &str, value: Value| all.push(format!("{key}={value}"));
        let address = self.address.as_deref();
        match self.part {
            PartKind::Kafka => {
                set("kafka.enabled", json!(true));
                set("kafka.real", json!(true));
                set("kafka.brokers", json!(address.unwrap_or_default()));
            }
            PartKind::Memcached => {
                set("memcached.enabled", json!(true));
                set("memcached.real", json!(true));
                let given = address.and_then(host_and_port);
                set("memcached.host", json!(given.map_or("", |(host, _)| host)));
                if let Some((_, port)) = given {
                    set("memcached.port", json!(port));
                }
            }
            PartKind::Elasticsearch => {
                set("elasticsearch.enabled", json!(true));
                set("elasticsearch.real", json!(true));
                set("elasticsearch.url", json!(address.map(as_url).unwrap_or_default()));
                // The logger writes to it.
                set("logger.enabled", json!(true));
            }
            PartKind::Redis => {
                set("redis.enabled", json!(true));
                set("redis.real", json!(true));
                set("redis.address", json!(address.unwrap_or_default()));
            }
            PartKind::Cassandra => {
                set("cassandra.enabled", json!(true));
                set("cassandra.contactPoints", json!(address.unwrap_or_default()));
            }
            PartKind::Etcd | PartKind::Etcd01 | PartKind::Etcd02 | PartKind::Etcd03 => {
                let member = |member: &str| format!("http://{}", without_scheme(member));
                let members = address.map(|all| all.split(',').map(member).collect::<Vec<_>>().join(","));
                set("etcd.enabled", json!(true));
                set("etcd.endpoints", json!(members.unwrap_or_default()));
            }
            PartKind::Prometheus => {
                set("prometheus.enabled", json!(true));
                set("prometheus.url", json!(address.map(as_url).unwrap_or_default()));
            }
        }
        all
    }
}

fn host_and_port(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let host_is_plain = !host.is_empty() && !host.contains(['/', ' ']);
    port.parse().ok().filter(|port| *port > 0 && host_is_plain).map(|port| (host, port))
}

fn without_scheme(address: &str) -> &str {
    address.strip_prefix("http://").unwrap_or(address).trim_end_matches('/')
}

fn is_url(address: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| address.starts_with(scheme))
}

fn as_url(address: &str) -> String {
    if address.contains("://") { address.to_owned() } else { format!("http://{address}") }
}

#[cfg(test)]
mod tests {
    use platform::values::{Values, ValuesSource};

    use super::*;

    fn values(text: &str) -> Values {
        let set_json = parse(text).unwrap().iter().flat_map(With::settings).collect();
        Values::load(&ValuesSource { set_json, ..ValuesSource::default() }).unwrap()
    }

    #[test]
    fn names_alone_ask_for_real_ones() {
        let values = values("kafka,memcached,elasticsearch,prometheus,redis,etcd,cassandra");
        assert!(values.etcd.enabled && values.etcd.endpoints.is_none());
        assert!(values.cassandra.enabled && values.cassandra.contact_points.is_none());
        assert!(values.kafka.real && values.memcached.real && values.elasticsearch.real);
        assert!(values.elasticsearch.enabled && values.prometheus.enabled);
        assert!(values.redis.enabled && values.redis.real && values.redis.address.is_none());
        assert_eq!((&values.kafka.brokers, &values.memcached.host), (&None, &None));
        assert!(values.service("logger").is_some_and(|logger| logger.enabled));
    }

    #[test]
    fn addresses_are_taken_over() {
        let values = values(
            "kafka=a:9092,b:9093,memcached=[::1]:11212,elasticsearch=es:9200,prometheus=http://p,redis=r:6380,\
             etcd=e:1,http://f:2/,cassandra=c:1,d:2",
        );
        assert_eq!(values.etcd.endpoints.as_deref(), Some("http://e:1,http://f:2"));
        assert_eq!(values.cassandra.contact_points.as_deref(), Some("c:1,d:2"));
        assert_eq!(values.redis.address.as_deref(), Some("r:6380"));
        assert_eq!(values.kafka.brokers.as_deref(), Some("a:9092,b:9093"));
        assert_eq!((values.memcached.host.as_deref(), values.memcached.port), (Some("[::1]"), 11212));
        assert_eq!(values.elasticsearch.url.as_deref(), Some("http://es:9200"));
        assert_eq!(values.prometheus.url.as_deref(), Some("http://p"));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            ("kafak", "\"kafak\": expected PART"),
            ("kafka=", "expected an address after"),
            ("kafka=here", "expected host:port"),
            ("kafka=a:1,", "\"\": expected PART"),
            ("memcached=a:0", "expected host:port"),
            ("redis=here", "expected host:port"),
            ("cassandra=here", "expected host:port"),
            ("etcd=here", "expected host:port"),
            ("etcd=https://e:2379", "expected host:port"),
            ("memcached=a:1,b:2", "\"b:2\": expected PART"),
            ("elasticsearch=es", "expected a URL"),
            ("elasticsearch=httpes", "expected a URL"),
            ("", "\"\": expected PART"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_password_on_the_command_line_is_refused() {
        let error = parse("elasticsearch=http://me:secret@there:9200").unwrap_err();
        assert!(error.contains("ELASTICSEARCH_PASSWORD"), "{error}");
    }
}
