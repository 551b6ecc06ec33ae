//! Sessions that Redis still lists although their server has ended without removing them, for instance because it was
//! killed.
//!
//! They would count until they expire, and their users twice as soon as they are back elsewhere. All sessions in Redis
//! count, so sessions known to be over are removed there.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use platform::target::{ReplicaPhase, ReplicaSnapshot, ServiceSnapshot};

use crate::fleet::host_id;
use crate::sessions::{Listed, Session};

/// Shows whether a replica is still the same process as at the last look.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Life {
    host: String,
    /// `None` in a cluster: there, any container of the pod may have restarted, which proves nothing, and sessions
    /// expire.
    pid: Option<u32>,
}

impl Life {
    fn of(replica: &ReplicaSnapshot, before: Option<&Self>) -> Option<Self> {
        // While it waits for its next start, it may have no address.
        let host = host_id(replica).or_else(|| before.map(|before| before.host.clone()))?;
        Some(Self { host, pid: replica.pid.or_else(|| before.and_then(|before| before.pid)) })
    }

    fn is_another(&self, before: &Self) -> bool {
        self.host == before.host && self.pid.zip(before.pid).is_some_and(|(now, before)| now != before)
    }
}

/// Whether a replica has no process at all.
fn is_without_process(replica: &ReplicaSnapshot) -> bool {
    match replica.phase {
        ReplicaPhase::Stopped => true,
        // Another container of its pod may be the one that waits for its next start.
        ReplicaPhase::BackOff => replica.started.is_none(),
        _ => false,
    }
}

/// The previous look.
#[derive(Debug, Default)]
pub(crate) struct Lives {
    replicas: BTreeMap<String, Life>,
    /// Their keys in Redis.
    sessions: HashSet<String>,
}

/// Sessions that are over.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    /// Their keys in Redis.
    pub(crate) keys: Vec<String>,
    /// How many of them were on replicas that still exist. Their clients come back like shed ones. The policies
    /// themselves notice replicas that are gone.
    pub(crate) of_present: u64,
}

