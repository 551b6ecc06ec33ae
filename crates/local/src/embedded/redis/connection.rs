//! One client: requests in, answers out, in order; and the messages of the channels it listens to.

use std::io;
use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::channels::Subscriber;
use super::resp::{self, Request, Version};
use super::store::Store;
use super::transaction::{Transaction, Watcher};
use super::{Database, commands};
use crate::embedded::guests::Guest;

/// Answers are written when they reach this size, or when no complete request is left.
const FLUSH_AT: usize = 64 * 1024;
/// Minimum size of a read.
const READ_MIN: usize = 4096;
/// Maximum length of a message, including its channel's name.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// A command's name is truncated to this.
const NAME_BYTES_MAX: usize = 64;

pub(super) async fn serve(stream: TcpStream, guest: Guest, database: Arc<Database>) -> io::Result<()> {
    let mut client = Client::new(database, guest.clone());
    client.converse(stream, &guest).await
}

pub(super) struct Client {
    database: Arc<Database>,
    guest: Guest,
    version: Version,
    /// Since the first `SUBSCRIBE`; with the signal that a message has arrived.
    listening: Option<(Subscriber, Arc<Notify>)>,
    /// Since `MULTI`.
    transaction: Option<Transaction>,
    /// Since the first `WATCH`.
    watcher: Option<Watcher>,
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some((subscriber, _)) = &self.listening {
            self.database.channels.lock().leave(*subscriber);
        }
        self.unwatch();
    }
}

/// What to do after a request.
#[derive(PartialEq, Eq)]
pub(super) enum Next {
    Read,
    Close,
}

impl Client {
    pub(super) fn new(database: Arc<Database>, guest: Guest) -> Self {
        Self {
            database,
            guest,
            version: Version::default(),
            listening: None,
            transaction: None,
            watcher: None,
        }
    }

    async fn converse(&mut self, mut stream: TcpStream, guest: &Guest) -> io::Result<()> {
        let (mut input, mut output) = (Vec::new(), Vec::new());
        let mut held = guest.hold();
        loop {
            // Answers are generated from here until they are counted.
            let turn = guest.turn().await;
            let mut used = 0;
            let mut next = Next::Read;
            let is_stuck = loop {
                if output.len() >= FLUSH_AT || next == Next::Close {
                    break false;
                }
                match resp::request(&input[used..]) {
                    Request::Incomplete => break true,
                    Request::Complete(words, length) => {
                        next = self.answer(&words, &mut output);
                        used += length;
                    }
                    Request::Broken(reason) => {
                        resp::error(&mut output, &format!("ERR Protocol error: {reason}"));
                        next = Next::Close;
                    }
                }
            };
            input.drain(..used);
            // An idle connection holds no buffer.
            if input.is_empty() {
                input = Vec::new();
            }
            if output.is_empty() {
                drop(turn);
            } else {
                held.set(input.capacity() + output.capacity()).await?;
                drop(turn);
                stream.write_all(&output).await?;
                output = Vec::new();
                guest.served();
            }
            if next == Next::Close {
                return Ok(());
            }
            held.set(input.capacity()).await?;
            if is_stuck {
                self.forward_until_readable(&mut stream, guest).await?;
                held.grow(&mut input, READ_MIN).await?;
                match stream.try_read_buf(&mut input) {
                    Ok(0) => return Ok(()),
                    // It may only have looked readable: continue with messages.
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                    _ => {}
                }
            }
        }
    }

    /// Writes messages until there is something to read.
    async fn forward_until_readable(&mut self, stream: &mut TcpStream, guest: &Guest) -> io::Result<()> {
        let Some((subscriber, arrived)) = &self.listening else {
            return stream.readable().await;
        };
        let mut held = guest.hold();
        loop {
            let length = self.database.channels.lock().next_length(*subscriber);
            let Some(length) = length else {
                held.shrink(0);
                tokio::select! {
                    readable = stream.readable() => return readable,
                    () = arrived.notified() => {}
                }
                continue;
            };
            // Until this is granted, the message counts as pending.
            held.set(length).await?;
            let message = self.database.channels.lock().next(*subscriber);
            let Some(message) = message else { continue };
            match self.version {
                Version::Two => stream.write_all(&message).await?,
                // It is the same except for its first byte.
                Version::Three => {
                    stream.write_all(&[&[resp::push(self.version)], &message[1..]].concat()).await?;
                }
            }
            guest.served();
            // Also while messages arrive faster than they are written.
            tokio::select! {
                biased;
                readable = stream.readable() => return readable,
                () = std::future::ready(()) => {}
            }
        }
    }

