//! Whether the API server is reached through a proxy, and through which, as kubectl decides it (client-go's
//! `clientcmd`, and `ProxyFromEnvironment` of Go's `net/http`): the kubeconfig's `proxy-url`, and otherwise `HTTPS_PROXY`
//! or, for a server with `http://`, `HTTP_PROXY`, unless the server is this machine or in `NO_PROXY`.
//!
//! kube's own way compares `NO_PROXY` with the proxy instead of the server, sends proxied what is for this machine, and
//! refuses lists with an empty entry; so it is given none of these.

mod tunnel;

use std::{env, fmt, net::IpAddr};

use http::Uri;

pub(crate) use tunnel::{Failed, Through};

/// The variables that matter, as they stand in the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Variables {
    https: Option<Variable>,
    http: Option<Variable>,
    none: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Variable {
    name: &'static str,
    value: String,
}

impl Variables {
    pub(crate) fn present() -> Self {
        Self::of(|name| Some(env::var_os(name)?.to_string_lossy().into_owned()))
    }

    /// An empty one counts as none, and capitals come first.
    pub(crate) fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: [&'static str; 2]| {
            names.into_iter().find_map(|name| {
                variable(name).filter(|value| !value.is_empty()).map(|value| Variable { name, value })
            })
        };
        Self {
            https: first(["HTTPS_PROXY", "https_proxy"]),
            http: first(["HTTP_PROXY", "http_proxy"]),
            none: first(["NO_PROXY", "no_proxy"]).map(|one| one.value).unwrap_or_default(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `CONNECT`, over TLS or not.
    Http {
        tls: bool,
    },
    Socks,
}

/// A proxy on the way to the API server.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    kind: Kind,
    /// With a port, and without a user.
    address: Uri,
    user: Option<(String, String)>,
    /// Where it is set.
    from: &'static str,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            Kind::Http { tls: false } => "http",
            Kind::Http { tls: true } => "https",
            Kind::Socks => "socks5",
        };
        let authority = self.address.authority().map_or("", |authority| authority.as_str());
        write!(f, "{scheme}://{authority} of {}", self.from)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Proxy {
    /// Whether it is reached by TLS.
    pub(crate) fn has_tls(&self) -> bool {
        self.kind == Kind::Http { tls: true }
    }

    /// `from` is at fault if it is no address; what it holds is not repeated, since that may be a password.
    fn parse(text: &str, from: &'static str, schemes: &[&str]) -> Result<Self, String> {
        let expected = || {
            let schemes: Vec<String> = schemes.iter().map(|scheme| format!("{scheme}://")).collect();
            format!("{from} is not the address of a proxy; expected {}HOST:PORT", schemes.join(" or "))
        };
        let whole = |uri: &Uri| uri.scheme().is_some() && uri.host().is_some_and(|host| !host.is_empty());
        let uri: Uri = text.parse().ok().filter(whole).ok_or_else(expected)?;
        let scheme = uri.scheme_str().unwrap_or_default();
        if !schemes.contains(&scheme) {
            return Err(expected());
        }
        let (kind, port, carrier) = match scheme {
            "https" => (Kind::Http { tls: true }, 443, "https"),
            "http" => (Kind::Http { tls: false }, 80, "http"),
            _ => (Kind::Socks, 1080, "http"),
        };
        let port = uri.port_u16().unwrap_or(port);
        let address = format!("{carrier}://{}:{port}", uri.host().unwrap_or_default());
        let user = uri.authority().and_then(|authority| authority.as_str().rsplit_once('@'));
        let user = user.map(|(user, _)| {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            (decoded(name), decoded(password))
        });
        Ok(Self { kind, address: address.parse().map_err(|_| expected())?, user, from })
    }
}

/// The proxy to reach `server` through; `configured` is the kubeconfig's `proxy-url`.
pub(crate) fn proxy(
    configured: Option<&str>,
    server: &Uri,
    variables: &Variables,
) -> Result<Option<Proxy>, String> {
    if let Some(configured) = configured {
        return Proxy::parse(configured, "proxy-url", &["http", "https", "socks5"]).map(Some);
    }
    let is_https = server.scheme_str() == Some("https");
    let Some(variable) = (if is_https { &variables.https } else { &variables.http }) else {
        return Ok(None);
    };
    let port = server.port_u16().unwrap_or(if is_https { 443 } else { 80 });
    if is_exempt(host(server), port, &variables.none) {
        return Ok(None);
    }
    let text = &variable.value;
    let text = if text.contains("://") { text.clone() } else { format!("http://{text}") };
    Proxy::parse(&text, variable.name, &["http", "https", "socks5", "socks5h"]).map(Some)
}

/// The host of an address; an IPv6 one without its brackets.
fn host(address: &Uri) -> &str {
    let host = address.host().unwrap_or_default();
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Whether a proxy of the environment is not for this server: it is this machine, or in the list `NO_PROXY`, whose entries
/// are read as Go does. What is no entry is passed over.
fn is_exempt(host: &str, port: u16, list: &str) -> bool {
    let ip = host.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
    if host == "localhost" || ip.is_some_and(|ip| ip.is_loopback()) {
        return true;
    }
    let host = host.to_ascii_lowercase();
    list.split(',').map(|entry| entry.trim().to_ascii_lowercase()).any(|entry| {
        if entry == "*" {
            return true;
        }
        if let Some((network, bits)) = network(&entry) {
            return ip.is_some_and(|ip| is_in(ip, network, bits));
        }
        let (name, its_port) = with_port(&entry);
        if its_port.is_some_and(|its| its != port.to_string()) {
            return false;
        }
        match (name.parse::<IpAddr>(), ip) {
            (Ok(name), Some(ip)) => name.to_canonical() == ip,
            (Ok(_), None) | (Err(_), Some(_)) => false,
            (Err(_), None) => {
                let name = name.strip_prefix('*').filter(|name| name.starts_with('.')).unwrap_or(name);
                let bare = name.strip_prefix('.');
                let parent = bare.unwrap_or(name);
                let is_below = host.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'));
                !parent.is_empty() && (is_below || bare.is_none() && host == name)
            }
        }
    })
}

/// `10.0.0.0/8` or `fd00::/8`.
fn network(entry: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = entry.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let bits: u8 = bits.parse().ok()?;
    (bits <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, bits))
}

fn is_in(ip: IpAddr, network: IpAddr, bits: u8) -> bool {
    let same = |one: u128, other: u128, width: u8| {
        let shift = u32::from(width - bits);
        one.checked_shr(shift).unwrap_or(0) == other.checked_shr(shift).unwrap_or(0)
    };
    match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => same(ip.to_bits().into(), network.to_bits().into(), 32),
        (IpAddr::V6(ip), IpAddr::V6(network)) => same(ip.to_bits(), network.to_bits(), 128),
        _ => false,
    }
}

