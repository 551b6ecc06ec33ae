//! Who is connected, over all workers: the answer to `WHO` and the number of connections.
//!
//! Locked when a client comes or goes and when `WHO` is asked, never for a message.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use slab::Slab;

/// With more clients than this the list is rendered at most once per [`RENDER_INTERVAL`]; with fewer it is always
/// up to date.
const SMALL_CLIENTS_MAX: usize = 1000;
const RENDER_INTERVAL: Duration = Duration::from_millis(100);

/// A client's place in the roster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(u32);

#[derive(Default)]
struct Inner {
    clients: Slab<SocketAddr>,
    rendered: Option<Rendered>,
}

struct Rendered {
    text: Arc<[u8]>,
    at: Instant,
    /// Nobody has come or gone since.
    current: bool,
}

/// All clients of this server.
#[derive(Default)]
pub(crate) struct Roster(Mutex<Inner>);

impl Roster {
    pub(crate) fn enter(&self, client: SocketAddr) -> Place {
        let mut inner = self.0.lock();
        inner.changed();
        Place(inner.clients.insert(client) as u32)
    }

    pub(crate) fn leave(&self, place: Place) {
        let mut inner = self.0.lock();
        inner.changed();
        inner.clients.try_remove(place.0 as usize);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().clients.len()
    }

    /// The answer to `WHO` followed by a line end, shared by all who ask while it is valid.
    pub(crate) fn render(&self, now: Instant) -> Arc<[u8]> {
        let mut inner = self.0.lock();
        let many = inner.clients.len() > SMALL_CLIENTS_MAX;
        if let Some(rendered) = &inner.rendered {
            let fresh = now.saturating_duration_since(rendered.at) < RENDER_INTERVAL;
            if rendered.current || (many && fresh) {
                return Arc::clone(&rendered.text);
            }
        }
        let mut text = protocol::reply::client_list(inner.clients.iter().map(|(_, client)| client));
        text.push(b'\n');
        let text: Arc<[u8]> = text.into();
        inner.rendered = Some(Rendered { text: Arc::clone(&text), at: now, current: true });
        text
    }
}

impl Inner {
    fn changed(&mut self) {
        match &mut self.rendered {
            // A small list is rendered again anyway: do not keep it.
            Some(_) if self.clients.len() <= SMALL_CLIENTS_MAX => self.rendered = None,
            Some(rendered) => rendered.current = false,
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn client(port: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, port).into()
    }

    #[test]
    fn a_small_list_is_always_up_to_date() {
        let roster = Roster::default();
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
        let roster = Roster::default();
        let now = clock::now();
        roster.enter(client(1));
        let first = roster.render(now);
        assert!(Arc::ptr_eq(&first, &roster.render(now + Duration::from_hours(1))));
    }

    #[test]
    fn a_long_list_is_rendered_at_most_once_per_interval() {
        let roster = Roster::default();
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
}