    pub(super) fn answer(&mut self, words: &[&[u8]], output: &mut Vec<u8>) -> Next {
        let Some((name, arguments)) = words.split_first() else { return Next::Read };
        // A longer name is not a command, and is not repeated in full.
        let name = String::from_utf8_lossy(&name[..name.len().min(NAME_BYTES_MAX)]).to_uppercase();
        match (&*name, arguments) {
            ("QUIT", _) => {
                resp::simple(output, "OK");
                return Next::Close;
            }
            ("EXEC", []) if self.transaction.is_some() => self.execute(output),
            ("DISCARD", []) if self.transaction.is_some() => {
                self.transaction = None;
                self.unwatch();
                resp::simple(output, "OK");
            }
            _ if self.transaction.is_some() => self.queue(&name, arguments, output),
            ("SUBSCRIBE", [_, ..]) => self.subscribe(arguments, output),
            ("UNSUBSCRIBE", _) => self.unsubscribe(arguments, output),
            // Among messages, a bare PONG would look like one of them.
            ("PING", _) if self.is_restricted() => {
                resp::array_of(output, 2);
                resp::bulk(output, b"pong");
                resp::bulk(output, arguments.first().copied().unwrap_or_default());
            }
            _ if self.is_restricted() => {
                let refusal = format!(
                    "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
                     this context",
                    name.to_lowercase()
                );
                resp::error(output, &refusal);
            }
            ("HELLO", _) => self.hello(arguments, output),
            ("MULTI", []) => {
                self.transaction = Some(Transaction::new(Arc::clone(&self.database.waiting)));
                resp::simple(output, "OK");
            }
            ("EXEC" | "DISCARD", []) => resp::error(output, &format!("ERR {name} without MULTI")),
            ("WATCH", [_, ..]) => self.watch(arguments, output),
            ("UNWATCH", []) => {
                self.unwatch();
                resp::simple(output, "OK");
            }
            ("PUBLISH", [channel, payload]) => self.publish(channel, payload, output),
            _ => run_on(&mut self.database.store.lock(), &name, arguments, output, self.version),
        }
        Next::Read
    }

    fn queue(&mut self, name: &str, arguments: &[&[u8]], output: &mut Vec<u8>) {
        // These two are refused without affecting queued commands.
        let nested = match name {
            "MULTI" => Some("ERR MULTI calls can not be nested"),
            "WATCH" => Some("ERR WATCH inside MULTI is not allowed"),
            _ => None,
        };
        if let Some(refusal) = nested {
            return resp::error(output, refusal);
        }
        let refusal = match name {
            "SUBSCRIBE" | "UNSUBSCRIBE" | "HELLO" => {
                Err(format!("ERR playctl's embedded Redis does not queue '{}'", name.to_lowercase()))
            }
            _ => commands::check(name, arguments),
        };
        if let Some(transaction) = &mut self.transaction {
            transaction.queue(name, arguments, refusal, output);
        }
    }

    /// Runs the queued commands, unless a watched key has changed. No other client's command runs in between.
    fn execute(&mut self, output: &mut Vec<u8>) {
        let Some(commands) = self.transaction.take().map(Transaction::take) else { return };
        let mut store = self.database.store.lock();
        // An expired watched key counts as changed.
        store.expire(clock::now());
        let has_changed = self.watcher.is_some_and(|watcher| store.watches.end(watcher));
        let Some(commands) = commands else {
            return resp::error(output, "EXECABORT Transaction discarded because of previous errors.");
        };
        if has_changed {
            return resp::no_array(output, self.version);
        }
        resp::array_of(output, commands.len());
        for (name, arguments) in &commands {
            if output.len() > commands::ANSWER_BYTES_MAX {
                resp::error(output, "OOM the answer has too many bytes already; this command was not run");
                continue;
            }
            let arguments: Vec<&[u8]> = arguments.iter().map(|word| &**word).collect();
            match (name.as_str(), &arguments[..]) {
                ("PUBLISH", [channel, payload]) => self.publish(channel, payload, output),
                ("UNWATCH", []) => resp::simple(output, "OK"),
                _ => run_on(&mut store, name, &arguments, output, self.version),
            }
        }
    }

    fn publish(&self, channel: &[u8], payload: &[u8], output: &mut Vec<u8>) {
        if channel.len() + payload.len() > MESSAGE_BYTES_MAX {
            return resp::error(output, &format!("ERR a message has at most {MESSAGE_BYTES_MAX} bytes here"));
        }
        let mut message = Vec::new();
        resp::array_of(&mut message, 3);
        for part in [b"message", channel, payload] {
            resp::bulk(&mut message, part);
        }
        let received = self.database.channels.lock().publish(channel, &message.into());
        resp::integer(output, received as i64);
    }

    fn watch(&mut self, keys: &[&[u8]], output: &mut Vec<u8>) {
        let mut store = self.database.store.lock();
        // An expired key does not exist, and its removal is not a change.
        store.expire(clock::now());
        let watcher = *self.watcher.get_or_insert_with(|| store.watches.enter());
        if keys.iter().all(|key| commands::is_key(key) && store.watches.watch(watcher, key)) {
            resp::simple(output, "OK");
        } else {
            resp::error(output, "OOM too many or too long keys are watched");
        }
    }

