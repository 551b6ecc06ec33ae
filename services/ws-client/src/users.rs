//! The users: who exists, who connects next, who leaves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::{Mutex as Turn, watch};

use crate::user::{self, Rules, Status};

#[derive(Debug)]
struct Entry {
    status: Arc<Mutex<Status>>,
    leave: watch::Sender<bool>,
}

/// All users, as shown to clients.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Told {
    user_id: String,
    #[serde(flatten)]
    status: Status,
}

/// There would be more users than allowed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

/// See the module.
#[derive(Debug)]
pub(crate) struct Users {
    max: usize,
    connect_every: Duration,
    rules: Arc<Rules>,
    table: Mutex<BTreeMap<Arc<str>, Entry>>,
    /// Held by the user who connects next, until the one after may.
    turn: Turn<()>,
}

impl Users {
    pub(crate) fn new(max: usize, connect_every: Duration, rules: Rules) -> Self {
        Self { max, connect_every, rules: Arc::new(rules), table: Mutex::default(), turn: Turn::new(()) }
    }

    /// Connects users, one after another. Does not affect users that exist already.
    pub(crate) fn connect(self: &Arc<Self>, users: &[String]) -> Result<(), TooMany> {
        let mut table = self.table.lock();
        let mut new: Vec<&String> = users.iter().filter(|user| !table.contains_key(user.as_str())).collect();
        new.sort_unstable();
        new.dedup();
        if table.len() + new.len() > self.max {
            return Err(TooMany);
        }
        // In the order of the request, each once.
        for user in users {
            if table.contains_key(user.as_str()) {
                continue;
            }
            let user: Arc<str> = user.as_str().into();
            let status = Arc::new(Mutex::new(Status::default()));
            let (leave, leaving) = watch::channel(false);
            table.insert(Arc::clone(&user), Entry { status: Arc::clone(&status), leave });
            self.rules.metrics.users.inc();
            tokio::spawn(Arc::clone(self).live(user, status, leaving));
        }
        Ok(())
    }

    async fn live(
        self: Arc<Self>,
        user: Arc<str>,
        status: Arc<Mutex<Status>>,
        mut leave: watch::Receiver<bool>,
    ) {
        let turn = async {
            // First come, first served.
            let _turn = self.turn.lock().await;
            tokio::time::sleep(self.connect_every).await;
        };
        tokio::select! {
            () = turn => {}
            _ = leave.wait_for(|leave| *leave) => {}
        }
        if !*leave.borrow() {
            user::live(user, Arc::clone(&self.rules), status, leave).await;
        }
        self.rules.metrics.users.dec();
    }

    /// Disconnects users. Ignores unknown names.
    pub(crate) fn disconnect(&self, users: &[String]) {
        let mut table = self.table.lock();
        for user in users {
            if let Some(entry) = table.remove(user.as_str()) {
                entry.leave.send_replace(true);
            }
        }
    }

    /// Disconnects all users, and waits until they have left.
    pub(crate) async fn disconnect_all(&self) {
        let leaving: Vec<Entry> = std::mem::take(&mut *self.table.lock()).into_values().collect();
        for entry in leaving {
            entry.leave.send_replace(true);
            // All receivers are gone when the user's task has ended.
            entry.leave.closed().await;
        }
    }

    pub(crate) fn all(&self) -> Vec<Told> {
        let table = self.table.lock();
        let told = table
            .iter()
            .map(|(user, entry)| Told { user_id: user.to_string(), status: entry.status.lock().clone() });
        told.collect()
    }
}
