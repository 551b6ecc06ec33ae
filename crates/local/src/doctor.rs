//! What a platform needs from this machine, and how to fix each problem.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    path::Path,
};

use platform::{
    doctor::{Check, Verdict},
    values::Protocol,
};
use rustix::process::{Resource, getrlimit};

use crate::{
    kernel::{port, proc, sockets},
    lock::FileLock,
    paths::{Paths, private_directory},
    programs::{Finder, Found, NotFound, Program},
};

/// Open files that `demo` needs in one process, with room to spare: half of 10,000 proxied connections.
const OPEN_FILES_WANTED: u64 = 12_000;
const MEMORY_WANTED: u64 = 1 << 30;
/// The port of the default platform's gateway.
const GATEWAY_PORT: u16 = 10_000;

/// Checks everything; changes nothing except that it creates the directories that `up` would create.
pub fn checks() -> Vec<Check> {
    let paths = Paths::from_env();
    let mut checks = vec![
        open_files(),
        cores(),
        memory(),
        loopback(),
        processes(),
        connections(),
        directory("state directory", paths.state_root()),
        directory("runtime directory", paths.runtime()),
        platforms(&paths),
        gateway_port(&paths),
    ];
    let finder = Finder::from_env();
    checks.extend(Program::ALL.map(|program| real_part(program, finder.find(program))));
    checks
}

fn open_files() -> Check {
    let limit = getrlimit(Resource::Nofile);
    // None is "unlimited". A service raises its soft limit to the hard one.
    let most = limit.maximum.unwrap_or(u64::MAX);
    let detail = format!("{most} per process at most");
    if most >= OPEN_FILES_WANTED {
        Check::new("open files", Verdict::Ok, detail)
    } else {
        Check::new(
            "open files",
            Verdict::Warn,
            format!("{detail}; 10,000 connections want {OPEN_FILES_WANTED}"),
        )
        .with_fix(format!("ulimit -Hn {OPEN_FILES_WANTED}, or more nodes: playctl up --nodes 4"))
    }
}

fn cores() -> Check {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let check = |ok| Check::new("cores", ok, format!("{cores}"));
    if cores >= 2 {
        check(Verdict::Ok)
    } else {
        check(Verdict::Warn).with_fix("two make latencies meaningful")
    }
}

fn memory() -> Check {
    let available = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
    });
    match available {
        Some(bytes) => {
            let detail = format!("{} MiB available", bytes >> 20);
            let ok = if bytes >= MEMORY_WANTED { Verdict::Ok } else { Verdict::Warn };
            Check::new("memory", ok, detail).with_fix("1 GiB is enough for the demo and its load")
        }
        None => Check::new("memory", Verdict::Warn, "cannot be read from /proc/meminfo"),
    }
}

fn loopback() -> Check {
    match TcpListener::bind("127.77.0.2:0") {
        Ok(_) => Check::new("loopback addresses", Verdict::Ok, "127.77.x.x to 127.126.x.x can be bound"),
        Err(error) => {
            Check::new("loopback addresses", Verdict::Fail, format!("127.77.0.2 cannot be bound: {error}"))
                .with_fix("ip addr add 127.0.0.1/8 dev lo && ip link set lo up")
        }
    }
}

fn processes() -> Check {
    match proc::usage(std::process::id()) {
        Ok(_) => Check::new("/proc", Verdict::Ok, "CPU and memory of processes can be read"),
        Err(error) => Check::new("/proc", Verdict::Fail, format!("cannot be read: {error}"))
            .with_fix("mount -t proc proc /proc"),
    }
}

fn connections() -> Check {
    match sockets::listening() {
        Ok(_) => Check::new("sock_diag", Verdict::Ok, "the kernel counts connections"),
        Err(error) => Check::new("sock_diag", Verdict::Fail, format!("the kernel does not list sockets: {error}"))
            .with_fix("a kernel with CONFIG_INET_DIAG (modprobe tcp_diag), and a sandbox that lets NETLINK_SOCK_DIAG through"),
    }
}

