//! The client of `profiles`.

use std::fmt::Display;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use service::Readiness;
use service::http::Origin;
use service::readiness::State;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::{info, warn};
use uuid::Uuid;

use crate::elements::Elements;
use crate::metrics::Metrics;

/// The part that `/readyz` reports as degraded while `profiles` is away.
pub(crate) const PART: &str = "profiles";
/// Maximum number of concurrent calls, and of lists per [`Reader`]; the rest wait for their turn.
const CALLS_AT_A_TIME: usize = 64;
const LISTS_AT_A_TIME: usize = 16;
/// How long a call may wait for its turn, and for a connection.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum number of idle connections to keep. If their servers are gone, so are they.
const IDLE_CONNECTIONS: usize = 16;
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often to check that `profiles` is reachable, and to retry until its first answer.
const CHECK_EVERY: Duration = Duration::from_secs(2);
const FIRST_CHECK_EVERY: Duration = Duration::from_millis(100);
/// Maximum length of any answer except a list.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct User {
    pub(crate) id: Uuid,
    pub(crate) name: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Profile {
    pub(crate) id: Uuid,
    pub(crate) users: Vec<Uuid>,
}

/// Who reads a list, and hence how long it takes: clients may be slow, and must not hold up quick readers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reader {
    Client,
    Directory,
}

/// Why a call failed.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Away(String),
    #[error("profiles refused: {0}")]
    Refused(String),
}

#[derive(Debug)]
pub(crate) struct Profiles {
    client: Client,
    url: Origin,
    calls: Arc<Semaphore>,
    /// In the order of [`Reader`].
    lists: [Arc<Semaphore>; 2],
    metrics: Arc<Metrics>,
    readiness: Readiness,
}

impl Profiles {
    /// `timeout`: how long an answer, or the next piece of one, may take.
    ///
    /// # Errors
    /// The client cannot be created.
    pub(crate) fn new(
        url: Origin,
        timeout: Duration,
        metrics: Arc<Metrics>,
        readiness: Readiness,
    ) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(timeout)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build()?;
        Ok(Self {
            client,
            url,
            calls: Arc::new(Semaphore::new(CALLS_AT_A_TIME)),
            lists: [(); 2].map(|()| Arc::new(Semaphore::new(LISTS_AT_A_TIME))),
            metrics,
            readiness,
        })
    }

    /// Checks forever whether `profiles` is reachable. Notifies `answered` the first time it is.
    pub(crate) async fn watch(&self, answered: oneshot::Sender<()>) {
        let mut answered = Some(answered);
        loop {
            // `check` notes a failure.
            if self.check().await.is_ok()
                && let Some(answered) = answered.take()
            {
                // The receiver may be gone.
                let _ = answered.send(());
            }
            let is_first = answered.is_some();
            tokio::time::sleep(if is_first { FIRST_CHECK_EVERY } else { CHECK_EVERY }).await;
        }
    }

    /// Checks that `profiles` answers.
    pub(crate) async fn check(&self) -> Result<(), Failure> {
        self.answer(self.request(Method::GET, "/health")).await.map(drop)
    }

    pub(crate) async fn users(&self) -> Result<List<User>, Failure> {
        self.list("/users", Reader::Client).await
    }

    pub(crate) async fn profiles(&self, reader: Reader) -> Result<List<Profile>, Failure> {
        self.list("/profiles", reader).await
    }

    pub(crate) async fn profiles_of(&self, user: Uuid) -> Result<List<Profile>, Failure> {
        self.list(&format!("/profiles/user/{user}"), Reader::Directory).await
    }

    /// Stores a user; returns its ID.
    pub(crate) async fn create_user(&self, name: &str) -> Result<Uuid, Failure> {
        let user: User = self.create("/users", &json!({ "name": name })).await?;
        Ok(user.id)
    }

    /// Stores a profile; returns its ID.
    pub(crate) async fn create_profile(&self, users: &[Uuid]) -> Result<Uuid, Failure> {
        let profile: Profile = self.create("/profiles", &json!({ "users": users })).await?;
        Ok(profile.id)
    }

    /// Removes all profiles and then all users, so that a profile never has nonexistent users.
    pub(crate) async fn drop_all(&self) -> Result<(), Failure> {
        for path in ["/profiles/drop", "/users/drop"] {
            let _turn = turn(&self.calls).await?;
            self.answer(self.request(Method::DELETE, path)).await?;
        }
        Ok(())
    }

    async fn create<T: DeserializeOwned>(&self, path: &str, body: &serde_json::Value) -> Result<T, Failure> {
        let _turn = turn(&self.calls).await?;
        let request = self.request(Method::POST, path).header(CONTENT_TYPE, "application/json");
        let mut response = self.answer(request.body(body.to_string())).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.away(&error))? {
            if bytes.len() + piece.len() > ANSWER_BYTES_MAX {
                return Err(self.away(&format!("the answer is longer than {ANSWER_BYTES_MAX} bytes")));
            }
            bytes.extend_from_slice(&piece);
        }
        serde_json::from_slice(&bytes).map_err(|error| self.away(&error))
    }

    async fn list<T>(&self, path: &str, reader: Reader) -> Result<List<T>, Failure> {
        let turn = turn(&self.lists[reader as usize]).await?;
        let response = self.answer(self.request(Method::GET, path)).await?;
        Ok(List { response, elements: Elements::default(), _turn: turn, _of: PhantomData })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// The answer, if its status is 200.
    async fn answer(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| self.away(&innermost(&error)))?;
        match response.status() {
            StatusCode::OK => {
                if self.readiness.restore(PART) {
                    info!(profiles = %self.url, "profiles is available again");
                }
                Ok(response)
            }
            StatusCode::FORBIDDEN => Err(Failure::Refused("disabled there (ALLOW_DROP)".to_owned())),
            // Any other status means that it has no data to give: older versions report trouble with an empty 404.
            other => Err(self.away(&format!("it answered {other}"))),
        }
    }

    fn away(&self, reason: &dyn Display) -> Failure {
        self.metrics.profiles_failures.inc();
        let reason = format!("profiles at {}: {reason}", self.url);
        // It may start later than this service; the caller decides how long to wait for it.
        if self.readiness.state() != State::Starting && self.readiness.degrade(PART, &reason) {
            warn!(%reason, "profiles is away");
        }
        Failure::Away(reason)
    }
}

