//! Messages from other threads to an event loop.
//!
//! The loop takes everything at once, so only the first item after a read wakes its poller. A mailbox has no bound of
//! its own: each item answers a request of the loop, or controls it.

use std::io;

use mio::{Poll, Token, Waker};
use parking_lot::Mutex;

/// The mailbox of one event loop.
#[derive(Debug)]
pub struct Mailbox<T> {
    items: Mutex<Vec<T>>,
    waker: Waker,
}

impl<T> Mailbox<T> {
    /// The mailbox of the loop that polls `poll` and knows its waker as `token`.
    ///
    /// # Errors
    /// The waker cannot be created.
    pub fn new(poll: &Poll, token: Token) -> io::Result<Self> {
        Ok(Self { items: Mutex::new(Vec::new()), waker: Waker::new(poll.registry(), token)? })
    }

    /// Wakes the loop, for instance to check the shutdown's phase.
    pub fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            // An eventfd's counter cannot overflow here, and the descriptor lives as long as `self`.
            tracing::error!(%error, "cannot wake an event loop");
        }
    }

    pub fn put(&self, item: T) {
        let was_empty = {
            let mut items = self.items.lock();
            items.push(item);
            items.len() == 1
        };
        if was_empty {
            self.wake();
        }
    }

    /// Moves all items into `items`, which must be empty; it keeps its capacity that way.
    pub fn take(&self, items: &mut Vec<T>) {
        debug_assert!(items.is_empty(), "items that were taken before would be put back");
        std::mem::swap(&mut *self.items.lock(), items);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mio::Events;

    use super::*;

    #[test]
    fn the_first_item_wakes_and_all_are_taken() {
        let mut poll = Poll::new().unwrap();
        let mailbox = Mailbox::new(&poll, Token(7)).unwrap();
        let mut events = Events::with_capacity(4);
        let mut taken = Vec::new();
        for round in 0..2 {
            mailbox.put((round, 1));
            mailbox.put((round, 2));
            poll.poll(&mut events, Some(Duration::from_secs(20))).unwrap();
            assert_eq!(events.iter().map(mio::event::Event::token).collect::<Vec<_>>(), [Token(7)]);
            mailbox.take(&mut taken);
            assert_eq!(taken, [(round, 1), (round, 2)]);
            taken.clear();
            poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
            assert!(events.is_empty());
        }
    }
}
