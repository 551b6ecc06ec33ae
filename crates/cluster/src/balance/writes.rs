//! Limits a balancer's writes to the API: every write goes to all watchers, and KEP 2255 asks for rare changes of
//! deletion costs.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use platform::TargetError;

/// The maximum number of writes in a [`WINDOW`]. A predicted scale-down takes two for each replica, and a service has
/// at most 250.
const MOST: u32 = 600;
const WINDOW: Duration = Duration::from_mins(1);

/// Counts the writes of one balancer.
#[derive(Debug, Default)]
pub(super) struct Writes {
    window: Mutex<Option<(Instant, u32)>>,
}

impl Writes {
    /// Counts one more write.
    pub(super) fn one(&self, now: Instant) -> Result<(), TargetError> {
        let mut window = self.window.lock();
        let (began, count) =
            window.filter(|(began, _)| now.duration_since(*began) < WINDOW).unwrap_or((now, 0));
        if count >= MOST {
            let message = format!(
                "a balancer makes at most {MOST} changes a minute; the rest wait for the next \
                 minute"
            );
            return Err(TargetError::Temporary { message });
        }
        *window = Some((began, count + 1));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_its_bound_and_the_next_one_its_own() {
        let (writes, began) = (Writes::default(), clock::now());
        assert!((0..MOST).all(|_| writes.one(began).is_ok()));
        let error = writes.one(began + Duration::from_secs(59)).unwrap_err().to_string();
        assert!(error.contains("600 changes a minute"), "{error}");
        assert!((0..MOST).all(|_| writes.one(began + WINDOW).is_ok()));
        assert!(writes.one(began + WINDOW).is_err());
    }
}
