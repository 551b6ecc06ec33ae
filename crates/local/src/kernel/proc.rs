//! Processes as `/proc` shows them: CPU and memory (what cAdvisor reads), start time, environment.

use std::{fs, io, time::Duration};

use controller::Usage;

/// Reads `/proc/PID/stat`: user and system time since its start in steps of 10 ms, of all threads including ended ones,
/// and resident memory. `NotFound` if there is no such process.
pub(crate) fn usage(pid: u32) -> io::Result<Usage> {
    let stat = Stat::read(pid)?;
    let ticks = stat.number(UTIME)? + stat.number(STIME)?;
    let per_second = rustix::param::clock_ticks_per_second();
    Ok(Usage {
        cpu: Duration::from_nanos(ticks.saturating_mul(1_000_000_000 / per_second)),
        memory_bytes: stat.number(RSS_PAGES)? * rustix::param::page_size() as u64,
    })
}

/// PIDs of all processes whose environment has `variable` with exactly `value`, except processes of other users, which
/// cannot be read.
pub(crate) fn with_variable(variable: &str, value: &str) -> io::Result<Vec<u32>> {
    let wanted = format!("{variable}={value}");
    let mut found = Vec::new();
    for pid in all()? {
        let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else {
            continue;
        };
        if environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes()) && !is_zombie(pid) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// The command line of a process; empty if there is none, or if it is a zombie.
pub(crate) fn command_line(pid: u32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// Which processes hold the socket with this inode open: `(pid, name)`.
pub(crate) fn holders(inode: u32) -> io::Result<Vec<(u32, String)>> {
    let wanted = format!("socket:[{inode}]");
    let mut found = Vec::new();
    for pid in all()? {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
            continue;
        };
        let holds = descriptors.flatten().any(|descriptor| {
            fs::read_link(descriptor.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str())
        });
        if holds {
            found.push((pid, name(pid)));
        }
    }
    Ok(found)
}

/// The process's name in the kernel (15 characters). A process that was started as `/proc/self/exe`, as ours are, has the
/// name of its file.
fn name(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm"))
        .map_or_else(|_| "?".to_owned(), |name| name.trim_end().to_owned());
    let file = || fs::read_link(format!("/proc/{pid}/exe")).ok()?.file_name()?.to_str().map(str::to_owned);
    if name == "exe" { file().unwrap_or(name) } else { name }
}

fn all() -> io::Result<Vec<u32>> {
    Ok(fs::read_dir("/proc")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect())
}

/// An ended process whose parent has not reaped it: it runs nothing and holds nothing.
fn is_zombie(pid: u32) -> bool {
    Stat::read(pid).is_ok_and(|stat| matches!(stat.field(STATE), Some("Z" | "X")))
}

// Positions in `/proc/PID/stat` after the command's name, which is in parentheses and may contain anything; proc(5)
// counts from 1 and the name is the second field, so these are its numbers minus 3.
const STATE: usize = 0;
const UTIME: usize = 11;
const STIME: usize = 12;
const RSS_PAGES: usize = 21;

struct Stat(String);

impl Stat {
    fn read(pid: u32) -> io::Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let after_name = text.rfind(')').map(|at| text[at + 1..].trim_start().to_owned());
        after_name.map(Self).ok_or_else(malformed)
    }

    fn field(&self, place: usize) -> Option<&str> {
        self.0.split_ascii_whitespace().nth(place)
    }

    fn number(&self, place: usize) -> io::Result<u64> {
        self.field(place).and_then(|field| field.parse().ok()).ok_or_else(malformed)
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "unexpected form of /proc/PID/stat")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_usage_is_plausible_and_grows() {
        let own = std::process::id();
        let before = usage(own).unwrap();
        assert!(before.memory_bytes > 100_000, "{before:?}");
        let mut sum = 0_u64;
        while usage(own).unwrap().cpu < before.cpu + Duration::from_millis(20) {
            sum = (0..100_000_u64).fold(sum, u64::wrapping_add);
        }
        assert!(std::hint::black_box(sum) > 0);
    }

    #[test]
    fn there_is_no_process_zero() {
        assert_eq!(usage(0).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn children_are_found_by_their_marker() {
        let marker = format!("{}-{:?}", std::process::id(), std::thread::current().id());
        let mut child =
            std::process::Command::new("sleep").arg("60").env("PLAYCTL_TEST", &marker).spawn().unwrap();
        // Right after the fork, the child still has this process's environment.
        let deadline = clock::now() + Duration::from_secs(10);
        let mut found = Vec::new();
        while found.is_empty() && clock::now() < deadline {
            found = with_variable("PLAYCTL_TEST", &marker).unwrap();
        }
        child.kill().unwrap();
        let zombie = with_variable("PLAYCTL_TEST", &marker);
        child.wait().unwrap();
        assert_eq!(found, [child.id()]);
        assert!(zombie.is_ok());
        assert!(with_variable("PLAYCTL_TEST", &marker).unwrap().is_empty());
    }

    #[test]
    fn a_listener_names_its_holder() {
        let listener = std::net::TcpListener::bind("127.76.4.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let all = crate::kernel::sockets::listening().unwrap();
        let inode = all.iter().find(|found| found.local == address).unwrap().inode;
        assert_eq!(holders(inode).unwrap()[0].0, std::process::id());
    }
}
