//! The sessions here: admission up to the limit, activity, and orders to close.
//!
//! A session is shared between its task, which owns the socket, and this table. The table never touches a socket: it
//! leaves an order and wakes the task. Times are milliseconds of the caller's clock.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;
use uuid::Uuid;

/// Prefix of sessions' keys in Redis. Other readers of Redis rely on it.
pub(crate) const KEY_PREFIX: &str = "WsSession#";
/// Maximum number of refused users in one batch of changes; further ones are left out.
const REFUSED_MAX: usize = 1000;

/// Why a session should end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Another instance has more room.
    Rebalance = 1,
    /// This instance is shutting down.
    ShutDown = 2,
    /// The peer has not answered a ping.
    Lost = 3,
}

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: Uuid,
    pub(crate) user: Box<str>,
    /// When the client last did something: a message or a ping of its own.
    active_ms: AtomicU64,
    /// When anything came from the client, answers to our pings included.
    heard_ms: AtomicU64,
    /// An [`Order`], or 0.
    order: AtomicU8,
    ping: AtomicBool,
    wake: Notify,
}

impl Session {
    fn new(user: &str, now_ms: u64) -> Self {
        Self {
            id: Uuid::new_v4(),
            user: user.into(),
            active_ms: AtomicU64::new(now_ms),
            heard_ms: AtomicU64::new(now_ms),
            order: AtomicU8::new(0),
            ping: AtomicBool::new(false),
            wake: Notify::new(),
        }
    }

    /// Notes that the client did something.
    pub(crate) fn is_active(&self, now_ms: u64) {
        self.active_ms.store(now_ms, Ordering::Relaxed);
        self.is_alive(now_ms);
    }

    /// Notes that the client's machine answered.
    pub(crate) fn is_alive(&self, now_ms: u64) {
        self.heard_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Waits until there may be something to do; then look at [`Session::order`] and [`Session::takes_ping`].
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    pub(crate) fn order(&self) -> Option<Order> {
        match self.order.load(Ordering::Acquire) {
            1 => Some(Order::Rebalance),
            2 => Some(Order::ShutDown),
            3 => Some(Order::Lost),
            _ => None,
        }
    }

    /// Whether a ping is due; the caller must then send it.
    pub(crate) fn takes_ping(&self) -> bool {
        self.ping.swap(false, Ordering::Relaxed)
    }

    /// Orders the end. The first order stands, except that a lost peer replaces it: it cannot be told anything any
    /// more.
    fn end(&self, order: Order) -> bool {
        let replaces = |present: u8| (present == 0 || order == Order::Lost).then_some(order as u8);
        let first = self.order.fetch_update(Ordering::AcqRel, Ordering::Acquire, replaces) == Ok(0);
        self.wake.notify_one();
        first
    }
}

/// Changes of the table since it was last copied.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) added: Vec<Arc<Session>>,
    pub(crate) removed: Vec<Uuid>,
    /// Users who were refused.
    pub(crate) refused: Vec<Box<str>>,
}

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.refused.is_empty()
    }
}

#[derive(Debug, Default)]
struct Table {
    here: HashMap<Uuid, Arc<Session>>,
    changes: Changes,
}

/// The sessions of this instance.
#[derive(Debug)]
pub(crate) struct Sessions {
    max: usize,
    table: Mutex<Table>,
    changed: Notify,
}

