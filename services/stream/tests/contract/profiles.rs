//! A server that answers `GET /profiles/{id}` like `profiles`.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use parking_lot::Mutex;

/// Profiles and their users, and how the server currently answers.
#[derive(Debug, Default)]
struct State {
    profiles: BTreeMap<String, Vec<String>>,
    mood: Mood,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    #[default]
    Well,
    /// 503, as during an outage of Cassandra.
    Away,
    /// Accepts requests and never answers.
    Silent,
    /// Answers with something else.
    Strange,
}

/// Runs until the test ends.
pub(crate) struct Profiles {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Profiles {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::<Mutex<State>>::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || answer(stream, &shared));
            }
        });
        Self { address, state }
    }

    /// Binds a user to a profile.
    pub(crate) fn bind(&self, user: &str, profile: &str) {
        let mut state = self.state.lock();
        state.profiles.entry(profile.into()).or_default().push(user.into());
    }

    pub(crate) fn is(&self, mood: Mood) {
        self.state.lock().mood = mood;
    }
}

fn answer(mut stream: TcpStream, state: &Mutex<State>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(request)) = lines.next() else { return };
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    while let Some(Ok(line)) = lines.next() {
        if line.is_empty() {
            break;
        }
    }
    let (status, body) = {
        let state = state.lock();
        let id = path.strip_prefix("/profiles/").unwrap_or_default();
        match (state.mood, state.profiles.get(id)) {
            (Mood::Silent, _) => {
                drop(state);
                // Wait until the other side gives up.
                while let Some(Ok(_)) = lines.next() {}
                return;
            }
            (Mood::Away, _) => ("503 Service Unavailable", String::new()),
            (Mood::Strange, _) => ("200 OK", "<html>".into()),
            (Mood::Well, Some(users)) => {
                ("200 OK", serde_json::json!({ "id": id, "users": users }).to_string())
            }
            (Mood::Well, None) => ("404 Not Found", String::new()),
        }
    };
    let length = body.len();
    // The client may be gone.
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
}