    fn unwatch(&mut self) {
        if let Some(watcher) = self.watcher {
            self.database.store.lock().watches.end(watcher);
        }
    }

    /// Sets the version of the answers from this one on.
    fn hello(&mut self, arguments: &[&[u8]], output: &mut Vec<u8>) {
        match commands::hello(arguments) {
            Ok(version) => self.version = version.unwrap_or(self.version),
            Err(refusal) => return resp::error(output, &refusal),
        }
        resp::map_of(output, 5, self.version);
        for (key, value) in
            [("server", "redis"), ("version", concat!("7.0.0-playctl-", env!("CARGO_PKG_VERSION")))]
        {
            resp::bulk(output, key.as_bytes());
            resp::bulk(output, value.as_bytes());
        }
        resp::bulk(output, b"proto");
        resp::integer(output, if self.version == Version::Three { 3 } else { 2 });
        for (key, value) in [("mode", "standalone"), ("role", "master")] {
            resp::bulk(output, key.as_bytes());
            resp::bulk(output, value.as_bytes());
        }
    }

    /// Whether only a few commands are allowed: in version 2 an answer could be taken for a message.
    fn is_restricted(&self) -> bool {
        self.version == Version::Two && self.is_listening()
    }

    fn is_listening(&self) -> bool {
        let listening = self.listening.as_ref();
        listening.is_some_and(|(subscriber, _)| self.database.channels.lock().is_listening(*subscriber))
    }

    fn subscribe(&mut self, channels: &[&[u8]], output: &mut Vec<u8>) {
        let mut table = self.database.channels.lock();
        let (subscriber, _) = self.listening.get_or_insert_with(|| table.enter(self.guest.clone()));
        for channel in channels {
            let is_name = commands::is_key(channel);
            let Some(count) = is_name.then(|| table.subscribe(*subscriber, channel)).flatten() else {
                return resp::error(output, "OOM too many or too long channels are subscribed to");
            };
            confirm(b"subscribe", Some(channel), count, output, self.version);
        }
    }

    fn unsubscribe(&self, channels: &[&[u8]], output: &mut Vec<u8>) {
        let mut table = self.database.channels.lock();
        let Some((subscriber, _)) = &self.listening else {
            return confirm(b"unsubscribe", None, 0, output, self.version);
        };
        let present = table.channels_of(*subscriber);
        let all: Vec<&[u8]> = present.iter().map(|channel| &**channel).collect();
        let channels = if channels.is_empty() { &all } else { channels };
        if channels.is_empty() {
            confirm(b"unsubscribe", None, 0, output, self.version);
        }
        for channel in channels {
            let count = table.unsubscribe(*subscriber, channel);
            confirm(b"unsubscribe", Some(channel), count, output, self.version);
        }
    }
}

/// Answers a command on keys, or says why not.
fn run_on(store: &mut Store, name: &str, arguments: &[&[u8]], output: &mut Vec<u8>, version: Version) {
    let before = output.len();
    if let Err(refusal) = commands::run(name, arguments, store, clock::now(), output, version) {
        output.truncate(before);
        resp::error(output, &refusal);
    }
}

fn confirm(what: &[u8], channel: Option<&[u8]>, count: usize, output: &mut Vec<u8>, version: Version) {
    resp::push_of(output, 3, version);
    resp::bulk(output, what);
    match channel {
        Some(channel) => resp::bulk(output, channel),
        None => resp::nil(output, version),
    }
    resp::integer(output, count as i64);
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::embedded::guests::{Limits, Room};

    #[tokio::test]
    async fn a_request_is_read_while_messages_wait() {
        let database = Arc::new(Database {
            store: parking_lot::Mutex::new(Store::new(1024)),
            channels: parking_lot::Mutex::default(),
            waiting: super::super::Waiting::default(),
        });
        let room = Arc::new(Room::new(Limits { connections: 1, bytes: 1024 * 1024 }));
        let (guest, _) = Guest::enter(&room);
        let mut client = Client::new(Arc::clone(&database), guest.clone());
        client.subscribe(&[b"c"], &mut Vec::new());
        for _ in 0..100 {
            assert_eq!(database.channels.lock().publish(b"c", &(*b"message").into()), 1);
        }

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut other_end = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        other_end.write_all(b"PING\r\n").await.unwrap();
        stream.readable().await.unwrap();
        client.forward_until_readable(&mut stream, &guest).await.unwrap();
        let (subscriber, _) = client.listening.as_ref().unwrap();
        let left = std::iter::from_fn(|| database.channels.lock().next(*subscriber)).count();
        assert_eq!(left, 99, "one goes out before it is seen");
    }
}
