//! Messages for current subscribers.
//!
//! Subscriptions and pending messages are bounded over all clients; at the limit on messages, the client with the most
//! pending bytes is dropped.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::Notify;

use crate::embedded::guests::Guest;

/// Maximum number of messages pending for one subscriber. One that falls further behind is dropped, as by a real Redis.
const WAITING_MAX: usize = 1024;
/// Limit on the bytes of pending messages, over all subscribers; a message for several counts once, because it is
/// stored once.
const WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Maximum number of subscriptions over all clients.
const SUBSCRIPTIONS_MAX: usize = 16_384;

/// A message in the format written to subscribers.
pub(super) type Message = Arc<[u8]>;

/// A pending message, shared only by the subscribers it is for: the last one to take it releases its bytes.
type Waiting = Arc<Message>;

/// A connection that can subscribe.
pub(super) type Subscriber = u64;

#[derive(Debug)]
struct Subscriptions {
    guest: Guest,
    channels: BTreeSet<Box<[u8]>>,
    waiting: VecDeque<Waiting>,
    /// Bytes of its pending messages.
    bytes: usize,
    arrived: Arc<Notify>,
}

#[derive(Debug, Default)]
pub(super) struct Channels {
    last: Subscriber,
    subscribers: HashMap<Subscriber, Subscriptions>,
    by_channel: HashMap<Box<[u8]>, BTreeSet<Subscriber>>,
    /// Over all subscribers.
    subscriptions: usize,
    /// Bytes of pending messages, each counted once.
    bytes: usize,
}

impl Channels {
    #[cfg(feature = "fuzzing")]
    pub(super) fn is_empty(&self) -> bool {
        self.subscribers.is_empty()
            && self.by_channel.is_empty()
            && (self.subscriptions, self.bytes) == (0, 0)
    }

    /// Registers a connection without subscriptions; returns also the signal that a message has arrived.
    pub(super) fn enter(&mut self, guest: Guest) -> (Subscriber, Arc<Notify>) {
        self.last += 1;
        let arrived = Arc::new(Notify::new());
        let subscriptions = Subscriptions {
            guest,
            channels: BTreeSet::new(),
            waiting: VecDeque::new(),
            bytes: 0,
            arrived: Arc::clone(&arrived),
        };
        self.subscribers.insert(self.last, subscriptions);
        (self.last, arrived)
    }

    /// Returns the subscriber's number of channels; `None`: there is no room for another.
    pub(super) fn subscribe(&mut self, subscriber: Subscriber, channel: &[u8]) -> Option<usize> {
        let subscriptions = self.subscribers.get_mut(&subscriber)?;
        if !subscriptions.channels.contains(channel) {
            if self.subscriptions == SUBSCRIPTIONS_MAX {
                return None;
            }
            self.subscriptions += 1;
            subscriptions.channels.insert(channel.into());
            self.by_channel.entry(channel.into()).or_default().insert(subscriber);
        }
        Some(subscriptions.channels.len())
    }

    /// Returns the subscriber's remaining number of channels.
    pub(super) fn unsubscribe(&mut self, subscriber: Subscriber, channel: &[u8]) -> usize {
        let Some(subscriptions) = self.subscribers.get_mut(&subscriber) else { return 0 };
        let was_there = subscriptions.channels.remove(channel);
        let left = subscriptions.channels.len();
        if was_there {
            self.forget(subscriber, channel);
        }
        left
    }

    pub(super) fn is_listening(&self, subscriber: Subscriber) -> bool {
        self.subscribers.get(&subscriber).is_some_and(|subscriptions| !subscriptions.channels.is_empty())
    }

    pub(super) fn channels_of(&self, subscriber: Subscriber) -> Vec<Box<[u8]>> {
        let subscriptions = self.subscribers.get(&subscriber);
        subscriptions.map_or_else(Vec::new, |subscriptions| subscriptions.channels.iter().cloned().collect())
    }

    /// Length of a subscriber's next message.
    pub(super) fn next_length(&self, subscriber: Subscriber) -> Option<usize> {
        let next = self.subscribers.get(&subscriber)?.waiting.front();
        next.map(|message| message.len())
    }

