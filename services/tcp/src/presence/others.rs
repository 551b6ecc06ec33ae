//! The other servers: a copy of what they keep in etcd.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use service::etcd::{Change, Entry, List};

use super::{Packed, SERVERS, TOTAL, Wake};

/// Maximum number of clients of other servers to keep: 3 MB of IPv4 addresses.
const CLIENTS_MAX: usize = 500_000;
/// Maximum number of keys to keep: ten times as many as this many clients need in full chunks, since few chunks stay
/// full.
const KEYS_MAX: usize = 50_000;
/// A longer name cannot be a server's.
const SERVER_NAME_BYTES_MAX: usize = 64;
/// Maximum length of a key that is logged.
const EXAMPLE_CHARACTERS_MAX: usize = 200;

/// The other servers, as far as they are known.
pub(crate) struct Others {
    /// This server, which is not among the others.
    own_id: Box<str>,
    known: Mutex<Known>,
    wake: Arc<Wake>,
}

#[derive(Default)]
struct Known {
    /// `None` while etcd is away.
    view: Option<View>,
    /// Counts changes.
    version: u64,
}

/// The other servers and their clients.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    servers: BTreeMap<Box<str>, Server>,
    clients: usize,
    keys: usize,
    /// The revision at which this server's key was created.
    own_created: Option<i64>,
    total: Total,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Server {
    /// The revision at which its key was created.
    created: Option<i64>,
    chunks: BTreeMap<u32, Packed>,
}

/// The total in etcd.
#[derive(Debug, Default, PartialEq, Eq)]
struct Total {
    modified: i64,
    value: Option<usize>,
}

/// What to do after a change.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Consequences {
    /// This server's key is gone, but its lease was not revoked.
    pub(crate) own_is_gone: bool,
    pub(crate) left_out: LeftOut,
}

/// Entries under the servers' prefix that no server writes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// Number of keys that are neither a server's nor a chunk's, and the first of them.
    pub(crate) keys: (u64, Option<String>),
    /// Number of chunks that cannot be parsed, and the first of them.
    pub(crate) chunks: (u64, Option<String>),
}

impl LeftOut {
    fn add((count, first): &mut (u64, Option<String>), key: &[u8]) {
        *count += 1;
        first.get_or_insert_with(|| {
            String::from_utf8_lossy(key).escape_debug().take(EXAMPLE_CHARACTERS_MAX).collect()
        });
    }
}

/// There are more clients or keys than the limits allow.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

/// The owner of a key.
#[derive(Debug, PartialEq, Eq)]
enum Key<'a> {
    Total,
    Server(&'a str),
    Chunk(&'a str, u32),
    /// Not a server's.
    Foreign,
}

impl Key<'_> {
    fn read(key: &[u8]) -> Key<'_> {
        let Ok(key) = std::str::from_utf8(key) else { return Key::Foreign };
        if key == TOTAL {
            return Key::Total;
        }
        let Some(rest) = key.strip_prefix(SERVERS) else { return Key::Foreign };
        let (server, chunk) =
            rest.split_once('/').map_or((rest, None), |(server, chunk)| (server, Some(chunk)));
        if server.is_empty() || server.len() > SERVER_NAME_BYTES_MAX {
            return Key::Foreign;
        }
        match chunk.map(str::parse) {
            None => Key::Server(server),
            Some(Ok(number)) => Key::Chunk(server, number),
            Some(Err(_)) => Key::Foreign,
        }
    }
}

impl Others {
    pub(crate) fn new(own_id: &str) -> Self {
        Self { own_id: own_id.into(), known: Mutex::default(), wake: Arc::default() }
    }

    /// Wakes the registrar when there is something to write.
    pub(crate) fn wake(&self) -> &Arc<Wake> {
        &self.wake
    }

    /// Changes with every change of the view.
    pub(crate) fn version(&self) -> u64 {
        self.known.lock().version
    }

    /// Reads the view, if there is one.
    pub(crate) fn look<T>(&self, look: impl FnOnce(Option<&View>) -> T) -> T {
        look(self.known.lock().view.as_ref())
    }

