//! The connected clients of all workers: the answer to `WHO`, the number of connections, and the changes that
//! [`crate::presence`] has yet to write.
//!
//! Locked when a client connects or disconnects and for `WHO`, never for a message.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use protocol::{Dialect, reply};
use slab::Slab;

use crate::presence::{CHUNK_CLIENTS_MAX, Others, Packed, View};

/// With more clients than this the list is rendered at most once per [`RENDER_INTERVAL`]; with fewer it is always
/// up to date.
const SMALL_CLIENTS_MAX: usize = 1000;
const RENDER_INTERVAL: Duration = Duration::from_millis(100);
/// A list longer than this is rendered proportionally less often: clients that read slowly hold on to the list rendered
/// for them, and the memory of all these lists must not grow with the square of the clients.
const LONG_CLIENTS: usize = 20_000;

/// A client's place in the roster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(u32);

#[derive(Default)]
struct Inner {
    clients: Slab<SocketAddr>,
    rendered: Option<Rendered>,
    /// Chunks that changed since the last [`Roster::take_changes`]. Only with [`Roster::others`].
    changed: BTreeSet<u32>,
    /// All chunks that ever had a client.
    chunks: u32,
}

struct Rendered {
    text: Arc<[u8]>,
    at: Instant,
    /// Number of clients in the list.
    clients: usize,
    /// No client of this server has come or gone since.
    current: bool,
    /// The version of the view of other servers.
    others_version: u64,
}

/// All clients of this server, and with etcd those of the others.
pub(crate) struct Roster {
    inner: Mutex<Inner>,
    dialect: Dialect,
    others: Option<Arc<Others>>,
}

impl Roster {
    pub(crate) fn new(dialect: Dialect, others: Option<Arc<Others>>) -> Self {
        Self { inner: Mutex::default(), dialect, others }
    }

    pub(crate) fn enter(&self, client: SocketAddr) -> Place {
        let mut inner = self.inner.lock();
        let place = Place(inner.clients.insert(client) as u32);
        self.changed(&mut inner, place);
        place
    }

    pub(crate) fn leave(&self, place: Place) {
        let mut inner = self.inner.lock();
        inner.clients.try_remove(place.0 as usize);
        self.changed(&mut inner, place);
    }

    pub(crate) fn len(&self) -> usize {
        self.inner.lock().clients.len()
    }

    fn changed(&self, inner: &mut Inner, place: Place) {
        if let Some(rendered) = &mut inner.rendered {
            rendered.current = false;
        }
        if let Some(others) = &self.others {
            let chunk = place.0 / CHUNK_CLIENTS_MAX as u32;
            inner.chunks = inner.chunks.max(chunk + 1);
            if inner.changed.insert(chunk) && inner.changed.len() == 1 {
                others.wake().wake();
            }
        }
    }

    /// The number of clients, and at most `max` of the chunks that changed. A chunk without clients is empty.
    pub(crate) fn take_changes(&self, max: usize) -> (usize, Vec<(u32, Packed)>) {
        let mut inner = self.inner.lock();
        let mut chunks = Vec::new();
        while chunks.len() < max
            && let Some(number) = inner.changed.pop_first()
        {
            let first = number as usize * CHUNK_CLIENTS_MAX;
            let places = first..first + CHUNK_CLIENTS_MAX;
            chunks.push((number, Packed::of(places.filter_map(|place| inner.clients.get(place)).copied())));
        }
        (inner.clients.len(), chunks)
    }

    /// Marks chunks as not yet written.
    pub(crate) fn mark(&self, chunks: impl Iterator<Item = u32>) {
        self.inner.lock().changed.extend(chunks);
    }

    /// Marks everything as not yet written.
    pub(crate) fn mark_all(&self) {
        let mut inner = self.inner.lock();
        inner.changed = (0..inner.chunks).collect();
    }

    /// The answer to `WHO` and a line end, shared by all clients that ask while it is valid.
    pub(crate) fn render(&self, now: Instant) -> Arc<[u8]> {
        let mut inner = self.inner.lock();
        let others_version = self.others.as_ref().map_or(0, |others| others.version());
        if let Some(rendered) = &inner.rendered {
            let current = rendered.current && rendered.others_version == others_version;
            let interval = RENDER_INTERVAL * rendered.clients.div_ceil(LONG_CLIENTS) as u32;
            let fresh = now.saturating_duration_since(rendered.at) < interval;
            if current || (fresh && rendered.clients > SMALL_CLIENTS_MAX) {
                return Arc::clone(&rendered.text);
            }
        }
        let render = |view: Option<&View>| self.text(&inner.clients, view);
        let (text, clients) = match &self.others {
            Some(others) => others.look(render),
            None => render(None),
        };
        let text: Arc<[u8]> = text.into();
        let rendered = Rendered { text: Arc::clone(&text), at: now, clients, current: true, others_version };
        inner.rendered = Some(rendered);
        text
    }

    /// Without a view of the others, this is the answer of a server without etcd: in the dialect `socketz`, a missing
    /// third line shows that the total is unknown.
    fn text(&self, clients: &Slab<SocketAddr>, view: Option<&View>) -> (Vec<u8>, usize) {
        let own = clients.iter().map(|(_, client)| *client);
        let (mut text, listed) = match view {
            Some(view) if self.dialect != Dialect::Socketz => {
                (reply::client_list(own.chain(view.clients())), clients.len() + view.len())
            }
            _ => (reply::client_list(own), clients.len()),
        };
        text.push(b'\n');
        if let Some(view) = view.filter(|_| self.dialect == Dialect::Socketz) {
            text.extend_from_slice(reply::all_servers(clients.len() + view.len()).as_bytes());
            text.push(b'\n');
        }
        (text, listed)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use service::etcd::{Entry, List};

    use super::*;

    fn client(port: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, port).into()
    }

