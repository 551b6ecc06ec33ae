//! Remains of a run: found by a process that was not part of it, and ended if necessary.

use std::{net::IpAddr, time::Duration};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::{
    control::{RUN_VARIABLE, Traces},
    kernel::{proc, sockets},
    slot,
};

/// How often to look while waiting.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Remaining processes of the run.
pub(crate) fn processes(traces: &Traces) -> Vec<u32> {
    proc::with_variable(RUN_VARIABLE, &traces.run.to_string()).unwrap_or_default()
}

/// Whether the run's supervisor, which does not have its variable, still exists.
pub(crate) fn has_supervisor(traces: &Traces) -> bool {
    // Another process may have the number by now. A zombie has no command line.
    proc::command_line(traces.supervisor).iter().any(|word| word == "supervisor")
}

/// Kills the run's supervisor; returns whether there was one.
pub(crate) fn kill_supervisor(traces: &Traces) -> bool {
    let pid = i32::try_from(traces.supervisor).ok().and_then(Pid::from_raw);
    let Some(pidfd) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else { return false };
    // The descriptor always refers to one process; now make sure that it is the supervisor.
    has_supervisor(traces) && pidfd_send_signal(&pidfd, Signal::KILL).is_ok()
}

/// Ends a run whose lock nobody holds: waits until its processes are gone, then kills the rest; returns those that
/// still do not end.
pub(crate) fn end(traces: &Traces, deadline: Duration) -> Vec<u32> {
    // It still exists if somebody removed the lock file, and would keep starting replicas.
    kill_supervisor(traces);
    let started = clock::now();
    loop {
        let left = processes(traces);
        if left.is_empty() || started.elapsed() >= deadline {
            return left;
        }
        // They end by themselves when their supervisor dies; half of the time is for that.
        if started.elapsed() >= deadline / 2 {
            for pid in &left {
                kill(*pid, traces);
            }
        }
        pause();
    }
}

/// Kills the run's processes except `own`.
pub(crate) fn kill_others(traces: &Traces, own: u32) {
    for pid in processes(traces).into_iter().filter(|pid| *pid != own) {
        kill(pid, traces);
    }
}

fn kill(pid: u32, traces: &Traces) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return;
    };
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else {
        return;
    };
    // The descriptor always refers to one process; now make sure that it belongs to the run.
    if processes(traces).contains(&pid.as_raw_nonzero().get().unsigned_abs()) {
        let _ = pidfd_send_signal(&pidfd, Signal::KILL);
    }
}

/// Listeners on addresses of the slot, for connections and for packets, in words. Empty if somebody has the slot: with
/// different state folders or another user, its lock is not visible here, and the listeners are its own.
pub(crate) fn listeners(slot: u8) -> Vec<String> {
    let mut all = sockets::listening().unwrap_or_default();
    all.extend(sockets::receiving().unwrap_or_default());
    if all.iter().any(|found| found.local == slot::guard(slot)) {
        return Vec::new();
    }
    let on_slot = |ip: IpAddr| matches!(ip, IpAddr::V4(v4) if v4.octets()[..2] == [127, slot]);
    all.iter()
        .filter(|found| on_slot(found.local.ip()))
        .map(|found| format!("a listener on {}", found.local))
        .collect()
}

#[expect(clippy::disallowed_methods, reason = "there is nothing to wait on for processes of somebody else")]
pub(crate) fn pause() {
    std::thread::sleep(LOOK_EVERY);
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn listeners_in_another_platforms_slot_are_not_leftovers() {
        // Outside the range of slots, so no platform uses it.
        let slot = 75;
        let listener = TcpListener::bind("127.75.9.9:0").unwrap();
        let left = format!("a listener on {}", listener.local_addr().unwrap());
        assert!(listeners(slot).contains(&left));
        let guard = UdpSocket::bind(slot::guard(slot)).unwrap();
        assert!(listeners(slot).is_empty());
        drop(guard);
        assert!(listeners(slot).contains(&left));
    }
}