    /// The next message for a subscriber.
    pub(super) fn next(&mut self, subscriber: Subscriber) -> Option<Message> {
        let subscriptions = self.subscribers.get_mut(&subscriber)?;
        let waiting = subscriptions.waiting.pop_front()?;
        let message = Message::clone(&waiting);
        subscriptions.bytes -= message.len();
        self.give_back(waiting);
        Some(message)
    }

    /// Releases a message that no longer waits for this subscriber.
    fn give_back(&mut self, waiting: Waiting) {
        if let Some(message) = Arc::into_inner(waiting) {
            self.bytes -= message.len();
        }
    }

    /// A connection has left or was dropped.
    pub(super) fn leave(&mut self, subscriber: Subscriber) {
        if let Some(subscriptions) = self.subscribers.remove(&subscriber) {
            for waiting in subscriptions.waiting {
                self.give_back(waiting);
            }
            for channel in &subscriptions.channels {
                self.forget(subscriber, channel);
            }
        }
    }

    fn forget(&mut self, subscriber: Subscriber, channel: &[u8]) {
        self.subscriptions -= 1;
        if let Some(listeners) = self.by_channel.get_mut(channel) {
            listeners.remove(&subscriber);
            if listeners.is_empty() {
                self.by_channel.remove(channel);
            }
        }
    }

    /// Ends its connection, even while a message is being written to it, and releases its pending messages.
    fn let_go(&mut self, subscriber: Subscriber) {
        if let Some(subscriptions) = self.subscribers.get(&subscriber) {
            subscriptions.guest.tell_to_leave();
        }
        self.leave(subscriber);
    }

    /// Returns how many received the message. Drops subscribers that have stopped reading.
    pub(super) fn publish(&mut self, channel: &[u8], message: &Message) -> usize {
        let listeners: Vec<Subscriber> =
            self.by_channel.get(channel).into_iter().flatten().copied().collect();
        if listeners.is_empty() {
            return 0;
        }
        while self.bytes + message.len() > WAITING_BYTES_MAX {
            let Some(most) = self.most_behind() else { break };
            self.let_go(most);
        }
        let shared = Waiting::new(Arc::clone(message));
        self.bytes += message.len();
        let mut received = 0;
        for subscriber in listeners {
            // It may just have been dropped itself.
            let Some(subscriptions) = self.subscribers.get_mut(&subscriber) else { continue };
            if subscriptions.waiting.len() == WAITING_MAX {
                self.let_go(subscriber);
                continue;
            }
            subscriptions.waiting.push_back(Arc::clone(&shared));
            subscriptions.bytes += message.len();
            subscriptions.arrived.notify_one();
            received += 1;
        }
        self.give_back(shared);
        received
    }