impl Lives {
    /// Removes ended sessions from the list, which must not be older than `service`. The returned state is the previous
    /// look for the next call, once the ended sessions have been removed; until then they are found again.
    pub(crate) fn part(&self, service: &ServiceSnapshot, listed: &mut Listed) -> (Ended, Self) {
        let before = &self.replicas;
        let mut replicas = BTreeMap::new();
        // Hosts without a process, and those with a different process than at the last look.
        let (mut without, mut again) = (BTreeSet::new(), BTreeSet::new());
        for replica in &service.replicas {
            let last = before.get(&replica.name);
            let Some(life) = Life::of(replica, last) else { continue };
            if is_without_process(replica) {
                without.insert(life.host.clone());
            } else if last.is_some_and(|last| life.is_another(last)) {
                again.insert(life.host.clone());
            }
            replicas.insert(replica.name.clone(), life);
        }
        let present: BTreeSet<&str> = replicas.values().map(|life| life.host.as_str()).collect();
        let is_gone = |host: &str| !present.contains(host) && before.values().any(|life| life.host == host);
        let gone: BTreeSet<&str> =
            before.values().map(|life| life.host.as_str()).filter(|host| is_gone(host)).collect();

        let mut ended = Ended::default();
        for sessions in [&mut listed.ws, &mut listed.sse] {
            sessions.retain(|Session { key, host, .. }| {
                let of_present =
                    without.contains(host) || again.contains(host) && self.sessions.contains(key);
                let is_over = of_present || gone.contains(host.as_str());
                if is_over {
                    ended.keys.push(key.clone());
                    ended.of_present += u64::from(of_present);
                }
                !is_over
            });
        }
        let sessions = listed.ws.iter().chain(&listed.sse).map(|session| session.key.clone()).collect();
        (ended, Self { replicas, sessions })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Name, address, pid and phase.
    type Replica = (&'static str, Option<&'static str>, Option<u32>, &'static str);
    /// Key and host.
    type Listing = (&'static str, &'static str);

    fn service(replicas: &[Replica]) -> ServiceSnapshot {
        let replicas = replicas.iter().map(|(name, host, pid, phase)| {
            json!({
                "name": name, "node": null, "address": host.map(|host| format!("{host}:8088")), "pid": pid,
                "started": pid.map(|_| "2026-11-29T00:00:00Z"), "phase": phase, "since": "2026-11-29T00:00:00Z", "restarts": 0,
                "connections": null, "cpu_cores": null, "memory_bytes": null,
            })
        });
        let service = json!({
            "name": "ws", "endpoint": null, "desired": 2, "stopped": false, "set_by_hand": false, "pending": 0,
            "replicas": replicas.collect::<Vec<_>>(), "autoscaler": null,
        });
        serde_json::from_value(service).unwrap()
    }

    fn listed(sessions: &[Listing]) -> Listed {
        let session = |&(key, host): &Listing| Session {
            key: key.into(),
            user: None,
            id: key.into(),
            host: host.into(),
        };
        Listed { ws: sessions.iter().map(session).collect(), ..Listed::default() }
    }

    /// Which sessions are over at the second look, and how many of them were on replicas that still exist.
    fn over(before: (&[Replica], &[Listing]), now: (&[Replica], &[Listing])) -> (Vec<String>, u64) {
        let (ended, lives) = Lives::default().part(&service(before.0), &mut listed(before.1));
        assert!(ended.keys.is_empty());
        let mut listed = listed(now.1);
        let (ended, _) = lives.part(&service(now.0), &mut listed);
        assert_eq!(listed.ws.len() + ended.keys.len(), now.1.len());
        (ended.keys, ended.of_present)
    }

    #[test]
    fn a_process_ends_its_own_sessions_only() {
        let [a, b]: [Replica; 2] =
            [("ws-0", Some("10.0.0.0"), Some(7), "ready"), ("ws-1", Some("10.0.0.1"), Some(8), "ready")];
        let seen = [("1", "10.0.0.0"), ("2", "10.0.0.1"), ("3", "10.9.9.9")];
        let more = [("1", "10.0.0.0"), ("2", "10.0.0.1"), ("3", "10.9.9.9"), ("4", "10.0.0.1")];
        let after = |now: &[Replica]| over((&[a, b], &seen), (now, &more));
        let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
        assert_eq!(after(&[a, b]), (vec![], 0), "hosts of no replica are ignored");
        assert_eq!(after(&[a]), (keys(&["2", "4"]), 0));
        assert_eq!(after(&[a, ("ws-1", Some("10.0.0.1"), None, "stopped")]), (keys(&["2", "4"]), 2));
        assert_eq!(
            after(&[a, ("ws-1", None, None, "stopped")]),
            (keys(&["2", "4"]), 2),
            "no longer has an address"
        );
        assert_eq!(after(&[a, ("ws-1", None, None, "back_off")]), (keys(&["2", "4"]), 2));
        assert_eq!(after(&[a, ("ws-1", Some("10.0.0.1"), Some(8), "back_off")]), (vec![], 0), "it runs");
        // Sessions not seen before may belong to the new process.
        assert_eq!(after(&[a, ("ws-1", Some("10.0.0.1"), Some(9), "ready")]), (keys(&["2"]), 1));
        // They are draining, and remove their sessions themselves.
        assert_eq!(after(&[a, ("ws-1", Some("10.0.0.1"), Some(8), "draining")]), (vec![], 0));
        // Another replica has this address now.
        assert_eq!(after(&[a, ("ws-2", Some("10.0.0.1"), Some(9), "ready")]), (vec![], 0));
    }

    /// It dies, its users are back elsewhere, and it starts again: each user counts once throughout.
    #[test]
    fn a_replica_that_waits_for_its_next_start_is_over_once() {
        let a: Replica = ("ws-0", Some("10.0.0.0"), Some(7), "ready");
        let b = |pid, phase| -> [Replica; 2] { [a, ("ws-1", Some("10.0.0.1"), pid, phase)] };
        let mut lives = Lives::default();
        let mut look = |replicas: &[Replica], sessions: &[Listing]| {
            let mut listed = listed(sessions);
            let (ended, next) = lives.part(&service(replicas), &mut listed);
            lives = next;
            (listed.ws.len(), ended.of_present)
        };
        let old = ("1", "10.0.0.1");
        let back = ("2", "10.0.0.0");
        assert_eq!(look(&b(Some(8), "ready"), &[old]), (1, 0));
        assert_eq!(look(&b(None, "back_off"), &[old, back]), (1, 1));
        assert_eq!(look(&b(Some(9), "ready"), &[back]), (1, 0));
        assert_eq!(look(&b(Some(9), "ready"), &[back, ("3", "10.0.0.1")]), (2, 0));
    }

    #[test]
    fn sessions_that_could_not_be_removed_are_found_again() {
        let a: Replica = ("ws-0", Some("10.0.0.0"), Some(7), "ready");
        let b: Replica = ("ws-1", Some("10.0.0.1"), Some(8), "ready");
        let sessions = [("1", "10.0.0.1")];
        let (_, lives) = Lives::default().part(&service(&[a, b]), &mut listed(&sessions));
        for _ in 0..2 {
            assert_eq!(lives.part(&service(&[a]), &mut listed(&sessions)).0.keys, ["1"]);
        }
    }
}
