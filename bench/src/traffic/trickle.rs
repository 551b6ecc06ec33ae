//! Many connections, each with an occasional message, at times that do not depend on the answers.

use std::{
    io::{self, ErrorKind, Read},
    net::TcpStream,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use rustix::event::{
    Timespec,
    epoll::{self, CreateFlags, EventData, EventFlags},
};

use super::{LOOK_UP, Meter, ping_pong::send, unexpected_end};
use crate::poll;

/// The bare epoll client: a schedule, one write per message, one read per answer, and `epoll_wait` until the next
/// message, in whole milliseconds, the resolution of that call.
pub(crate) struct Trickle<'a> {
    pub(crate) streams: &'a [TcpStream],
    pub(crate) message: &'a [u8],
    /// Between two messages of a connection. The connections' turns are spread evenly over it.
    pub(crate) every: Duration,
}

/// Lets a caller watch and stop the traffic.
pub(crate) trait Watcher {
    /// False ends the traffic.
    fn goes_on(&mut self, now: Instant) -> bool;
    fn answered(&mut self, messages: u64);
}

impl Trickle<'_> {
    /// `lateness` records the nanoseconds between each message's due time and the start of its write.
    pub(crate) fn run(&self, lateness: &mut Histogram<u64>, watcher: &mut impl Watcher) -> io::Result<()> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        for (index, stream) in self.streams.iter().enumerate() {
            epoll::add(&epoll, stream, EventData::new_u64(index as u64), EventFlags::IN)?;
        }
        let mut schedule = Schedule::new(clock::now(), self.every, self.streams.len());
        let mut buffer = [0; 4096];
        let mut events = poll::events();
        loop {
            let mut now = clock::now();
            if !watcher.goes_on(now) {
                return Ok(());
            }
            while schedule.due <= now {
                // The histogram takes everything up to a minute; more counts as a minute.
                lateness.saturating_record((now - schedule.due).as_nanos() as u64);
                send(&self.streams[schedule.next()], self.message)?;
                now = clock::now();
            }
            let patience = whole_milliseconds(schedule.due - now);
            poll::wait(&epoll, &mut events, Some(&patience))?;
            let mut answered = 0;
            for event in &events {
                let mut stream = &self.streams[event.data.u64() as usize];
                match stream.read(&mut buffer) {
                    Ok(0) => return Err(unexpected_end()),
                    Ok(_) => answered += 1,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            watcher.answered(answered);
        }
    }
}

/// A trickle as background load, until it is stopped. Counts answers.
pub(crate) fn flow(streams: &[TcpStream], message: &[u8], every: Duration, meter: &Meter) -> io::Result<()> {
    struct Flow<'a>(&'a Meter);
    impl Watcher for Flow<'_> {
        fn goes_on(&mut self, _: Instant) -> bool {
            !self.0.stopped()
        }

        fn answered(&mut self, messages: u64) {
            self.0.add(messages);
        }
    }
    meter.ready();
    Trickle { streams, message, every }.run(&mut lateness_histogram(), &mut Flow(meter))
}

/// Nanoseconds up to a minute, three digits.
pub(crate) fn lateness_histogram() -> Histogram<u64> {
    Histogram::new_with_max(60_000_000_000, 3).expect("the bounds are constants that the histogram takes")
}

/// The connections' turns.
struct Schedule {
    begin: Instant,
    due: Instant,
    every: Duration,
    connections: u64,
    turn: u64,
}

impl Schedule {
    fn new(begin: Instant, every: Duration, connections: usize) -> Self {
        Self { begin, due: begin, every, connections: connections as u64, turn: 0 }
    }

    /// The connection whose turn it is; `due` becomes the due time of the next one.
    fn next(&mut self) -> usize {
        let connection = self.turn % self.connections;
        self.turn += 1;
        // Computed from the start each time, so that rounding errors do not add up.
        let nanoseconds = u128::from(self.turn) * self.every.as_nanos() / u128::from(self.connections);
        self.due = self.begin + Duration::from_nanos(nanoseconds as u64);
        connection as usize
    }
}

/// Rounded up: rounded down, the wait would end early and the loop would spin until the time has come.
fn whole_milliseconds(duration: Duration) -> Timespec {
    let milliseconds = duration.as_nanos().div_ceil(1_000_000) as i64;
    let wait = Timespec { tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000 };
    wait.min(LOOK_UP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_spread_evenly_and_come_round() {
        let begin = clock::now();
        let mut schedule = Schedule::new(begin, Duration::from_secs(1), 4);
        let mut seen = Vec::new();
        for _ in 0..5 {
            seen.push((schedule.due - begin, schedule.next()));
        }
        let at = |ms| Duration::from_millis(ms);
        assert_eq!(seen, [(at(0), 0), (at(250), 1), (at(500), 2), (at(750), 3), (at(1000), 0)]);
    }

    #[test]
    fn waits_are_rounded_up_to_milliseconds_and_bounded() {
        let ms = |duration| whole_milliseconds(duration).tv_nsec / 1_000_000;
        assert_eq!(ms(Duration::ZERO), 0);
        assert_eq!(ms(Duration::from_nanos(1)), 1);
        assert_eq!(ms(Duration::from_micros(1001)), 2);
        assert_eq!(whole_milliseconds(Duration::from_secs(5)), LOOK_UP);
    }
}