    /// Replaces the view by a full list.
    pub(crate) fn replace(&self, list: List) -> Result<Consequences, TooMany> {
        let (mut view, mut left_out) = (View::default(), LeftOut::default());
        for entry in list.entries {
            view.put(&self.own_id, entry, &mut left_out);
            view.check()?;
        }
        let own_is_gone = view.own_created.is_none();
        let mut known = self.known.lock();
        known.view = Some(view);
        known.version += 1;
        Ok(Consequences { own_is_gone, left_out })
    }

    /// Applies changes in order.
    pub(crate) fn apply(&self, changes: Vec<Change>) -> Result<Consequences, TooMany> {
        let mut known = self.known.lock();
        let Some(view) = &mut known.view else { return Ok(Consequences::default()) };
        let (mut own_is_gone, mut left_out) = (false, LeftOut::default());
        for change in changes {
            match change {
                Change::Put(entry) => {
                    own_is_gone &= Key::read(&entry.key) != Key::Server(&self.own_id);
                    view.put(&self.own_id, entry, &mut left_out);
                }
                Change::Deleted(key, revision) => {
                    own_is_gone |= Key::read(&key) == Key::Server(&self.own_id);
                    view.delete(&self.own_id, &key, revision);
                }
            }
            view.check()?;
        }
        known.version += 1;
        Ok(Consequences { own_is_gone, left_out })
    }

    /// Drops the view.
    pub(crate) fn forget(&self) {
        let mut known = self.known.lock();
        if known.view.take().is_some() {
            known.version += 1;
        }
    }

    /// The total to write with `own` clients: if this server is the writer and etcd has another value.
    pub(super) fn total_due(&self, own: usize) -> Option<usize> {
        let known = self.known.lock();
        let view = known.view.as_ref().filter(|view| view.own_is_oldest())?;
        let total = own + view.clients;
        (view.total.value != Some(total)).then_some(total)
    }

    /// Notes that this server wrote the total at a revision.
    pub(super) fn total_written(&self, revision: i64, total: usize) {
        if let Some(view) = &mut self.known.lock().view {
            view.note_total(revision, Some(total));
        }
    }
}

impl View {
    /// The number of servers, this one included.
    pub(crate) fn servers(&self) -> usize {
        let others = self.servers.values().filter(|server| server.created.is_some()).count();
        others + usize::from(self.own_created.is_some())
    }

    /// How many clients the other servers have.
    pub(crate) fn len(&self) -> usize {
        self.clients
    }

    pub(crate) fn clients(&self) -> impl Iterator<Item = SocketAddr> {
        self.servers.values().flat_map(|server| server.chunks.values()).flat_map(Packed::clients)
    }

    fn own_is_oldest(&self) -> bool {
        self.own_created.is_some_and(|own| {
            self.servers.values().filter_map(|server| server.created).all(|created| created > own)
        })
    }

    fn check(&self) -> Result<(), TooMany> {
        if self.clients > CLIENTS_MAX || self.keys > KEYS_MAX { Err(TooMany) } else { Ok(()) }
    }

    fn note_total(&mut self, modified: i64, value: Option<usize>) {
        if modified >= self.total.modified {
            self.total = Total { modified, value };
        }
    }

    fn put(&mut self, own_id: &str, entry: Entry, left_out: &mut LeftOut) {
        match Key::read(&entry.key) {
            Key::Total => {
                let value = std::str::from_utf8(&entry.value).ok().and_then(|text| text.parse().ok());
                self.note_total(entry.modified, value);
            }
            Key::Server(server) if server == own_id => self.own_created = Some(entry.created),
            Key::Server(server) => {
                let server = self.servers.entry(server.into()).or_default();
                self.keys += usize::from(server.created.replace(entry.created).is_none());
            }
            Key::Chunk(server, _) if server == own_id => {}
            Key::Chunk(server, number) => {
                let Some(packed) = Packed::read(entry.value) else {
                    // From a server that packs differently: better left out than wrong.
                    LeftOut::add(&mut left_out.chunks, &entry.key);
                    return self.delete(own_id, &entry.key, entry.modified);
                };
                self.keys += 1;
                self.clients += packed.len();
                let server = self.servers.entry(server.into()).or_default();
                let before = server.chunks.insert(number, packed);
                self.forget_chunk(before.as_ref());
            }
            Key::Foreign if entry.key.starts_with(SERVERS.as_bytes()) => {
                LeftOut::add(&mut left_out.keys, &entry.key);
            }
            // Somebody else's use of `/sockets/`.
            Key::Foreign => {}
        }
    }

