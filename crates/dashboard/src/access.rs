//! Decides which requests may read and which may act.
//!
//! The same browser may have pages of other sites open. CORS keeps them from reading what is served here, and they must
//! not act either. A host name of theirs that resolves to this machine (DNS rebinding) is refused by the `Host` header;
//! a request from a page of another origin is refused by `Origin` and `Sec-Fetch-Site`; and an action needs a token in
//! its own header, which, unlike a cookie, a browser never attaches by itself.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::http::{HeaderMap, Method, header};
use ring::digest::{SHA256, digest};

/// The header with the token, which shows that the page was opened by its full address.
pub(crate) const TOKEN: &str = "x-playctl-token";

const LOCALHOST: &str = "localhost";

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Host,
    Origin,
    NoToken,
    Token,
    ReadOnly,
}

impl Refused {
    /// `here`: where the page is served; `printed_by`: the command that printed its address with the token.
    pub(crate) fn words(self, here: SocketAddr, printed_by: &str) -> String {
        match self {
            Self::Host => format!("expected a request to {here} or localhost:{}", here.port()),
            Self::Origin => "expected a request from this page, not from another site".to_owned(),
            Self::Token => format!(
                "the token belongs to another platform, or to one that is gone; open the full address that {printed_by} \
                 prints"
            ),
            Self::NoToken => format!(
                "this page was opened without the token, so it is read-only; open the full address that {printed_by} \
                 prints, including the part after #"
            ),
            Self::ReadOnly => {
                "this page is read-only: it is served with --read-only, or shows a recorded run".to_owned()
            }
        }
    }
}

/// Whether a request may be answered at all.
pub(crate) fn reads(
    here: SocketAddr,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
) -> Result<(), Refused> {
    if !is_here(here, text(headers, header::HOST.as_str())) {
        return Err(Refused::Host);
    }
    // A link may lead here; everything else is asked for by the page.
    let is_opened = method == Method::GET && path == "/";
    match text(headers, "sec-fetch-site") {
        "" | "same-origin" | "none" => Ok(()),
        _ if is_opened => Ok(()),
        _ => Err(Refused::Origin),
    }
}

/// Whether a request that may be answered may act. `token` is the one it needs; `None`: nobody may act.
pub(crate) fn acts(headers: &HeaderMap, token: Option<&str>) -> Result<(), Refused> {
    let token = token.ok_or(Refused::ReadOnly)?;
    let origin = text(headers, header::ORIGIN.as_str());
    if origin.strip_prefix("http://") != Some(text(headers, header::HOST.as_str())) {
        return Err(Refused::Origin);
    }
    if text(headers, TOKEN).is_empty() {
        return Err(Refused::NoToken);
    }
    // Digests are compared, so that the time taken reveals nothing about the token.
    let digest = |text: &str| digest(&SHA256, text.as_bytes());
    if digest(text(headers, TOKEN)).as_ref() == digest(token).as_ref() { Ok(()) } else { Err(Refused::Token) }
}

/// Empty if the header is missing, repeated or not text.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (Some(only), None) => only.to_str().unwrap_or("?"),
        (None, _) => "",
        _ => "?",
    }
}