/// The name and port of an entry such as `corp.example:6443`, `[fd00::1]:6443`, or `fd00::1`, which has no port.
fn with_port(entry: &str) -> (&str, Option<&str>) {
    if let Some((name, port)) = entry.strip_prefix('[').and_then(|rest| rest.split_once("]:")) {
        return (name, Some(port).filter(|port| !port.is_empty()));
    }
    match entry.split_once(':') {
        Some((name, port)) if !port.contains(':') => (name, Some(port).filter(|port| !port.is_empty())),
        _ => (entry, None),
    }
}

/// Without percent encoding; what is none stays.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
        if let (b'%', [high, low, after @ ..]) = (first, after)
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            bytes.push(high << 4 | low);
            rest = after;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        Variables::of(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    fn chosen(configured: Option<&str>, server: &str, pairs: &[(&str, &str)]) -> String {
        match proxy(configured, &server.parse().unwrap(), &variables(pairs)) {
            Ok(Some(proxy)) => proxy.to_string(),
            Ok(None) => "none".to_owned(),
            Err(why) => why,
        }
    }

    #[test]
    fn the_kubeconfig_comes_first_and_the_server_chooses_the_variable() {
        let all = [("HTTPS_PROXY", "http://one:1"), ("http_proxy", "http://two:2"), ("NO_PROXY", "*")];
        let of = |configured, server, pairs: &[(&str, &str)]| chosen(configured, server, pairs);
        assert_eq!(of(Some("http://own:3"), "https://127.0.0.1:6443", &all), "http://own:3 of proxy-url");
        assert_eq!(of(None, "https://api.test", &all[..2]), "http://one:1 of HTTPS_PROXY");
        assert_eq!(of(None, "http://api.test", &all[..2]), "http://two:2 of http_proxy");
        assert_eq!(of(None, "http://api.test", &all[..1]), "none");
        assert_eq!(of(None, "https://api.test", &all), "none");
        let lower = [("HTTPS_PROXY", ""), ("https_proxy", "http://low:1")];
        assert_eq!(of(None, "https://api.test", &lower), "http://low:1 of https_proxy");
    }

    #[test]
    fn an_address_may_leave_out_what_go_adds() {
        for (text, shown) in [
            ("proxy", "http://proxy:80 of HTTPS_PROXY"),
            ("proxy:3128", "http://proxy:3128 of HTTPS_PROXY"),
            ("me:HUNTER2@proxy:3128", "http://proxy:3128 of HTTPS_PROXY"),
            ("http://proxy/", "http://proxy:80 of HTTPS_PROXY"),
            ("https://proxy", "https://proxy:443 of HTTPS_PROXY"),
            ("socks5://[fd00::1]", "socks5://[fd00::1]:1080 of HTTPS_PROXY"),
            ("socks5h://proxy", "socks5://proxy:1080 of HTTPS_PROXY"),
        ] {
            assert_eq!(chosen(None, "https://api.test", &[("HTTPS_PROXY", text)]), shown, "{text}");
        }
        for text in ["ftp://me:HUNTER2@proxy", "http://", "http://me:HUNTER2@", "a b", "\u{1}"] {
            for said in
                [chosen(None, "https://a", &[("HTTPS_PROXY", text)]), chosen(Some(text), "https://a", &[])]
            {
                assert!(said.contains("is not the address of a proxy; expected http://"), "{text}: {said}");
                assert!(!said.contains("HUNTER2"), "{said}");
            }
        }
        // As kubectl has it.
        for text in ["socks5h://proxy", "proxy:3128", "proxy"] {
            assert!(chosen(Some(text), "https://a", &[]).contains("not the address"), "{text}");
        }
    }

    #[test]
    fn the_password_is_decoded_and_not_shown() {
        let proxy = Proxy::parse("http://me%40corp:HUNTER2%3a%zz%4@proxy:1", "proxy-url", &["http"]).unwrap();
        assert_eq!(proxy.user, Some(("me@corp".to_owned(), "HUNTER2:%zz%4".to_owned())));
        assert!(!format!("{proxy} {proxy:?}").contains("HUNTER2"));
    }

    /// Each is what Go's `httpproxy` answers (1.26: `ProxyFunc` for `http://HOST`).
    #[test]
    fn no_proxy_is_read_as_go_reads_it() {
        let go = "foobar.com, .barbaz.net, *.wildcard.io, 192.168.1.1, 192.168.1.2:81, 192.168.1.3:80, 10.0.0.0/30, \
                  2001:db8::52:0:1, [2001:db8::52:0:2]:443, [2001:db8::52:0:3]:80, 2002:db8:a::45/64";
        for (host, exempt) in [
            ("localhost", true),
            ("127.0.0.1", true),
            ("127.0.0.2", true),
            ("::1", true),
            ("192.168.1.1", true),
            ("192.168.1.2", false),
            ("192.168.1.3", true),
            ("192.168.1.4", false),
            ("10.0.0.2", true),
            ("10.0.0.4", false),
            ("2001:db8::52:0:1", true),
            ("2001:db8::52:0:2", false),
            ("2001:db8::52:0:3", true),
            ("2002:db8:a::123", true),
            ("fe80::424b:c8be:1643:a1b6", false),
            ("barbaz.net", false),
            ("www.barbaz.net", true),
            ("foobar.com", true),
            ("FOOBAR.com", true),
            ("www.foobar.com", true),
            ("foofoobar.com", false),
            ("baz.com", false),
            ("localhost.net", false),
            ("local.localhost", false),
            ("barbarbaz.net", false),
            ("wildcard.io", false),
            ("nested.wildcard.io", true),
            ("awildcard.io", false),
        ] {
            assert_eq!(is_exempt(host, 80, go), exempt, "{host}");
        }
        for (list, host, exempt) in [
            ("", "api.test", false),
            (",, ,", "api.test", false),
            ("localhost,127.0.0.1,", "10.0.0.1", false),
            ("*", "api.test", true),
            ("a,*", "10.0.0.1", true),
            ("test:80", "api.test", true),
            ("test:443", "api.test", false),
            ("test:", "api.test", true),
            (":80", "api.test", false),
            ("::ffff:10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1/33", "10.0.0.1", false),
            ("0.0.0.0/0", "10.0.0.1", true),
            ("0.0.0.0/0", "fd00::1", false),
            ("::/0", "fd00::1", true),
            ("10.0.0.0/8", "10.test", false),
            ("0.1", "10.0.0.1", false),
            (".", "api.test", false),
            ("::/0", "10.0.0.1", false),
            ("[fd00::1]", "fd00::1", false),
            ("[10.0.0.1]:80", "10.0.0.1", true),
            ("*test", "api.test", false),
            ("*.", "api.test", false),
            ("..test", "api.test", false),
            (".test:80", "api.test", true),
            ("test.", "api.test", false),
            ("test", "api.test.", false),
            ("api.test.", "api.test.", true),
        ] {
            assert_eq!(is_exempt(host, 80, list), exempt, "{list} {host}");
        }
    }
}
