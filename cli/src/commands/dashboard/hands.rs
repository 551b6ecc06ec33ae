//! What the page does, as the commands of the same names do it.

use std::{sync::Arc, time::Duration};

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

/// How long a server has to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most users of one server that are told.
const USERS_TOLD_MAX: usize = 5_000;
/// The longest time that a load may be asked to hold its connections.
const HOLD_S_MAX: u32 = 24 * 3600;

const WS: &str = "ws";
const WS_CLIENT: &str = "ws-client";

pub(super) struct OwnHands {
    target: Arc<dyn Target>,
    /// The options that name the platform.
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
                let killed = self.target.kill(&subject(&service, replica), true).map_err(failed)?;
                Ok(kill::in_words(&service, &killed))
            }
            Action::Drain { service, replica } => {
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

    fn connect(&self, users: u32) -> Result<String, String> {
        let count = usize::try_from(users).unwrap_or(usize::MAX);
        if !(1..=USERS_MAX).contains(&count) {
            return Err(format!("connect {users} users: expected 1 to {USERS_MAX}"));
        }
        // By chance, so that those of another page are others.
        let names: Vec<String> =
            (0..count).map(|_| format!("user-{}", &Uuid::new_v4().simple().to_string()[..8])).collect();
        self.tell_clients("connect", &names)?;
        Ok(format!("{} told to connect, one after the other", in_words(count)))
    }

    fn disconnect(&self, users: &[String]) -> Result<String, String> {
        if !(1..=USERS_MAX).contains(&users.len()) {
            return Err(format!("disconnect {} users: expected 1 to {USERS_MAX}", users.len()));
        }
        self.tell_clients("disconnect", users)?;
        Ok(match users {
            [one] => format!("{one} is told to disconnect"),
            many => format!("{} told to disconnect", in_words(many.len())),
        })
    }

    /// Tells the client of this platform that simulates users.
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
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Session {
            user_id: String,
            host_id: String,
        }
        if service != WS {
            return Err(format!("{service} does not tell who its users are"));
        }
        let snapshot = self.target.snapshot().map_err(|error| error.to_string())?;
        let of_service = snapshot.services.iter().find(|known| known.name == service);
        let replica = of_service
            .and_then(|known| known.replicas.iter().find(|known| known.name == replica))
            .ok_or_else(|| format!("{replica} is gone"))?;
        let address =
            replica.address.as_ref().ok_or_else(|| format!("{} has no address yet", replica.name))?;
        let url = http::url(format_args!("http://{address}/ws-session/all"));
        let url = url.map_err(|error| error.to_string())?;
        let answer = wait(http::get(url.clone(), PATIENCE))?;
        if !answer.is_success() {
            return Err(format!("{url} answered {}: {}", answer.status, answer.body.trim()));
        }
        let sessions: Vec<Session> = serde_json::from_str(&answer.body)
            .map_err(|error| format!("{url} answered something else than sessions: {error}"))?;
        let host = address.host.to_string();
        let own = sessions.into_iter().filter(|session| session.host_id == host);
        let mut users: Vec<String> = own.map(|session| session.user_id).collect();
        users.sort();
        users.truncate(USERS_TOLD_MAX);
        Ok(users)
    }
}

fn subject(service: &str, replica: String) -> Subject {
    Subject { name: service.to_owned(), replica: Pick::Named(replica) }
}

/// Where users are made to connect.
fn clients(snapshot: &Snapshot) -> Option<HostPort> {
    let service = snapshot.services.iter().find(|service| service.name == WS_CLIENT)?;
    let ready = service.replicas.iter().find(|replica| replica.phase == ReplicaPhase::Ready);
    service.endpoint.clone().or_else(|| ready?.address.clone())
}

fn in_words(users: usize) -> String {
    if users == 1 { "1 user is".to_owned() } else { format!("{users} users are") }
}

/// Called on a thread that may wait, within the server's runtime.
fn wait(answer: impl Future<Output = Result<http::Answer, http::Error>>) -> Result<http::Answer, String> {
    tokio::runtime::Handle::current().block_on(answer).map_err(|error| error.to_string())
}
