//! Waits for the network, until something is due.
//!
//! The time-out is in nanoseconds (`epoll_pwait2`). With the whole milliseconds of `epoll_wait` a message would be
//! sent half a millisecond late on average, which is more than all other lateness together.

use std::{
    io::{self, ErrorKind},
    mem::MaybeUninit,
    os::fd::OwnedFd,
};

use rustix::{
    event::{
        Timespec,
        epoll::{self, Event},
    },
    io::Errno,
};

/// The events; none if the time is over or a signal arrived.
pub(super) fn for_events<'a>(
    epoll: &OwnedFd,
    room: &'a mut [MaybeUninit<Event>],
    timeout: &Timespec,
) -> io::Result<&'a [Event]> {
    match epoll::wait(epoll, room, Some(timeout)) {
        Ok((happened, _)) => Ok(happened),
        Err(Errno::INTR) => Ok(&[]),
        Err(Errno::NOSYS) => {
            Err(io::Error::new(ErrorKind::Unsupported, "there is no epoll_pwait2: needs Linux 5.11 or later"))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{EventfdFlags, eventfd};

    use super::*;

    #[test]
    fn a_wait_returns_no_events_on_timeout_and_the_events_otherwise() {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let mut room = [MaybeUninit::<Event>::uninit(); 4];
        let timeout = Timespec { tv_sec: 0, tv_nsec: 1_000 };
        assert!(for_events(&epoll, &mut room, &timeout).unwrap().is_empty());

        let ready = eventfd(1, EventfdFlags::CLOEXEC).unwrap();
        epoll::add(&epoll, &ready, epoll::EventData::new_u64(7), epoll::EventFlags::IN).unwrap();
        let timeout = Timespec { tv_sec: 60, tv_nsec: 0 };
        let happened = for_events(&epoll, &mut room, &timeout).unwrap();
        assert_eq!(happened.iter().map(|event| event.data.u64()).collect::<Vec<_>>(), [7]);
    }
}
