//! Users who join and leave: which of them, decided over all workers.

use std::collections::BTreeMap;

use platform::{
    event::EventKind,
    target::{Pick, Subject},
};
use scenario::{Step, Verb, action::Users};

use super::merge::Merge;
use crate::{
    commanders::Commanders,
    messages::{Command, Join, Leave, Task},
};

/// Started orders without an outcome, by number.
pub(super) struct Groups {
    workers: u32,
    /// The number of the next user to join.
    next_user: u64,
    pending: BTreeMap<u32, Group>,
}

#[derive(Default)]
struct Group {
    stage: Stage,
    /// How many workers have answered in this stage.
    answers: u32,
}

#[derive(Default)]
enum Stage {
    #[default]
    Mustering,
    Joining,
    /// `of`: in words.
    Leaving {
        wanted: Users,
        of: String,
        left: u64,
    },
}

/// What became of an order.
pub(super) struct Outcome {
    pub(super) words: String,
    pub(super) failed: bool,
}

impl Outcome {
    pub(super) fn of(self, step: Step) -> EventKind {
        let (action, because) = (step.verb.to_string(), step.because);
        EventKind::ActionTaken { action, because, outcome: self.words, failed: self.failed }
    }
}

/// Users who can be sent away.
pub(super) struct Holding {
    /// The replica, if it is one.
    pub(super) replica: Option<String>,
    /// Its name for itself; `None`: any replica.
    pub(super) own: Option<Vec<String>>,
    /// Number of users per worker.
    pub(super) by_worker: Vec<u64>,
}

impl Groups {
    pub(super) fn new(workers: u32, ramp: u64) -> Self {
        Self { workers, next_user: ramp, pending: BTreeMap::new() }
    }

    /// A worker has reported its state for an order. Once all have, the order is carried out.
    pub(super) fn mustered(
        &mut self,
        id: u32,
        step: &Step,
        merge: &mut Merge,
        commanders: &Commanders,
    ) -> Option<Outcome> {
        let group = self.pending.entry(id).or_default();
        if !group.answered(self.workers) {
            return None;
        }
        let task = match &step.verb {
            Verb::Join { users, rate } => {
                group.stage = Stage::Joining;
                let first = self.next_user;
                self.next_user = first.saturating_add(*users);
                Task::Join(Join { id, first, users: *users, rate: *rate })
            }
            Verb::Leave { users, of } => match merge.holding(of.as_ref()) {
                Ok(Holding { replica, own, by_worker }) => {
                    let shares = shares(*users, &by_worker);
                    let of = replica.map(|replica| format!(" of {replica}")).unwrap_or_default();
                    group.stage = Stage::Leaving { wanted: *users, of, left: 0 };
                    Task::Leave(Leave { id, of: own, shares })
                }
                Err(words) => {
                    self.pending.remove(&id);
                    return Some(Outcome { words, failed: true });
                }
            },
            _ => return None,
        };
        commanders.tell(&Command::Task(task));
        None
    }

    /// All of a worker's users of a group have arrived.
    pub(super) fn joined(&mut self, id: u32, open: u64) -> Option<Outcome> {
        if !self.pending.get_mut(&id)?.answered(self.workers) {
            return None;
        }
        self.pending.remove(&id);
        Some(Outcome { words: format!("all of them tried; {open} connections are open"), failed: false })
    }

    /// A worker has sent this many users away.
    pub(super) fn left(&mut self, id: u32, count: u64) -> Option<Outcome> {
        let group = self.pending.get_mut(&id)?;
        let all_answered = group.answered(self.workers);
        let Stage::Leaving { wanted, of, left } = &mut group.stage else { return None };
        *left += count;
        if !all_answered {
            return None;
        }
        let (words, failed) = match *wanted {
            Users::Number(wanted) if *left < wanted => {
                (format!("only {left}{of} left; {wanted} were to leave"), true)
            }
            _ => (format!("{left}{of} left"), *left == 0),
        };
        self.pending.remove(&id);
        Some(Outcome { words, failed })
    }
}

impl Group {
    /// Counts an answer; true if it was the last one.
    fn answered(&mut self, workers: u32) -> bool {
        self.answers += 1;
        let is_last = self.answers >= workers;
        if is_last {
            self.answers = 0;
        }
        is_last
    }
}

/// How many of each worker's users leave.
fn shares(users: Users, by_worker: &[u64]) -> Vec<u64> {
    let mut rest = match users {
        Users::All => return vec![u64::MAX; by_worker.len()],
        Users::Number(users) => users,
    };
    let share = |held: &u64| {
        let share = rest.min(*held);
        rest -= share;
        share
    };
    by_worker.iter().map(share).collect()
}

impl Merge {
    /// The users that an order to leave refers to.
    fn holding(&mut self, of: Option<&Subject>) -> Result<Holding, String> {
        let pick = of.map_or(&Pick::Unnamed, |of| &of.replica);
        if *pick == Pick::Unnamed {
            let by_worker = self.open_by_worker();
            return Ok(Holding { replica: None, own: None, by_worker });
        }
        let mut known = self.known_replicas();
        let chosen = match pick {
            Pick::Named(name) => known.remove_entry(name).ok_or_else(|| {
                let all: Vec<&str> = known.keys().map(String::as_str).collect();
                format!("no user is on {name}; users are on: {}", all.join(", "))
            })?,
            // The first of those with equally many.
            Pick::Fullest => {
                let most = known.into_iter().rev().max_by_key(|(_, (_, by_worker))| sum(by_worker));
                most.ok_or(NOBODY)?
            }
            _ => known.into_iter().min_by_key(|(_, (_, by_worker))| sum(by_worker)).ok_or(NOBODY)?,
        };
        let (replica, (own, by_worker)) = chosen;
        Ok(Holding { replica: Some(replica), own: Some(own), by_worker })
    }
}

const NOBODY: &str = "no server reports its name, so its users are unknown";

fn sum(by_worker: &[u64]) -> u64 {
    by_worker.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_leave_only_where_there_are_some() {
        assert_eq!(shares(Users::Number(6), &[4, 0, 3]), [4, 0, 2]);
        assert_eq!(shares(Users::Number(9), &[4, 0, 3]), [4, 0, 3]);
        assert_eq!(shares(Users::All, &[4, 0]), [u64::MAX; 2]);
    }
}
