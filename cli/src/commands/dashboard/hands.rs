//! The page's actions, which work like the commands of the same names.

use std::{collections::HashSet, sync::Arc, time::Duration};

use dashboard::{Action, Hands, USERS_MAX};
use platform::{
    HostPort, Target, TargetError,
    target::{Pick, ReplicaPhase, Snapshot, Subject},
};
use serde::Deserialize;
use serde_json::json;
use service::http;
use uuid::Uuid;

use super::{present::Present, started::StartedLoad};
use crate::{
    commands::{kill, scale, stop},
    hint,
};

/// Time limit for a server's answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Maximum number of users to list per server.
const USERS_TOLD_MAX: usize = 5_000;
/// Maximum number of user names in one sentence.
const NAMES_TOLD_MAX: usize = 5;
/// Maximum time that a load may be asked to hold its connections.
const HOLD_S_MAX: u32 = 24 * 3600;

const WS: &str = "ws";
const WS_CLIENT: &str = "ws-client";

pub(super) struct OwnHands {
    target: Arc<dyn Target>,
    /// The options that select the platform.
    selection: String,
    load: StartedLoad,
    present: Present,
}

impl OwnHands {
    pub(super) fn new(
        target: Arc<dyn Target>,
        selection: String,
        load: StartedLoad,
        present: Present,
    ) -> Self {
        Self { target, selection, load, present }
    }

    fn do_it(&self, action: Action) -> Result<String, String> {
        let failed = |error: TargetError| error.to_string();
        match action {
            Action::Scale { service, replicas } => {
                let scaled = scale::scale(&*self.target, &service, replicas).map_err(failed)?;
                Ok(scale::in_words(&scaled).join("; "))
            }
            Action::Kill { service, replica } => {
                self.is_replica(&service, &replica)?;
                let killed = self.target.kill(&subject(&service, replica), true).map_err(failed)?;
                Ok(kill::in_words(&service, &killed))
            }
            Action::Drain { service, replica } => {
                self.is_replica(&service, &replica)?;
                let drained = self.target.drain(&subject(&service, replica)).map_err(failed)?;
                Ok(format!("{}; another replica takes its place", stop::drained_in_words(&drained)))
            }
            Action::StartLoad { hold_s: Some(seconds), .. } if seconds > HOLD_S_MAX => {
                Err(format!("hold for {seconds} s: expected at most {HOLD_S_MAX}"))
            }
            Action::StartLoad { scenario, connections, hold_s } => {
                let present = self.present.clone();
                self.load.start(&scenario, connections, hold_s, move || present.look())
            }
            Action::StopLoad {} => self.load.stop(),
            Action::Connect { users } => self.connect(users),
            Action::Disconnect { users } => self.disconnect(&users),
        }
    }

    /// Pages must send a replica's name, not a selector such as `fullest`, because their question names the replica.
    fn is_replica(&self, service: &str, replica: &str) -> Result<(), String> {
        let snapshot = self.target.snapshot().map_err(|error| error.to_string())?;
        let Some(known) = snapshot.services.into_iter().find(|known| known.name == service) else {
            return Err(format!("there is no service {service}; playctl status lists them"));
        };
        if known.replicas.iter().any(|known| known.name == replica) {
            return Ok(());
        }
        let replica = replica.to_owned();
        let known = known.replicas.into_iter().map(|known| known.name).collect();
        Err(TargetError::UnknownReplica { service: service.to_owned(), replica, known }.to_string())
    }

    fn connect(&self, users: u32) -> Result<String, String> {
        let count = usize::try_from(users).unwrap_or(usize::MAX);
        if !(1..=USERS_MAX).contains(&count) {
            return Err(format!("connect {users} users: expected 1 to {USERS_MAX}"));
        }
        // Random, so that they differ from another page's.
        let names: Vec<String> =
            (0..count).map(|_| format!("user-{}", &Uuid::new_v4().simple().to_string()[..8])).collect();
        self.tell_clients("connect", &names)?;
        Ok(format!("{} told to connect, one after the other", in_words(count)))
    }

    fn disconnect(&self, users: &[String]) -> Result<String, String> {
        if !(1..=USERS_MAX).contains(&users.len()) {
            return Err(format!("disconnect {} users: expected 1 to {USERS_MAX}", users.len()));
        }
        // List them first, or they would be gone. All of them get the order: a user who was just moved is about to
        // come back, and is on no list meanwhile.
        let sessions = self.sessions();
        let told = self.tell_clients("disconnect", users);
        let Ok(sessions) = sessions else {
            told?;
            return Ok(format!("{} told to disconnect; who is connected is unknown", in_words(users.len())));
        };
        let connected: HashSet<String> = sessions.into_iter().map(|session| session.user_id).collect();
        let (users, others): (Vec<_>, Vec<_>) =
            users.iter().cloned().partition(|user| connected.contains(user));
        let nobody = || format!("nobody is connected as {}", listed(&others));
        if users.is_empty() {
            return Err(nobody());
        }
        told?;
        let done = match &users[..] {
            [one] => format!("{one} is told to disconnect"),
            many => format!("{} told to disconnect", in_words(many.len())),
        };
        Ok(if others.is_empty() { done } else { format!("{done}; {}", nobody()) })
    }