    fn roster() -> Roster {
        Roster::new(Dialect::Playground, None)
    }

    /// A roster that knows these clients of another server.
    fn with_others(dialect: Dialect, ports: std::ops::Range<u16>) -> (Roster, Arc<Others>) {
        let others = Arc::new(Others::new("own"));
        let entries = ports.clone().step_by(CHUNK_CLIENTS_MAX).map(|first| Entry {
            key: format!("/sockets/presence/other/{first}").as_bytes().into(),
            value: Packed::of((first..ports.end).map(|port| ([10, 0, 0, 7], port).into())).bytes().into(),
            created: 1,
            modified: 1,
        });
        others.replace(List { revision: 1, entries: entries.collect() }).unwrap();
        (Roster::new(dialect, Some(Arc::clone(&others))), others)
    }

    fn said(roster: &Roster, now: Instant) -> String {
        String::from_utf8(roster.render(now).to_vec()).unwrap()
    }

    #[test]
    fn a_small_list_is_always_up_to_date() {
        let roster = roster();
        let now = clock::now();
        let first = roster.enter(client(1));
        roster.enter(client(2));
        assert_eq!(
            &*roster.render(now),
            b"client list: {'127.0.0.1:1', '127.0.0.1:2'}\nconnected clients: 2\n"
        );
        roster.leave(first);
        assert_eq!(&*roster.render(now), b"client list: {'127.0.0.1:2'}\nconnected clients: 1\n");
        assert_eq!(roster.len(), 1);
    }

    #[test]
    fn an_unchanged_list_is_shared() {
        let roster = roster();
        let now = clock::now();
        roster.enter(client(1));
        let first = roster.render(now);
        assert!(Arc::ptr_eq(&first, &roster.render(now + Duration::from_hours(1))));
    }

    #[test]
    fn a_long_list_is_rendered_at_most_once_per_interval() {
        let roster = roster();
        let now = clock::now();
        for port in 1..=1500 {
            roster.enter(client(port));
        }
        let first = roster.render(now);
        let place = roster.enter(client(2000));
        assert!(Arc::ptr_eq(&first, &roster.render(now + Duration::from_millis(99))));
        let next = roster.render(now + Duration::from_millis(100));
        assert!(next.ends_with(b"connected clients: 1501\n"));
        roster.leave(place);
        assert!(Arc::ptr_eq(&next, &roster.render(now + Duration::from_millis(199))));
    }

    #[test]
    fn the_list_includes_clients_of_other_servers() {
        let (roster, others) = with_others(Dialect::Playground, 5..7);
        let now = clock::now();
        roster.enter(client(1));
        let all = "client list: {'127.0.0.1:1', '10.0.0.7:5', '10.0.0.7:6'}\nconnected clients: 3\n";
        assert_eq!(said(&roster, now), all);
        others.forget();
        assert_eq!(said(&roster, now), "client list: {'127.0.0.1:1'}\nconnected clients: 1\n");
    }

    #[test]
    fn socketz_counts_clients_of_other_servers_in_a_third_line() {
        let (roster, others) = with_others(Dialect::Socketz, 5..7);
        let now = clock::now();
        roster.enter(client(1));
        let own = "client list: {'127.0.0.1:1'}\nconnected clients: 1\n";
        assert_eq!(said(&roster, now), format!("{own}clients connected to all servers: 3\n"));
        others.forget();
        assert_eq!(said(&roster, now), own);
    }

    #[test]
    fn longer_lists_are_rendered_less_often() {
        let (roster, _) = with_others(Dialect::Playground, 0..45_000);
        let now = clock::now();
        let first = roster.render(now);
        assert!(first.ends_with(b"connected clients: 45000\n"));
        roster.enter(client(1));
        assert!(Arc::ptr_eq(&first, &roster.render(now + Duration::from_millis(299))));
        let next = roster.render(now + Duration::from_millis(300));
        assert!(next.ends_with(b"connected clients: 45001\n"));
    }

    #[test]
    fn only_changed_chunks_are_taken_and_eventually_all_of_them() {
        let (roster, _) = with_others(Dialect::Playground, 0..0);
        let places: Vec<Place> = (0..300).map(|port| roster.enter(client(port))).collect();
        let taken = |max| {
            let (clients, chunks) = roster.take_changes(max);
            (clients, chunks.iter().map(|(number, packed)| (*number, packed.len())).collect::<Vec<_>>())
        };
        assert_eq!(taken(2), (300, vec![(0, 128), (1, 128)]));
        assert_eq!(taken(2), (300, vec![(2, 44)]));
        assert_eq!(taken(2), (300, vec![]));
        roster.leave(places[130]);
        places[256..].iter().for_each(|place| roster.leave(*place));
        assert_eq!(taken(9), (255, vec![(1, 127), (2, 0)]));
        roster.enter(client(7));
        assert_eq!(taken(9).1.len(), 1);
        roster.mark([1].into_iter());
        assert_eq!(taken(9).1.len(), 1);
        roster.mark_all();
        assert_eq!(taken(9).1.len(), 3);
    }

    #[test]
    fn without_etcd_nothing_is_kept_for_it() {
        let roster = roster();
        roster.enter(client(1));
        assert_eq!(roster.take_changes(9).1, []);
    }
}