    fn delete(&mut self, own_id: &str, key: &[u8], revision: i64) {
        let server = match Key::read(key) {
            Key::Total => return self.note_total(revision, None),
            Key::Server(server) if server == own_id => return self.own_created = None,
            Key::Foreign => return,
            Key::Server(server) | Key::Chunk(server, _) => server,
        };
        let Some(held) = self.servers.get_mut(server) else { return };
        let gone = if let Key::Chunk(_, number) = Key::read(key) {
            held.chunks.remove(&number)
        } else {
            self.keys -= usize::from(held.created.take().is_some());
            None
        };
        if held.created.is_none() && held.chunks.is_empty() {
            self.servers.remove(server);
        }
        self.forget_chunk(gone.as_ref());
    }

    fn forget_chunk(&mut self, gone: Option<&Packed>) {
        self.keys -= usize::from(gone.is_some());
        self.clients -= gone.map_or(0, Packed::len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "own";

    fn entry(key: &str, value: impl Into<Box<[u8]>>, created: i64) -> Entry {
        Entry { key: key.as_bytes().into(), value: value.into(), created, modified: created }
    }

    fn server(name: &str, created: i64) -> Entry {
        entry(&format!("{SERVERS}{name}"), *b"1", created)
    }

    fn chunk(name: &str, number: u32, ports: std::ops::Range<u16>) -> Entry {
        let packed = Packed::of(ports.map(|port| ([10, 0, 0, 1], port).into()));
        entry(&format!("{SERVERS}{name}/{number}"), packed.bytes(), 1)
    }

    fn deleted(key: &str, revision: i64) -> Change {
        Change::Deleted(key.as_bytes().into(), revision)
    }

    fn gone(own_is_gone: bool) -> Consequences {
        Consequences { own_is_gone, ..Consequences::default() }
    }

    fn clients(others: &Others) -> Option<(usize, usize)> {
        others.look(|view| view.map(|view| (view.len(), view.clients().count())))
    }

    fn others(entries: Vec<Entry>) -> Others {
        let others = Others::new(OWN);
        others.replace(List { revision: 10, entries }).unwrap();
        others
    }

    #[test]
    fn clients_of_other_servers_come_and_go_with_their_keys() {
        let others = others(vec![
            server("a", 1),
            chunk("a", 0, 0..100),
            chunk("a", 7, 100..103),
            server(OWN, 2),
            chunk(OWN, 0, 0..50),
            entry("/sockets/other", *b"?", 3),
        ]);
        assert_eq!(clients(&others), Some((103, 103)));
        assert_eq!(others.look(|view| view.map(View::servers)), Some(2));
        let version = others.version();
        let again = vec![
            Change::Put(chunk("a", 0, 0..10)),
            Change::Put(chunk("b", 0, 0..1)),
            Change::Put(server("b", 9)),
        ];
        others.apply(again).unwrap();
        assert_eq!(clients(&others), Some((14, 14)));
        assert!(others.version() > version);
        let gone = ["a/0", "a", "a/7", "c"].map(|name| deleted(&format!("{SERVERS}{name}"), 12));
        others.apply(gone.into()).unwrap();
        assert_eq!(clients(&others), Some((1, 1)));
        others.look(|view| assert_eq!(view.map(|view| (view.keys, view.servers.len())), Some((2, 1))));
        others.forget();
        assert_eq!(clients(&others), None);
    }

    #[test]
    fn the_oldest_server_writes_the_total_until_etcd_has_it() {
        let others = others(vec![server("a", 5), chunk("a", 0, 0..3), server(OWN, 7)]);
        assert_eq!(others.total_due(4), None);
        others
            .apply(vec![deleted(&format!("{SERVERS}a"), 11), deleted(&format!("{SERVERS}a/0"), 11)])
            .unwrap();
        assert_eq!(others.total_due(4), Some(4));
        others.total_written(12, 4);
        assert_eq!(others.total_due(4), None);
        // What others write does not stay, and an event older than our write changes nothing.
        others.apply(vec![Change::Put(entry(TOTAL, *b"77", 11))]).unwrap();
        assert_eq!(others.total_due(4), None);
        for wrong in [&b"77"[..], b"", b"-1", b"\xff"] {
            others.apply(vec![Change::Put(entry(TOTAL, wrong, 13))]).unwrap();
            assert_eq!(others.total_due(4), Some(4), "{wrong:?}");
        }
        others.apply(vec![deleted(TOTAL, 14)]).unwrap();
        assert_eq!(others.total_due(4), Some(4));
        others.forget();
        assert_eq!(others.total_due(4), None);
    }

    #[test]
    fn a_server_notices_that_its_own_key_was_removed() {
        let others = others(vec![server(OWN, 5)]);
        let own = format!("{SERVERS}{OWN}");
        let taken = others.apply(vec![deleted(&own, 11)]).unwrap();
        assert_eq!(taken, gone(true));
        assert_eq!(others.total_due(4), None);
        let back = others.apply(vec![deleted(&own, 12), Change::Put(server(OWN, 13))]).unwrap();
        assert_eq!(back, gone(false));
        assert_eq!(others.replace(List { revision: 14, entries: vec![] }), Ok(gone(true)));
    }

    #[test]
    fn garbage_is_ignored() {
        let others = others(vec![server("a", 1), chunk("a", 0, 0..9)]);
        let before = clients(&others);
        let long = format!("{SERVERS}{}", "x".repeat(SERVER_NAME_BYTES_MAX + 1));
        for key in [
            SERVERS,
            "/sockets/presence//0",
            &long,
            "/sockets/presence/b/x",
            "/sockets/presence/b/0/0",
            "/sockets",
        ] {
            others.apply(vec![Change::Put(entry(key, *b"\0", 20)), deleted(key, 21)]).unwrap();
            assert_eq!(clients(&others), before, "{key}");
        }
        let rubbish =
            [vec![Change::Put(entry("\u{fffd}", *b"\0", 20))], vec![Change::Deleted((*b"\xff").into(), 22)]];
        for changes in rubbish {
            others.apply(changes).unwrap();
        }
        others.look(|view| assert_eq!(view.map(|view| view.keys), Some(2)));
        // A chunk that can no longer be read has no clients.
        others.apply(vec![Change::Put(entry(&format!("{SERVERS}a/0"), *b"rubbish", 23))]).unwrap();
        assert_eq!(clients(&others), Some((0, 0)));
    }

    #[test]
    fn ignored_entries_are_counted_and_named() {
        let chunk_key = format!("{SERVERS}a/0");
        let foreign = format!("{SERVERS}a/b\u{1b}[2J");
        let rubbish = || {
            vec![
                server("a", 1),
                chunk("a", 1, 0..9),
                entry(&chunk_key, *b"rubbish", 2),
                entry(&foreign, *b"?", 3),
                entry(&format!("{SERVERS}{}", "x".repeat(1000)), *b"1", 4),
                entry("/sockets/other", *b"?", 5),
            ]
        };
        let expected = LeftOut {
            keys: (2, Some(foreign.escape_debug().to_string())),
            chunks: (1, Some(chunk_key.clone())),
        };
        let others = Others::new(OWN);
        let listed = others.replace(List { revision: 10, entries: rubbish() }).unwrap();
        assert_eq!(listed.left_out, expected);
        let changed = others.apply(rubbish().into_iter().map(Change::Put).collect()).unwrap();
        assert_eq!(changed.left_out, expected);
        assert_eq!(others.apply(vec![deleted(&foreign, 12)]).unwrap().left_out, LeftOut::default());
    }

    #[test]
    fn more_clients_than_fit_are_an_error() {
        let chunks = |count: usize, ports: std::ops::Range<u16>| {
            let entries = (0..count).map(|number| chunk("a", number as u32, ports.clone())).collect();
            Others::new(OWN).replace(List { revision: 1, entries })
        };
        let full = super::super::CHUNK_CLIENTS_MAX;
        assert!(chunks(CLIENTS_MAX / full, 0..full as u16).is_ok());
        assert_eq!(chunks(CLIENTS_MAX / full + 1, 0..full as u16), Err(TooMany));
        assert_eq!(chunks(KEYS_MAX + 1, 0..0), Err(TooMany));
        let others = others(vec![]);
        let servers = (0..=KEYS_MAX).map(|number| Change::Put(server(&number.to_string(), 1))).collect();
        assert_eq!(others.apply(servers), Err(TooMany));
    }
}