    /// All users that any ready server lists.
    fn sessions(&self) -> Result<Vec<Session>, String> {
        let snapshot = self.target.snapshot().map_err(|error| error.to_string())?;
        let servers = snapshot.services.iter().filter(|service| service.name == WS);
        let replicas = servers.flat_map(|service| &service.replicas);
        let mut ready = replicas.filter(|replica| replica.phase == ReplicaPhase::Ready);
        let address = ready.find_map(|replica| replica.address.as_ref());
        sessions_at(address.ok_or_else(|| format!("no replica of {WS} is ready to report who is connected"))?)
    }

    /// Sends a request to this platform's ws-client, which simulates users.
    fn tell_clients(&self, what: &str, users: &[String]) -> Result<(), String> {
        let snapshot = self.target.snapshot().map_err(|error| error.to_string())?;
        let address = clients(&snapshot).ok_or_else(|| {
            format!(
                "users are simulated by {WS_CLIENT}, which this platform does not have, or which is not ready; \
                 bring it up with: playctl up -f ws"
            )
        })?;
        let url = http::url(format_args!("http://{address}/route/kickstart/ws/batch/{what}"));
        let url = url.map_err(|error| error.to_string())?;
        let body = json!({ "userIds": users }).to_string();
        let answer = wait(http::post_json(url.clone(), "page", body, PATIENCE))?;
        if answer.is_success() {
            return Ok(());
        }
        Err(format!("{url} answered {}: {}", answer.status, answer.body.trim()))
    }
}

impl Hands for OwnHands {
    fn act(&self, action: Action) -> Result<String, String> {
        let outcome = self.do_it(action);
        self.present.look();
        let complete = |words: String| hint::complete(&words, &self.selection);
        outcome.map(complete).map_err(complete)
    }

    fn users(&self, service: &str, replica: &str) -> Result<Vec<String>, String> {
        if service != WS {
            return Err(format!("{service} does not report its users"));
        }
        let snapshot = self.target.snapshot().map_err(|error| error.to_string())?;
        let of_service = snapshot.services.iter().find(|known| known.name == service);
        let replica = of_service
            .and_then(|known| known.replicas.iter().find(|known| known.name == replica))
            .ok_or_else(|| format!("{replica} is gone"))?;
        let address =
            replica.address.as_ref().ok_or_else(|| format!("{} has no address yet", replica.name))?;
        let host = address.host.to_string();
        let own = sessions_at(address)?.into_iter().filter(|session| session.host_id == host);
        let mut users: Vec<String> = own.map(|session| session.user_id).collect();
        users.sort();
        users.truncate(USERS_TOLD_MAX);
        Ok(users)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Session {
    user_id: String,
    host_id: String,
}

fn sessions_at(server: &HostPort) -> Result<Vec<Session>, String> {
    let url = http::url(format_args!("http://{server}/ws-session/all")).map_err(|error| error.to_string())?;
    let answer = wait(http::get(url.clone(), PATIENCE))?;
    if !answer.is_success() {
        return Err(format!("{url} answered {}: {}", answer.status, answer.body.trim()));
    }
    serde_json::from_str(&answer.body).map_err(|_| format!("{url} did not answer with a list of sessions"))
}

fn listed(names: &[String]) -> String {
    let shown =
        names.iter().take(NAMES_TOLD_MAX).map(|name| report::visible(name)).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMES_TOLD_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn subject(service: &str, replica: String) -> Subject {
    Subject { name: service.to_owned(), replica: Pick::Named(replica) }
}

/// The address of the service that connects users.
fn clients(snapshot: &Snapshot) -> Option<HostPort> {
    let service = snapshot.services.iter().find(|service| service.name == WS_CLIENT)?;
    let ready = service.replicas.iter().find(|replica| replica.phase == ReplicaPhase::Ready);
    service.endpoint.clone().or_else(|| ready?.address.clone())
}

fn in_words(users: usize) -> String {
    if users == 1 { "1 user is".to_owned() } else { format!("{users} users are") }
}

/// Call this on a thread that may block, within the server's runtime.
fn wait(answer: impl Future<Output = Result<http::Answer, http::Error>>) -> Result<http::Answer, String> {
    tokio::runtime::Handle::current().block_on(answer).map_err(|error| error.to_string())
}
