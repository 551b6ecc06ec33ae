//! Handles a request: its service, its replica, and the replica's answer.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::header::{HOST, HeaderValue, TRANSFER_ENCODING};
use hyper::http::request;
use hyper::http::uri::Authority;
use hyper::upgrade::OnUpgrade;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

use super::answer_body::{Answer, Exchange};
use super::client::Link;
use super::cookies;
use super::headers::{self, Upgrade};
use super::problem::Problem;
use super::replicas::{IDLE_TIME, Replicas, Sender, Session};
use super::request_body::Asked;
use super::routes::Routes;
use super::tunnel::Tunnel;
use crate::cluster::backend::Backend;
use crate::cluster::{Cluster, Clusters};
use crate::router::Router;
use crate::settings::Settings;
use crate::shortages::Shortage;
use crate::stats::Stats;
use crate::upstream;

/// State shared by all requests.
#[derive(Debug)]
pub(super) struct Entrance {
    routes: Routes,
    services: Vec<Service>,
    cookie: Option<String>,
    replicas: Arc<Replicas>,
    stats: Arc<Stats>,
    tunnels: TaskTracker,
    tunnel_timeout: Option<Duration>,
}

#[derive(Debug)]
struct Service {
    name: String,
    cluster: Arc<Cluster>,
    router: Mutex<Router>,
}

/// A replica that has answered.
struct Answered {
    session: Session,
    sender: Sender,
    response: Response<Incoming>,
}

impl Entrance {
    pub(super) fn new(
        settings: &Settings,
        clusters: &Clusters,
        stats: &Arc<Stats>,
        tunnels: TaskTracker,
    ) -> Self {
        let names: Vec<&str> = settings.services.iter().map(|service| service.name.as_str()).collect();
        let service = |(name, cluster): (&&str, &Arc<Cluster>)| {
            let most = settings.circuit_max.get() as u64;
            Service {
                name: (*name).to_owned(),
                cluster: Arc::clone(cluster),
                router: Mutex::new(Router::new(Arc::clone(cluster), settings.policy, most)),
            }
        };
        Self {
            routes: Routes::new(&settings.http.routes, &names),
            services: names.iter().zip(&clusters.0).map(service).collect(),
            cookie: settings.http.cookie.clone(),
            replicas: Arc::new(Replicas::new(settings)),
            stats: Arc::clone(stats),
            tunnels,
            tunnel_timeout: settings.tunnel_timeout,
        }
    }

    /// Closes connections to replicas that have not been used for a while, forever.
    pub(super) async fn close_idle(&self) {
        loop {
            tokio::time::sleep(IDLE_TIME / 2).await;
            self.replicas.expire(clock::now());
        }
    }

    /// Answers a request that came over `link`.
    pub(super) async fn answer(&self, request: Request<Incoming>, link: Arc<Link>) -> Response<Answer> {
        self.stats.http.requests.increment();
        link.asked();
        let response = self.pass(request, link).await.unwrap_or_else(Problem::into_response);
        self.stats.http.answered(response.status().as_u16());
        response
    }

