//! What must keep running once `up` has ended: minikube's tunnel, and the proxy of its dashboard.
//!
//! A keeper, which is a process of ours, runs the program and restarts it when it ends. Both can be ended later without
//! ever signalling an unrelated process that got the same pid: each holds a lock on a file that contains its pid, the
//! keeper directly and minikube through its standard input, which is that file. The kernel releases a lock when its
//! holder ends, for whatever reason. So a held lock guarantees that the pid in the file is valid, and a free lock that
//! nothing is left.

use std::{
    fmt,
    fs::{self, DirBuilder, File, TryLockError},
    io::{self, Seek as _, Write as _},
    os::unix::{fs::DirBuilderExt as _, process::CommandExt as _},
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal};

use super::{
    Minikube, MinikubeError,
    call::{self, Broken, Call, Heard, pause},
};

/// How long a keeper may take to lock its file and start its child.
const BEGIN: Duration = Duration::from_secs(20);
/// How long a keeper may take to end its child and itself: longer than the child alone.
const END: Duration = Duration::from_secs(30);
/// How long a killed process may take to disappear.
const KILLED: Duration = Duration::from_secs(5);
/// The first and the longest pause before a restart.
const BACK_OFF: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];
/// A child that ran this long counts as started successfully.
const WAS_UP: Duration = Duration::from_mins(1);
/// A longer log is truncated.
const LOG_BYTES_MAX: u64 = 256 << 10;
/// How long to retry a lock, which someone may hold briefly to check it.
const LOCK: Duration = Duration::from_secs(2);

/// What is kept running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// `minikube tunnel`: the addresses of load balancers.
    Tunnel,
    /// `minikube dashboard --url`: Kubernetes' own dashboard.
    Dashboard,
}

impl Keep {
    pub const ALL: [Self; 2] = [Self::Tunnel, Self::Dashboard];