/// There is no room for another session.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Sessions {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, table: Mutex::default(), changed: Notify::new() }
    }

    /// Admits a client until the guard is dropped.
    pub(crate) fn admit(self: &Arc<Self>, user: &str, now_ms: u64) -> Result<Admitted, Full> {
        let mut table = self.table.lock();
        if table.here.len() >= self.max {
            if table.changes.refused.len() < REFUSED_MAX {
                table.changes.refused.push(user.into());
                self.changed.notify_one();
            }
            return Err(Full);
        }
        let session = Arc::new(Session::new(user, now_ms));
        table.here.insert(session.id, Arc::clone(&session));
        table.changes.added.push(Arc::clone(&session));
        drop(table);
        self.changed.notify_one();
        Ok(Admitted { session, sessions: Arc::clone(self) })
    }

    fn remove(&self, id: Uuid) {
        let mut table = self.table.lock();
        table.here.remove(&id);
        // A session that was never copied need not be removed from the copy.
        let before = table.changes.added.len();
        table.changes.added.retain(|session| session.id != id);
        if table.changes.added.len() == before {
            table.changes.removed.push(id);
        }
        drop(table);
        self.changed.notify_one();
    }

    pub(crate) fn count(&self) -> usize {
        self.table.lock().here.len()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        self.table.lock().here.values().cloned().collect()
    }

    /// Waits for the next change.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Changes since the last call.
    pub(crate) fn take_changes(&self) -> Changes {
        std::mem::take(&mut self.table.lock().changes)
    }

    /// Returns changes from [`Self::take_changes`] that could not be copied. Sessions that still exist are copied
    /// anyway.
    pub(crate) fn give_back(&self, changes: Changes) {
        self.table.lock().changes.removed.extend(changes.removed);
    }

    /// Asks the `count` longest idle sessions to leave. Sessions that are already leaving do not count. Returns how
    /// many were asked.
    pub(crate) fn shed(&self, count: usize) -> usize {
        let mut staying: Vec<_> = self.all();
        staying.retain(|session| session.order().is_none());
        let count = count.min(staying.len());
        // Ties are broken by ID, so that equal states shed the same sessions.
        let idle = |session: &Arc<Session>| (session.active_ms.load(Ordering::Relaxed), session.id);
        if count < staying.len() {
            staying.select_nth_unstable_by_key(count, idle);
        }
        staying[..count].iter().filter(|session| session.end(Order::Rebalance)).count()
    }

    /// Pings peers that have been silent for `interval_ms`, and drops those silent for twice as long.
    pub(crate) fn check_peers(&self, now_ms: u64, interval_ms: u64) {
        for session in self.all() {
            let silent_ms = now_ms.saturating_sub(session.heard_ms.load(Ordering::Relaxed));
            if silent_ms >= interval_ms.saturating_mul(2) {
                session.end(Order::Lost);
            } else if silent_ms >= interval_ms && !session.ping.swap(true, Ordering::Relaxed) {
                session.wake.notify_one();
            }
        }
    }
}

/// A session that counts as connected until this is dropped.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) session: Arc<Session>,
    sessions: Arc<Sessions>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.sessions.remove(self.session.id);
    }
}

/// Asks a session to leave because this instance is shutting down.
pub(crate) fn shut_down(session: &Session) {
    session.end(Order::ShutDown);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_users(max: usize, users: usize) -> (Arc<Sessions>, Vec<Admitted>) {
        let sessions = Arc::new(Sessions::new(max));
        let admitted =
            (0..users).map(|user| sessions.admit(&format!("user-{user}"), user as u64).unwrap()).collect();
        (sessions, admitted)
    }

    fn leaving(admitted: &[Admitted]) -> Vec<usize> {
        let leaves = |index: &usize| admitted[*index].session.order() == Some(Order::Rebalance);
        (0..admitted.len()).filter(leaves).collect()
    }

    #[test]
    fn the_limit_holds_and_a_departure_frees_a_place() {
        let (sessions, mut admitted) = with_users(2, 2);
        assert_eq!(sessions.admit("third", 0).unwrap_err(), Full);
        admitted.pop();
        assert!(sessions.admit("third", 0).is_ok());
    }

    #[test]
    fn the_longest_idle_sessions_are_shed_once() {
        let (sessions, admitted) = with_users(10, 5);
        admitted[0].session.is_active(100);
        // An answer to a ping does not count as activity.
        admitted[1].session.is_alive(200);
        assert_eq!(sessions.shed(2), 2);
        assert_eq!(leaving(&admitted), [1, 2]);
        assert_eq!(sessions.shed(2), 2);
        assert_eq!(leaving(&admitted), [1, 2, 3, 4]);
        assert_eq!(sessions.shed(usize::MAX), 1);
        assert_eq!(sessions.shed(1), 0);
    }

    #[test]
    fn changes_are_reported_once_and_brief_sessions_not_at_all() {
        let (sessions, mut admitted) = with_users(10, 2);
        let changes = sessions.take_changes();
        assert_eq!((changes.added.len(), changes.removed.len()), (2, 0));
        let gone = admitted.pop().unwrap().session.id;
        drop(sessions.admit("brief", 0).unwrap());
        let changes = sessions.take_changes();
        assert!(changes.added.is_empty());
        assert_eq!(changes.removed, [gone]);
        assert!(sessions.take_changes().is_empty());
    }

    #[test]
    fn silent_peers_are_pinged_then_given_up_even_if_told_to_leave() {
        let (sessions, admitted) = with_users(10, 2);
        let session = &admitted[0].session;
        sessions.check_peers(999, 1000);
        assert!(!session.takes_ping());
        sessions.check_peers(1000, 1000);
        assert!(session.takes_ping());
        session.is_alive(1500);
        sessions.check_peers(2001, 1000);
        assert_eq!(session.order(), None);
        assert_eq!(admitted[1].session.order(), Some(Order::Lost));
        sessions.shed(1);
        sessions.check_peers(3500, 1000);
        assert_eq!(session.order(), Some(Order::Lost));
    }

    #[test]
    fn an_idle_session_is_small() {
        assert!(size_of::<Session>() <= 96, "{}", size_of::<Session>());
    }
}