/// A list that arrives in pieces.
#[derive(Debug)]
pub(crate) struct List<T> {
    response: Response,
    elements: Elements,
    _turn: OwnedSemaphorePermit,
    _of: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> List<T> {
    /// The next elements; `None`: there are no more.
    ///
    /// # Errors
    /// The rest does not arrive, or is not a list.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<T>>, Failure> {
        let broken =
            |reason: &dyn Display| Failure::Away(format!("a list from profiles was cut off: {reason}"));
        loop {
            let piece = self.response.chunk().await.map_err(|error| broken(&innermost(&error)))?;
            let Some(piece) = piece else {
                self.elements.finish().map_err(|error| broken(&error))?;
                return Ok(None);
            };
            let mut found = Vec::new();
            self.elements.add(&piece, |element| found.push(element)).map_err(|error| broken(&error))?;
            if !found.is_empty() {
                return Ok(Some(found));
            }
        }
    }
}

async fn turn(of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Failure> {
    // Fails only if the semaphore is closed, which never happens.
    let turn = tokio::time::timeout(TURN_TIMEOUT, Arc::clone(of).acquire_owned()).await;
    turn.ok().and_then(Result::ok).ok_or_else(|| Failure::Away("too many concurrent requests".to_owned()))
}

/// The innermost cause, which says what went wrong; the wrappers only repeat the URL.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;
    use service::settings::Setting as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers each connection's request with the next status, the last one forever.
    async fn answering(statuses: &'static [&'static str]) -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = Origin::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        tokio::spawn(async move {
            for status in statuses.iter().chain(std::iter::repeat(statuses.last().unwrap())) {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 4096]).await;
                let answer = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        origin
    }

    #[tokio::test]
    async fn a_starting_backend_is_not_reported_as_away_and_its_first_answer_is_reported() {
        let origin = answering(&["503 Not Yet", "503 Not Yet", "200 OK"]).await;
        let (readiness, metrics) = (Readiness::new(), Metrics::register(&mut Registry::default()));
        let profiles =
            Profiles::new(origin, Duration::from_secs(5), Arc::clone(&metrics), readiness.clone()).unwrap();
        let (answered, word) = oneshot::channel();
        tokio::spawn(async move { profiles.watch(answered).await });
        word.await.unwrap();
        assert_eq!((metrics.profiles_failures.get(), &*readiness.describe()), (2, "starting\n"));
    }

    #[tokio::test]
    async fn a_backend_away_after_the_start_is_reported() {
        let origin = answering(&["503 Away"]).await;
        let (readiness, metrics) = (Readiness::new(), Metrics::register(&mut Registry::default()));
        let profiles = Profiles::new(origin, Duration::from_secs(5), metrics, readiness.clone()).unwrap();
        readiness.ready();
        assert!(profiles.check().await.is_err());
        assert!(readiness.describe().contains("degraded: profiles: profiles at http://127.0.0.1:"));
    }
}