/// Whether no page of another site can have this host name: `localhost`, a loopback address, or the address that is
/// served, as browsers write them. The port may be a tunnel's.
fn is_here(here: SocketAddr, host: &str) -> bool {
    let is_local = |ip: IpAddr| ip == here.ip() || ip.is_loopback();
    if let Ok(address) = host.parse::<SocketAddr>() {
        return is_local(address.ip()) && address.to_string() == host;
    }
    // Browsers leave out HTTP's default port.
    if host == LOCALHOST || host.parse::<Ipv4Addr>().is_ok_and(|ip| is_local(ip.into())) || host == "[::1]" {
        return true;
    }
    let port = host.strip_prefix(LOCALHOST).and_then(|rest| rest.strip_prefix(':'));
    port.is_some_and(|text| text.parse::<u16>().is_ok_and(|port| port.to_string() == text))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(all: &[(&str, &str)]) -> HeaderMap {
        let parsed = |(name, value): &(&str, &str)| {
            (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap())
        };
        let mut headers = HeaderMap::new();
        for (name, value) in all.iter().map(parsed) {
            headers.append(name, value);
        }
        headers
    }

    fn here() -> SocketAddr {
        "127.1.0.2:8490".parse().unwrap()
    }

    #[test]
    fn only_names_of_this_machine_are_answered() {
        for host in [
            "127.1.0.2:8490",
            "localhost:8490",
            "localhost",
            "127.1.0.2",
            "[::1]",
            // Through a tunnel.
            "localhost:9000",
            "127.0.0.1:9000",
            "[::1]:9000",
        ] {
            assert!(is_here(here(), host), "{host}");
        }
        for host in [
            "",
            ":8490",
            "localhost:08490",
            "127.1.0.2:08490",
            "localhost:65536",
            "localhost:8490:8490",
            "localhost:",
            " localhost:8490",
            "localhost.:8490",
            "user@localhost:8490",
            "10.0.0.1:8490",
            "127.1.2:8490",
            "::1",
            "[::ffff:127.1.0.2]:8490",
            "evil.example:8490",
            "localhost.evil.example:8490",
            "127.1.0.2.evil.example:8490",
        ] {
            assert!(!is_here(here(), host), "{host}");
        }
        assert!(is_here("10.0.0.1:9".parse().unwrap(), "10.0.0.1:9"));
        let twice = headers(&[("host", "localhost:8490"), ("host", "evil.example")]);
        assert_eq!(reads(here(), &Method::GET, "/", &twice), Err(Refused::Host));
    }

    #[test]
    fn requests_of_other_sites_are_refused_but_links_work() {
        for site in ["cross-site", "same-site", "anything"] {
            let asked = headers(&[("host", "localhost:8490"), ("sec-fetch-site", site)]);
            assert_eq!(reads(here(), &Method::GET, "/", &asked), Ok(()));
            for (method, path) in [(Method::GET, "/run.json"), (Method::GET, "/users"), (Method::POST, "/")] {
                assert_eq!(
                    reads(here(), &method, path, &asked),
                    Err(Refused::Origin),
                    "{method} {path} {site}"
                );
            }
        }
        for site in ["same-origin", "none"] {
            let asked = headers(&[("host", "localhost:8490"), ("sec-fetch-site", site)]);
            assert_eq!(reads(here(), &Method::POST, "/act", &asked), Ok(()));
        }
    }

    #[test]
    fn acting_requires_the_pages_origin_and_the_token_exactly_once_each() {
        let (host, origin, token) =
            (("host", "localhost:1"), ("origin", "http://localhost:1"), (TOKEN, "secret"));
        assert_eq!(acts(&headers(&[host, origin, token]), Some("secret")), Ok(()));
        assert_eq!(acts(&headers(&[host, origin, token]), None), Err(Refused::ReadOnly));
        for origin in ["http://localhost:2", "https://localhost:1", "http://evil.example", "null", ""] {
            let asked = headers(&[host, ("origin", origin), token]);
            assert_eq!(acts(&asked, Some("secret")), Err(Refused::Origin), "{origin}");
        }
        assert_eq!(acts(&headers(&[host, token]), Some("secret")), Err(Refused::Origin));
        assert_eq!(acts(&headers(&[host, origin, origin, token]), Some("secret")), Err(Refused::Origin));
        for wrong in ["secre", "secrets", "Secret"] {
            assert_eq!(acts(&headers(&[host, origin, (TOKEN, wrong)]), Some("secret")), Err(Refused::Token));
        }
        for none in [headers(&[host, origin]), headers(&[host, origin, (TOKEN, "")])] {
            assert_eq!(acts(&none, Some("secret")), Err(Refused::NoToken));
        }
        assert_eq!(acts(&headers(&[host, origin, token, token]), Some("secret")), Err(Refused::Token));
    }
}