    async fn pass(
        &self,
        mut request: Request<Incoming>,
        link: Arc<Link>,
    ) -> Result<Response<Answer>, Problem> {
        check(&request)?;
        let target =
            request.uri().path_and_query().ok_or(Problem::Bad("the request's target is not a path"))?;
        let (service, target) = self.routes.find(target).ok_or(Problem::NoRoute)?;
        let keys = self.cookie.as_ref().map_or_else(Vec::new, |name| cookies::keys(request.headers(), name));
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();

        let upgrade = Upgrade::of(request.version(), request.headers());
        let upgraded = (upgrade == Upgrade::WebSocket).then(|| hyper::upgrade::on(&mut request));
        let (mut head, body) = request.into_parts();
        take_host_of_target(&mut head);
        head.uri = Uri::from(target);
        head.version = Version::HTTP_11;
        headers::to_replica(&mut head.headers, link.peer.ip(), upgrade);
        if let Some(name) = &self.cookie {
            cookies::remove(&mut head.headers, name);
        }

        let Answered { session, sender, mut response } =
            self.ask(service, head, body, upgrade, &keys).await?;
        if !is_chunked_or_plain(response.headers()) {
            self.stats.http.unanswered.increment();
            return Err(Problem::AnswerEncoding { service: self.services[service].name.clone() });
        }
        let own = hyper::upgrade::on(&mut response);
        let (mut head, body) = response.into_parts();
        if let (Some(name), false) = (&self.cookie, keys.contains(&session.backend().key.as_str())) {
            let mut all = self.keys_of_others(service, &keys);
            all.push(session.backend().key.as_str());
            cookies::set(&mut head.headers, name, &all);
        }
        if head.status != StatusCode::SWITCHING_PROTOCOLS {
            headers::to_client(&mut head.headers, Upgrade::None);
            head.version = Version::HTTP_11;
            let (replicas, stats) = (Arc::clone(&self.replicas), Arc::clone(&self.stats));
            let body = Answer::passed(body, Exchange { session, sender, replicas, link, stats });
            return Ok(Response::from_parts(head, body));
        }
        let Some(client) = upgraded else {
            return Err(self.unanswered(service));
        };
        headers::to_client(&mut head.headers, upgrade);
        self.begin_tunnel(client, own, session, link);
        Ok(Response::from_parts(head, Answer::none()))
    }

    /// Sends a request to a replica, and to another one if that could not be reached.
    async fn ask(
        &self,
        service: usize,
        head: request::Parts,
        body: Incoming,
        upgrade: Upgrade,
        keys: &[&str],
    ) -> Result<Answered, Problem> {
        let service_index = service;
        let service = &self.services[service];
        let mut may_reuse = may_be_repeated(&head.method) && body.is_end_stream() && upgrade == Upgrade::None;
        let mut request = Request::from_parts(head, Asked::new(body));
        let mut failed: Option<(Arc<Backend>, Shortage, String)> = None;
        loop {
            let session = self.choose(service, keys, failed.as_ref())?;
            let address = session.backend().address;
            let waiting = if may_reuse { self.replicas.waiting(address) } else { None };
            let spare = waiting.is_some().then(|| head_of(&request));
            let mut sender = match waiting {
                Some(sender) => sender,
                None => match self.replicas.connect(address).await {
                    Ok(sender) => sender,
                    Err(error) => {
                        let shortage = upstream::shortage(&error);
                        let cause = format!("connect to {} at {address}: {error}", session.backend().name);
                        tracing::debug!("{cause}");
                        let backend = session.failed(&service.cluster, shortage);
                        if failed.is_some() {
                            return Err(self.refused(service, shortage, &cause));
                        }
                        failed = Some((backend, shortage, cause));
                        continue;
                    }
                },
            };
            session.backend().connect_succeeded();
            request.body_mut().goes_to(session.backend());
            let broken = request.body().broken();
            match (sender.try_send_request(request).await, spare) {
                (Ok(response), _) => return Ok(Answered { session, sender, response }),
                // The replica had closed that connection, or just did.
                (Err(_), Some(spare)) => {
                    may_reuse = false;
                    request = spare;
                }
                (Err(error), None) => {
                    let error = error.into_error();
                    tracing::debug!(%error, backend = session.backend().name, "a request got no answer");
                    if broken.load(Ordering::Relaxed) {
                        return Err(Problem::Bad("the request's body cannot be read, or broke off"));
                    }
                    return Err(self.unanswered(service_index));
                }
            }
        }
    }