    pub fn name(self) -> &'static str {
        match self {
            Self::Tunnel => "tunnel",
            Self::Dashboard => "dashboard",
        }
    }

    fn call(self, minikube: &Minikube) -> Call {
        match self {
            Self::Tunnel => minikube.tunnel(),
            Self::Dashboard => minikube.dashboard(),
        }
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A program that is kept running for one profile, by its files.
#[derive(Debug, Clone)]
pub struct Kept {
    folder: PathBuf,
    keep: Keep,
}

impl Kept {
    /// `folder` belongs to this profile alone.
    pub fn new(folder: impl Into<PathBuf>, keep: Keep) -> Self {
        Self { folder: folder.into(), keep }
    }

    fn file(&self, what: &str) -> PathBuf {
        self.folder.join(format!("{}.{what}", self.keep))
    }

    fn keeper(&self) -> Lock {
        Lock(self.file("keeper"))
    }

    fn child(&self) -> Lock {
        Lock(self.file("child"))
    }

    /// The log of its output.
    pub fn log(&self) -> PathBuf {
        self.file("log")
    }

    /// Whether it is being kept running.
    pub fn runs(&self) -> io::Result<bool> {
        self.keeper().is_held()
    }

    /// Starts the keeper with the command `keeper`, which calls [`keep`], and waits until minikube runs under it. Does
    /// nothing if a keeper is already running.
    pub fn begin(&self, mut keeper: Command) -> Result<bool, MinikubeError> {
        let name = format!("{} {}", keeper.get_program().display(), self.keep);
        let io = |source| MinikubeError::Io { call: name.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(io)?;
        if self.runs().map_err(io)? {
            return Ok(false);
        }
        // The leftovers of a killed keeper would hold the addresses.
        self.end()?;
        let log = File::options().create(true).append(true).open(self.log()).map_err(io)?;
        // Its own process group, because this terminal's Ctrl-C is not for it. It stays in the session, where sudo
        // remembers the user.
        keeper.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut started = keeper.spawn().map_err(io)?;
        let deadline = clock::now() + BEGIN;
        loop {
            if self.child().is_held().map_err(io)? {
                return Ok(true);
            }
            if let Some(status) = started.try_wait().map_err(io)? {
                return Err(self.failed(&format!("ended at once ({status})")));
            }
            if clock::now() >= deadline {
                return Err(self.failed(&format!("was not there after {} s", BEGIN.as_secs())));
            }
            pause();
        }
    }

    fn failed(&self, how: &str) -> MinikubeError {
        let said = self.last_words().join("\n  ");
        MinikubeError::State {
            what: format!("minikube's {} {how}: {said}", self.keep),
            next: format!("its log is {}", self.log().display()),
        }
    }

    /// The last lines of its log.
    pub fn last_words(&self) -> Vec<String> {
        let text = fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines.iter().rev().take(5).rev().map(|line| line.trim().to_owned()).collect()
    }

    /// The address that it printed, if it has.
    pub fn address(&self) -> Option<String> {
        let text = fs::read_to_string(self.log()).ok()?;
        text.lines().rev().find_map(|line| {
            let at = line.find("http://").or_else(|| line.find("https://"))?;
            Some(line[at..].trim().to_owned())
        })
    }

    /// Ends it. Returns whether anything was running; afterwards nothing is.
    pub fn end(&self) -> Result<bool, MinikubeError> {
        let mut ran = false;
        // The keeper ends minikube before itself. A process left without a keeper gets the signal that it expects.
        for (lock, signal) in [(self.keeper(), Signal::TERM), (self.child(), Signal::INT)] {
            ran |= lock.end(signal).map_err(|source| MinikubeError::Io {
                call: format!("ending minikube's {} ({})", self.keep, lock.0.display()),
                source,
            })?;
        }
        for file in ["keeper", "child", "log"] {
            // The file does not exist if it never ran.
            let _ = fs::remove_file(self.file(file));
        }
        Ok(ran)
    }
}

/// A file that contains its holder's pid and that the holder has locked.
struct Lock(PathBuf);

impl Lock {
    fn open(&self) -> io::Result<File> {
        File::options().read(true).write(true).create(true).truncate(false).open(&self.0)
    }

    /// Locks the file as long as it is open, here or in a process that inherited it.
    fn take(&self) -> io::Result<Option<File>> {
        let file = self.open()?;
        let deadline = clock::now() + LOCK;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(TryLockError::WouldBlock) if clock::now() >= deadline => return Ok(None),
                Err(TryLockError::WouldBlock) => pause(),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    fn is_held(&self) -> io::Result<bool> {
        if !self.0.exists() {
            return Ok(false);
        }
        match self.open()?.try_lock() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn pid(&self) -> Option<Pid> {
        fs::read_to_string(&self.0).ok()?.trim().parse().ok().and_then(Pid::from_raw)
    }

    /// Signals the holder and waits until it is gone; kills it if necessary.
    fn end(&self, signal: Signal) -> io::Result<bool> {
        if !self.is_held()? {
            return Ok(false);
        }
        for (signal, patience) in [(signal, END), (Signal::KILL, KILLED)] {
            let Some(pid) = self.pid() else {
                return Err(io::Error::other("it runs, and its file has no pid"));
            };
            self.signal(pid, signal)?;
            let deadline = clock::now() + patience;
            while clock::now() < deadline {
                if !self.is_held()? {
                    return Ok(true);
                }
                pause();
            }
        }
        Err(io::Error::other("it runs on, though it was killed"))
    }

    /// Signals `pid` only if it is still the lock's holder.
    #[cfg(target_os = "linux")]
    fn signal(&self, pid: Pid, signal: Signal) -> io::Result<()> {
        use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(()) };
        // The lock was held when the process was opened, so the process is its holder and not a later one.
        if self.is_held()? && self.pid() == Some(pid) {
            // It may just have ended.
            let _ = pidfd_send_signal(&process, signal);
        }
        Ok(())
    }

    /// Signals `pid` if the lock is held. This system has no process handle to hold between the check and the signal.
    #[cfg(not(target_os = "linux"))]
    fn signal(&self, pid: Pid, signal: Signal) -> io::Result<()> {
        if self.is_held()? && self.pid() == Some(pid) {
            let _ = rustix::process::kill_process(pid, signal);
        }
        Ok(())
    }
}

fn note_pid(file: &mut File, pid: u32) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{pid}")?;
    file.flush()
}

/// Keeps minikube's tunnel or dashboard running until the caller cancels. This is the keeper's whole life.
pub fn keep(minikube: &Minikube, keep: Keep) -> Result<(), MinikubeError> {
    let kept = minikube.kept(keep);
    let call = keep.call(minikube);
    let io = |source| MinikubeError::Io { call: call.to_string(), source };
    let Some(mut lock) = kept.keeper().take().map_err(io)? else {
        return Err(MinikubeError::State {
            what: format!("minikube's {keep} for {} is kept running already", minikube.profile()),
            next: "end it with: playctl down".to_owned(),
        });
    };
    note_pid(&mut lock, std::process::id()).map_err(io)?;
    let mut log = Log(File::options().create(true).append(true).read(true).open(kept.log()).map_err(io)?);
    let mut back_off = BACK_OFF[0];
    loop {
        let began = clock::now();
        match once(minikube, &kept, &call, &mut log) {
            Err(Broken::Interrupted) => return Ok(()),
            Err(broken) => log.line(&MinikubeError::of(&call, broken).to_string()),
            Ok(ended) => log.line(&format!("`{call}` ended ({})", ended.status)),
        }
        if began.elapsed() >= WAS_UP {
            back_off = BACK_OFF[0];
        }
        log.line(&format!("it restarts in {} s", back_off.as_secs()));
        let until = clock::now() + back_off;
        while clock::now() < until {
            if (minikube.told)(None).is_break() {
                return Ok(());
            }
            pause();
        }
        back_off = BACK_OFF[1].min(back_off * 2);
    }
}

fn once(minikube: &Minikube, kept: &Kept, call: &Call, log: &mut Log) -> Result<call::Ended, Broken> {
    let lock = kept.child().take().map_err(Broken::Io)?;
    let mut lock = lock.ok_or_else(|| Broken::Io(io::Error::other("an earlier one still runs")))?;
    let stdin = Stdio::from(lock.try_clone().map_err(Broken::Io)?);
    let child = call::start(call, stdin)?;
    note_pid(&mut lock, child.id()).map_err(Broken::Io)?;
    // From here on only minikube holds it.
    drop(lock);
    call::watch(child, None, &mut |heard| {
        match heard {
            Heard::Out(line) | Heard::Err(line) => log.line(line),
            Heard::Waiting => {}
        }
        (minikube.told)(None)
    })
}

struct Log(File);

impl Log {
    /// An unwritable log is no reason to end.
    fn line(&mut self, line: &str) {
        if self.0.metadata().is_ok_and(|metadata| metadata.len() > LOG_BYTES_MAX) {
            let _ = self.0.set_len(0);
        }
        let _ = writeln!(self.0, "{line}");
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_lock_that_is_free_has_nobody_to_end() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock(folder.path().join("tunnel.child"));
        assert!(!lock.end(Signal::INT).unwrap(), "there is no file");
        // A pid in use: this process's own. With the lock free it must not be signalled, or this test would end here.
        fs::write(&lock.0, format!("{}\n", std::process::id())).unwrap();
        assert!(!lock.end(Signal::KILL).unwrap());
        assert_eq!(lock.pid().map(|pid| pid.as_raw_nonzero().get() as u32), Some(std::process::id()));
    }

    #[test]
    fn an_orphan_is_known_by_the_lock_that_it_inherited() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock(folder.path().join("tunnel.child"));
        let mut held = lock.take().unwrap().unwrap();
        let stdin = Stdio::from(held.try_clone().unwrap());
        // The tests may be run with SIGINT ignored; once there is a word, it is heeded.
        let script = "echo up; exec sleep 600";
        let sleep = Call::new("/usr/bin/env").args(["--default-signal=INT", "/bin/sh", "-c", script]);
        let mut orphan = call::start(&sleep, stdin).unwrap();
        orphan.stdout.as_mut().unwrap().read_exact(&mut [0; 3]).unwrap();
        note_pid(&mut held, orphan.id()).unwrap();
        drop(held);
        assert!(lock.is_held().unwrap());
        let reaper = std::thread::spawn(move || orphan.wait().unwrap());
        assert!(lock.end(Signal::INT).unwrap());
        assert!(!reaper.join().unwrap().success());
        assert!(!lock.is_held().unwrap());
    }

    #[test]
    fn a_log_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = Log(File::options().create(true).append(true).read(true).open(&path).unwrap());
        for _ in 0..LOG_BYTES_MAX / 1000 + 10 {
            log.line(&"x".repeat(1000));
        }
        assert!(fs::metadata(&path).unwrap().len() < LOG_BYTES_MAX + 2000);
    }
}
