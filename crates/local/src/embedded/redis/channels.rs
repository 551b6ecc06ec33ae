//! Messages for those who listen at the moment.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tokio::sync::mpsc;

/// Messages that may wait for one subscriber. A subscriber that falls behind further is let go, as by a real Redis.
const WAITING_MAX: usize = 1024;

/// A message, as it is written to a subscriber.
pub(super) type Message = Arc<[u8]>;

/// A connection that can subscribe.
pub(super) type Subscriber = u64;

#[derive(Debug)]
struct Subscriptions {
    messages: mpsc::Sender<Message>,
    channels: BTreeSet<Box<[u8]>>,
}

#[derive(Debug, Default)]
pub(super) struct Channels {
    last: Subscriber,
    subscribers: HashMap<Subscriber, Subscriptions>,
    by_channel: HashMap<Box<[u8]>, BTreeSet<Subscriber>>,
}

impl Channels {
    /// A connection that listens to nothing yet. Its messages come out of the receiver, which ends when it is let go.
    pub(super) fn enter(&mut self) -> (Subscriber, mpsc::Receiver<Message>) {
        self.last += 1;
        let (messages, receiver) = mpsc::channel(WAITING_MAX);
        self.subscribers.insert(self.last, Subscriptions { messages, channels: BTreeSet::new() });
        (self.last, receiver)
    }

    /// Returns to how many channels the subscriber listens.
    pub(super) fn subscribe(&mut self, subscriber: Subscriber, channel: &[u8]) -> usize {
        let Some(subscriptions) = self.subscribers.get_mut(&subscriber) else { return 0 };
        subscriptions.channels.insert(channel.into());
        self.by_channel.entry(channel.into()).or_default().insert(subscriber);
        subscriptions.channels.len()
    }

    /// Returns to how many channels the subscriber still listens.
    pub(super) fn unsubscribe(&mut self, subscriber: Subscriber, channel: &[u8]) -> usize {
        self.forget(subscriber, channel);
        self.subscribers.get_mut(&subscriber).map_or(0, |subscriptions| {
            subscriptions.channels.remove(channel);
            subscriptions.channels.len()
        })
    }

    pub(super) fn channels_of(&self, subscriber: Subscriber) -> Vec<Box<[u8]>> {
        let subscriptions = self.subscribers.get(&subscriber);
        subscriptions.map_or_else(Vec::new, |subscriptions| subscriptions.channels.iter().cloned().collect())
    }

    /// A connection is gone, or is let go.
    pub(super) fn leave(&mut self, subscriber: Subscriber) {
        if let Some(subscriptions) = self.subscribers.remove(&subscriber) {
            for channel in &subscriptions.channels {
                self.forget(subscriber, channel);
            }
        }
    }

    fn forget(&mut self, subscriber: Subscriber, channel: &[u8]) {
        if let Some(listeners) = self.by_channel.get_mut(channel) {
            listeners.remove(&subscriber);
            if listeners.is_empty() {
                self.by_channel.remove(channel);
            }
        }
    }

    /// Returns how many got the message. Those who have stopped reading are let go.
    pub(super) fn publish(&mut self, channel: &[u8], message: &Message) -> usize {
        let listeners = self.by_channel.get(channel).into_iter().flatten();
        let takes = |subscriber: &Subscriber| {
            let subscriptions = self.subscribers.get(subscriber);
            subscriptions.is_some_and(|some| some.messages.try_send(Arc::clone(message)).is_ok())
        };
        let (received, behind): (Vec<Subscriber>, Vec<Subscriber>) = listeners.copied().partition(takes);
        for subscriber in behind {
            self.leave(subscriber);
        }
        received.len()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::error::TryRecvError;

    use super::*;

    fn message() -> Message {
        Message::from(&b"x"[..])
    }

    #[test]
    fn messages_reach_those_who_listen_now() {
        let mut channels = Channels::default();
        assert_eq!(channels.publish(b"c", &message()), 0);
        let (one, mut ones) = channels.enter();
        let (two, mut twos) = channels.enter();
        assert_eq!(channels.subscribe(one, b"c"), 1);
        assert_eq!(channels.subscribe(one, b"c"), 1);
        assert_eq!(channels.subscribe(one, b"d"), 2);
        assert_eq!(channels.subscribe(two, b"c"), 1);
        assert_eq!(channels.publish(b"c", &message()), 2);
        assert_eq!(channels.unsubscribe(one, b"c"), 1);
        assert_eq!(channels.publish(b"c", &message()), 1);
        channels.leave(two);
        channels.leave(one);
        assert_eq!(channels.publish(b"c", &message()), 0);
        assert!(channels.by_channel.is_empty() && channels.subscribers.is_empty());
        assert!(ones.try_recv().is_ok() && ones.try_recv() == Err(TryRecvError::Disconnected));
        assert!(twos.try_recv().is_ok() && twos.try_recv().is_ok() && twos.try_recv().is_err());
    }

    #[test]
    fn whoever_does_not_read_is_let_go() {
        let mut channels = Channels::default();
        let (slow, mut messages) = channels.enter();
        let (quick, mut others) = channels.enter();
        channels.subscribe(slow, b"c");
        channels.subscribe(quick, b"c");
        for _ in 0..WAITING_MAX {
            assert_eq!(channels.publish(b"c", &message()), 2);
            others.try_recv().unwrap();
        }
        assert_eq!(channels.publish(b"c", &message()), 1);
        for _ in 0..WAITING_MAX {
            messages.try_recv().unwrap();
        }
        assert_eq!(messages.try_recv(), Err(TryRecvError::Disconnected));
    }
}
