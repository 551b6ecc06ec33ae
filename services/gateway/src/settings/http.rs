//! Settings for HTTP only: which paths go to which service, and what keeps a client on its replica.

use std::time::Duration;

use service::settings::{Reader, Setting};

use super::variables as v;

/// More would be a mistake; each service is followed and checked separately.
const ROUTES_MAX: usize = 32;

/// The value of `STICKY_COOKIE` for no stickiness: an empty variable counts as not set.
const NO_COOKIE: &str = "none";

/// See [`variables`](super::variables).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpSettings {
    /// Paths differ.
    pub routes: Vec<Route>,
    /// The cookie that keeps a client on its replica, if any.
    pub cookie: Option<String>,
    pub head_timeout: Duration,
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// `/`, or a path that does not end with `/`.
    pub path: String,
    pub service: String,
}

impl HttpSettings {
    pub(super) fn read(reader: &mut Reader<'_>, is_used: bool) -> Self {
        let routes: Option<Routes> = reader.optional(&v::ROUTES);
        if is_used && !reader.is_set(&v::ROUTES) {
            reader.refuse(
                &v::ROUTES,
                "",
                "PATH=SERVICE,… as in /main=directory,/=stream, with PROTOCOL=HTTP",
            );
        }
        let Cookie(cookie) = reader.get(&v::STICKY_COOKIE);
        let routes = routes.map(|Routes(routes)| routes).unwrap_or_default();
        Self { routes, cookie, head_timeout: super::positive(reader, &v::HEAD_TIMEOUT) }
    }

    /// The services behind the routes, each once.
    pub(super) fn services(&self) -> Vec<String> {
        let mut services: Vec<String> = self.routes.iter().map(|route| route.service.clone()).collect();
        services.sort();
        services.dedup();
        services
    }
}

struct Routes(Vec<Route>);

impl Setting for Routes {
    fn parse(text: &str) -> Result<Self, String> {
        let mut routes: Vec<Route> = Vec::new();
        for entry in text.split(',').map(str::trim) {
            let route = entry.rsplit_once('=').filter(|(path, service)| is_path(path) && is_service(service));
            let Some((path, service)) = route else {
                return Err(format!(
                    "PATH=SERVICE,… as in /main=directory,/=stream, where a path is / or ends without it (not {entry:?})"
                ));
            };
            if routes.iter().any(|route| route.path == path) {
                return Err(format!("each path once ({path} is there more than once)"));
            }
            routes.push(Route { path: path.to_owned(), service: service.to_owned() });
        }
        if routes.len() > ROUTES_MAX {
            return Err(format!("at most {ROUTES_MAX} routes"));
        }
        Ok(Self(routes))
    }
}

/// A path as clients send it: characters not allowed in one would never match.
fn is_path(text: &str) -> bool {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+;:@%".contains(&byte);
    text == "/"
        || text.starts_with('/')
            && text.bytes().all(is_legal)
            && text[1..].split('/').all(|part| !part.is_empty())
}

fn is_service(text: &str) -> bool {
    let is_legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(is_legal)
}

struct Cookie(Option<String>);

impl Setting for Cookie {
    fn parse(text: &str) -> Result<Self, String> {
        let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        match text {
            NO_COOKIE => Ok(Self(None)),
            _ if text.len() <= 64 && text.bytes().all(is_legal) => Ok(Self(Some(text.to_owned()))),
            _ => Err(format!("a cookie's name of letters, digits, -, _ and ., or {NO_COOKIE}")),
        }
    }
}