    /// A replica for a request; after a failed connect, another one.
    fn choose(
        &self,
        service: &Service,
        keys: &[&str],
        failed: Option<&(Arc<Backend>, Shortage, String)>,
    ) -> Result<Session, Problem> {
        let mut router = service.router.lock();
        let known = if failed.is_none() { router.choose_known(keys) } else { None };
        let chosen = match known {
            Some(backend) => Ok(backend),
            None => router.choose(failed.map(|(backend, ..)| backend)),
        };
        drop(router);
        match (chosen, failed) {
            (Ok(backend), None) => Ok(Session::of(backend)),
            (Ok(backend), Some(_)) => {
                self.stats.retried.increment();
                Ok(Session::of(backend))
            }
            (Err(Shortage::ConnectFailed), Some((_, shortage, cause))) => {
                Err(self.refused(service, *shortage, cause))
            }
            (Err(shortage), _) => Err(self.refused(service, shortage, "")),
        }
    }

    fn refused(&self, service: &Service, shortage: Shortage, cause: &str) -> Problem {
        let cause = if cause.is_empty() { service.name.as_str() } else { cause };
        self.stats.shortages.refused(shortage, cause, clock::now());
        Problem::Shortage { service: service.name.clone(), shortage }
    }

    fn unanswered(&self, service: usize) -> Problem {
        self.stats.http.unanswered.increment();
        Problem::NoAnswer { service: self.services[service].name.clone() }
    }

    /// The keys of a client's replicas of other services, one each.
    fn keys_of_others<'a>(&self, service: usize, keys: &[&'a str]) -> Vec<&'a str> {
        let others = self.services.iter().enumerate().filter(|(index, _)| *index != service);
        let known = others.filter_map(|(_, other)| {
            let mut router = other.router.lock();
            keys.iter().find(|key| router.knows(key)).copied()
        });
        known.collect()
    }

    fn begin_tunnel(&self, client: OnUpgrade, replica: OnUpgrade, session: Session, link: Arc<Link>) {
        let (stats, timeout) = (Arc::clone(&self.stats), self.tunnel_timeout);
        let tunnel = Tunnel { client, replica, session, link, stats, timeout };
        self.tunnels.spawn(tunnel.carry());
    }
}

/// Rejects anything that could mean one thing here and another at a replica.
fn check<B>(request: &Request<B>) -> Result<(), Problem> {
    if request.method() == Method::CONNECT {
        return Err(Problem::Bad("CONNECT is for forward proxies, and this is not one"));
    }
    if request.uri().authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(Problem::Bad("the request's target has a user"));
    }
    let headers = request.headers();
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next(), request.version()) {
        (Some(host), None, _) if is_host(host) => {}
        (Some(_), None, _) => return Err(Problem::Bad("the request's Host is not a host and a port")),
        (None, _, Version::HTTP_10) => {}
        (None, ..) => return Err(Problem::Bad("the request has no Host")),
        (Some(_), Some(_), _) => return Err(Problem::Bad("the request has more than one Host")),
    }
    if is_chunked_or_plain(headers) { Ok(()) } else { Err(Problem::Encoding) }
}

/// Empty, or a host and perhaps a port (RFC 9112, 3.2): anything else must be rejected.
fn is_host(value: &HeaderValue) -> bool {
    let is_authority =
        || Authority::try_from(value.as_bytes()).is_ok_and(|authority| !authority.as_str().contains('@'));
    value.is_empty() || is_authority()
}

fn is_chunked_or_plain(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    match (encodings.next(), encodings.next()) {
        (None, _) => true,
        (Some(only), None) => only.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}

/// A target with a host (`GET http://host/path`) overrules the header (RFC 9112, 3.2.2).
fn take_host_of_target(head: &mut request::Parts) {
    let host = head.uri.authority().map(|authority| HeaderValue::from_str(authority.as_str()));
    if let Some(Ok(host)) = host {
        head.headers.insert(HOST, host);
    }
}

/// Whether a request may be sent a second time although the first may have arrived (RFC 9110, 9.2.2).
fn may_be_repeated(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE].contains(method)
}

/// The same request again; it has no body.
fn head_of(request: &Request<Asked>) -> Request<Asked> {
    let mut copy = Request::new(Asked::none());
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    copy
}