    /// The subscriber with the most pending bytes, if any.
    fn most_behind(&self) -> Option<Subscriber> {
        let behind = self.subscribers.iter().filter(|(_, subscriptions)| subscriptions.bytes > 0);
        behind
            .max_by_key(|(subscriber, subscriptions)| (subscriptions.bytes, **subscriber))
            .map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::guests::{Limits, Room};

    fn message() -> Message {
        Message::from(&b"x"[..])
    }

    /// Registers subscribing connections; returns also the signal that tells each to leave.
    fn enter(channels: &mut Channels, room: &Arc<Room>) -> (Subscriber, Arc<Notify>) {
        let (guest, leave) = Guest::enter(room);
        (channels.enter(guest).0, leave)
    }

    fn room() -> Arc<Room> {
        Arc::new(Room::new(Limits { connections: 1024, bytes: 1024 }))
    }

    #[test]
    fn messages_reach_present_subscribers_only() {
        let (mut channels, room) = (Channels::default(), room());
        assert_eq!(channels.publish(b"c", &message()), 0);
        let (one, _) = enter(&mut channels, &room);
        let (two, _) = enter(&mut channels, &room);
        assert_eq!(channels.subscribe(one, b"c"), Some(1));
        assert_eq!(channels.subscribe(one, b"c"), Some(1));
        assert_eq!(channels.subscribe(one, b"d"), Some(2));
        assert_eq!(channels.subscribe(two, b"c"), Some(1));
        assert_eq!(channels.publish(b"c", &message()), 2);
        assert_eq!(channels.unsubscribe(one, b"c"), 1);
        assert_eq!(channels.unsubscribe(one, b"c"), 1);
        assert_eq!(channels.publish(b"c", &message()), 1);
        assert!(channels.next(one).is_some() && channels.next(one).is_none());
        assert!(channels.next(two).is_some() && channels.next(two).is_some() && channels.next(two).is_none());
        channels.leave(two);
        channels.leave(one);
        assert_eq!(channels.publish(b"c", &message()), 0);
        assert!(channels.by_channel.is_empty() && channels.subscribers.is_empty());
        assert_eq!((channels.subscriptions, channels.bytes), (0, 0));
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_disconnected() {
        let (mut channels, room) = (Channels::default(), room());
        let (slow, told) = enter(&mut channels, &room);
        let (quick, _) = enter(&mut channels, &room);
        channels.subscribe(slow, b"c");
        channels.subscribe(quick, b"c");
        for _ in 0..WAITING_MAX {
            assert_eq!(channels.publish(b"c", &message()), 2);
            channels.next(quick).unwrap();
        }
        assert_eq!(channels.publish(b"c", &message()), 1);
        told.notified().await;
        assert!(channels.next(slow).is_none());
    }

    #[tokio::test]
    async fn few_large_messages_count_like_many_small_ones() {
        let (mut channels, room) = (Channels::default(), room());
        let large = Message::from(vec![0; 64 * 1024]);
        let (slow, told) = enter(&mut channels, &room);
        let (quick, _) = enter(&mut channels, &room);
        channels.subscribe(slow, b"c");
        channels.subscribe(quick, b"c");
        let mut published = 0;
        while channels.is_listening(slow) {
            assert!(channels.publish(b"c", &large) > 0);
            assert!(channels.bytes <= WAITING_BYTES_MAX);
            channels.next(quick).unwrap();
            published += 1;
        }
        assert_eq!(published, WAITING_BYTES_MAX / large.len() + 1, "there is no room for the last one");
        told.notified().await;
        assert_eq!((channels.publish(b"c", &large), channels.bytes), (1, large.len()));
    }

    #[test]
    fn a_message_to_many_counts_once() {
        let (mut channels, room) = (Channels::default(), room());
        let large = Message::from(vec![0; 64 * 1024]);
        let all: Vec<Subscriber> = (0..1000).map(|_| enter(&mut channels, &room).0).collect();
        for one in &all {
            channels.subscribe(*one, b"c");
        }
        for times in 1..=3 {
            assert_eq!(channels.publish(b"c", &large), all.len(), "nobody is let go");
            assert_eq!(channels.bytes, times * large.len());
        }
        let (last, others) = all.split_last().unwrap();
        for one in others {
            channels.next(*one).unwrap();
        }
        assert_eq!(channels.bytes, 3 * large.len(), "it still waits for one");
        channels.next(*last).unwrap();
        assert_eq!(channels.bytes, 2 * large.len());
        for one in all {
            channels.leave(one);
        }
        assert_eq!(channels.bytes, 0);
    }

    #[test]
    fn all_subscriptions_share_one_bound() {
        let (mut channels, room) = (Channels::default(), room());
        let (one, _) = enter(&mut channels, &room);
        let (two, _) = enter(&mut channels, &room);
        for number in 0..SUBSCRIPTIONS_MAX {
            assert_eq!(channels.subscribe(one, number.to_string().as_bytes()), Some(number + 1));
        }
        assert_eq!(channels.subscribe(two, b"one more"), None);
        assert_eq!(channels.subscribe(one, b"0"), Some(SUBSCRIPTIONS_MAX));
        channels.leave(one);
        assert_eq!(channels.subscribe(two, b"one more"), Some(1));
    }
}