fn directory(name: &str, path: &Path) -> Check {
    let usable = private_directory(path).and_then(|()| writable(path));
    match usable {
        Ok(()) => Check::new(name, Verdict::Ok, path.display().to_string()),
        Err(error) => Check::new(name, Verdict::Fail, error.to_string())
            .with_fix("set XDG_STATE_HOME and XDG_RUNTIME_DIR to directories of your own"),
    }
}

fn writable(path: &Path) -> io::Result<()> {
    let probe = path.join(format!(".probe-{}", std::process::id()));
    fs::write(&probe, b"")?;
    fs::remove_file(probe)
}

fn platforms(paths: &Paths) -> Check {
    let mut names = paths.known();
    names.retain(|name| matches!(FileLock::holder(&paths.platform(name).lock), Ok(Some(_))));
    let detail =
        if names.is_empty() { "none runs".to_owned() } else { format!("running: {}", names.join(", ")) };
    Check::new("platforms", Verdict::Ok, detail)
}

fn gateway_port(paths: &Paths) -> Check {
    let address = SocketAddr::from(([127, 0, 0, 1], GATEWAY_PORT));
    let name = "port 10000";
    if TcpListener::bind(address).is_ok() {
        return Check::new(name, Verdict::Ok, format!("{address} is free"));
    }
    let default = crate::supervisor::DEFAULT_PLATFORM;
    if matches!(FileLock::holder(&paths.platform(default).lock), Ok(Some(_))) {
        return Check::new(name, Verdict::Ok, format!("{address} is {default}'s"));
    }
    let holder = port::holder(Protocol::Tcp, address)
        .map_or_else(|| "somebody".to_owned(), |holder| holder.to_string());
    Check::new(name, Verdict::Fail, format!("{address} is taken by {holder}")).with_fix(
        "end it, or use another platform name (only playground needs it): playctl --platform blue up",
    )
}

/// A program that can replace an embedded part. None is needed.
fn real_part(program: Program, found: Result<Found, NotFound>) -> Check {
    let name = program.name();
    let flag = match program {
        Program::Envoy | Program::Haproxy => format!("--gateway {name}"),
        _ => format!("--with {name}"),
    };
    match found {
        Ok(found) => Check::new(name, Verdict::Ok, format!("{}, for {flag}", found.in_words(program))),
        Err(NotFound::Nowhere { .. }) => {
            Check::new(name, Verdict::Missing, format!("missing; needed only for {flag}"))
                .with_fix(program.remedy())
        }
        Err(error) => Check::new(name, Verdict::Warn, format!("cannot be used for {flag}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_the_tests_need_is_found() {
        for check in [loopback(), processes(), connections()] {
            assert_eq!(check.ok, Verdict::Ok, "{check:?}");
        }
    }

    #[test]
    fn optional_programs_are_listed_and_never_fail() {
        for program in Program::ALL {
            let check = real_part(program, Finder::from_env().find(program));
            assert_eq!(check.name, program.name());
            assert_ne!(check.ok, Verdict::Fail, "{check:?}");
            assert!(check.detail.contains(program.name()), "{check:?}");
        }
    }

    #[test]
    fn absent_programs_are_reported_as_missing() {
        for program in Program::ALL {
            let check = real_part(program, Err(NotFound::Nowhere { program, testbed: "/nowhere".into() }));
            assert_eq!(check.ok, Verdict::Missing, "{check:?}");
            assert!(check.detail.starts_with("missing") && check.fix.is_some(), "{check:?}");
        }
    }

    #[test]
    fn an_unusable_directory_is_reported_with_its_reason() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let check = directory("state directory", file.path());
        assert_eq!(check.ok, Verdict::Fail);
        assert!(check.fix.is_some());
    }
}
