//! A load's events for open pages, wherever it was started.
//!
//! A page listens at a socket in the user's own runtime directory, and a load sends each of its events there as a
//! datagram. The platform is not involved: without a page, a load looks into an empty directory once a second, and a
//! page that does not keep up loses events.

use std::{
    fs, io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use platform::{Event, EventKind};

use crate::{
    control::{bind_datagram, connect_datagram},
    paths::{Paths, private_directory},
};

/// Maximum length of an event; the kernel accepts slightly more.
const EVENT_BYTES_MAX: usize = 160 * 1024;
/// Maximum number of pages per load.
const PAGES_MAX: usize = 8;
/// How often a load checks for new pages.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A page's end, removed when it is dropped.
#[derive(Debug)]
pub struct Ear {
    path: PathBuf,
    socket: UnixDatagram,
}

impl Ear {
    /// Listens to loads of the platform with this `key`.
    ///
    /// # Errors
    /// The runtime directory cannot be used.
    pub fn open(key: &str) -> io::Result<Self> {
        let folder = Paths::from_env().pages();
        private_directory(&folder)?;
        Self::open_in(&folder, key)
    }

    fn open_in(folder: &Path, key: &str) -> io::Result<Self> {
        let path = folder.join(format!("{key}.{}", std::process::id()));
        // Remains of killed pages, and of an earlier process with this number.
        Voice::to(folder.to_owned(), key).look();
        drop(fs::remove_file(&path));
        Ok(Self { socket: bind_datagram(&path)?, path })
    }

    /// The next event; waits for it.
    ///
    /// # Errors
    /// The socket broke, or the input is not an event: then the next may be one again.
    pub fn next(&self) -> io::Result<Event> {
        let mut datagram = vec![0; EVENT_BYTES_MAX];
        let length = self.socket.recv(&mut datagram)?;
        serde_json::from_slice(&datagram[..length]).map_err(io::Error::from)
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.path));
    }
}

/// Removes the socket of this process, whose ear may be waiting in another thread: call it when the process ends.
pub fn deafen(key: &str) {
    drop(fs::remove_file(Paths::from_env().pages().join(format!("{key}.{}", std::process::id()))));
}

/// A load's end.
#[derive(Debug)]
pub struct Voice {
    folder: PathBuf,
    /// Prefix of the sockets' names.
    prefix: String,
    looked: Option<Instant>,
    pages: Vec<(PathBuf, UnixDatagram)>,
    /// Sent first to a page that arrives later.
    began: Option<Event>,
}

impl Voice {
    /// Sends events to the pages of the platform with this `key`.
    pub fn new(key: &str) -> Self {
        Self::to(Paths::from_env().pages(), key)
    }

    fn to(folder: PathBuf, key: &str) -> Self {
        Self { folder, prefix: format!("{key}."), looked: None, pages: Vec::new(), began: None }
    }

    /// Removes the sockets of ended pages, at which nobody listens.
    pub fn sweep(key: &str) {
        Self::new(key).look();
    }

    /// Sends the next event. Never blocks: a page that has not read the previous ones misses this.
    pub fn tell(&mut self, event: &Event) {
        let now = clock::now();
        if self.looked.is_none_or(|looked| now.duration_since(looked) >= LOOK_EVERY) {
            self.looked = Some(now);
            self.look();
        }
        if matches!(event.kind, EventKind::LoadStarted { .. }) {
            self.began = Some(event.clone());
        }
        self.pages.retain(|(path, page)| is_there(path, send(page, event)));
    }

    fn look(&mut self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let is_ours = path.file_name().and_then(|name| name.to_str());
            let is_ours = is_ours.is_some_and(|name| name.starts_with(&self.prefix));
            if !is_ours || self.pages.len() >= PAGES_MAX || self.pages.iter().any(|(known, _)| *known == path)
            {
                continue;
            }
            let page = connect_datagram(&path).and_then(|page| page.set_nonblocking(true).map(|()| page));
            let told = page.and_then(|page| match &self.began {
                Some(began) => send(&page, began).map(|()| page),
                None => Ok(page),
            });
            match told {
                Ok(page) => self.pages.push((path, page)),
                Err(error) => drop(is_there(&path, Err(error))),
            }
        }
    }
}

fn send(page: &UnixDatagram, event: &Event) -> io::Result<()> {
    page.send(&serde_json::to_vec(event)?).map(drop)
}

/// Whether anybody listens at this socket. A killed page leaves one without a listener.
fn is_there(path: &Path, sent: io::Result<()>) -> bool {
    match sent {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            drop(fs::remove_file(path));
            false
        }
        // It has not read the last ones yet, or this one is too long.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use platform::event::{Source, Stamper};
    use uuid::Uuid;

    use super::*;

    fn warning(text: &str) -> EventKind {
        EventKind::Warning { message: text.to_owned() }
    }

    #[test]
    fn late_pages_still_get_their_platforms_loads_and_block_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let mut stamper = Stamper::new(Uuid::nil(), Source::Load, Timestamp::UNIX_EPOCH);
        let mut voice = Voice::to(folder.path().to_owned(), "one");
        let began = stamper.stamp(0, EventKind::LoadStarted { plan: plan() });
        voice.tell(&began);

        let (ear, other) =
            (Ear::open_in(folder.path(), "one").unwrap(), Ear::open_in(folder.path(), "two").unwrap());
        voice.looked = None;
        let first = stamper.stamp(1, warning("first"));
        voice.tell(&first);
        assert_eq!((ear.next().unwrap(), ear.next().unwrap()), (began, first));
        other.socket.set_nonblocking(true).unwrap();
        assert_eq!(other.next().unwrap_err().kind(), io::ErrorKind::WouldBlock);

        // Far more than the kernel keeps for a page that does not read.
        for number in 0..10_000 {
            voice.tell(&stamper.stamp(number, warning("unread")));
        }
        assert_eq!(voice.pages.len(), 1);

        // The next load, and the next page, remove what a killed page leaves.
        let left = folder.path().join("one.1");
        drop(bind_datagram(&left).unwrap());
        drop(ear);
        voice.looked = None;
        voice.tell(&stamper.stamp(2, warning("to nobody")));
        assert!(!left.exists() && voice.pages.is_empty(), "{voice:?}");
        drop(bind_datagram(&left).unwrap());
        let _ear = Ear::open_in(folder.path(), "one").unwrap();
        assert!(!left.exists());
    }

    fn plan() -> platform::event::LoadPlan {
        serde_json::from_value(serde_json::json!({
            "name": "load", "protocol": "tcp", "target": "127.0.0.1:1", "connections": 1, "connect_interval_us": 1,
            "message_interval_ms": null, "payload": "", "duration_ms": 1, "duration_from_ramp": false,
        }))
        .unwrap()
    }
}
