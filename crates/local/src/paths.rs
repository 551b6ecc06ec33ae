//! Where a platform keeps its files.
//!
//! * State (`$XDG_STATE_HOME/playctl/NAME`, else `~/.local/state/playctl/NAME`): recording, logs, endpoints. The
//!   platform's lock is beside it, because the state must have one owner: a login session, a cron job and a
//!   container's `exec` of one user have different runtime directories and the same state.
//! * Runtime (`$XDG_RUNTIME_DIR/playctl`, else `/tmp/playctl-UID`): control sockets, and the locks of the slots. A
//!   platform's run record names its socket, so that it is found from any session.
//!
//! Every directory is private (0700) and owned by the user: a directory in `/tmp` that somebody else created first is
//! refused, not used.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

/// The two directories that all platforms of this user share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Paths {
    state: PathBuf,
    runtime: PathBuf,
}

impl Paths {
    /// From this process's environment.
    pub(crate) fn from_env() -> Self {
        Self::resolve(|name| std::env::var_os(name), rustix::process::getuid().as_raw())
    }

    fn resolve(lookup: impl Fn(&str) -> Option<OsString>, uid: u32) -> Self {
        // The XDG specification: a relative path in these variables is to be ignored.
        let directory = |name| lookup(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let fallback = || PathBuf::from(format!("/tmp/playctl-{uid}"));
        let state = directory("XDG_STATE_HOME")
            .or_else(|| directory("HOME").map(|home| home.join(".local/state")))
            .map_or_else(|| fallback().join("state"), |base| base.join("playctl"));
        let runtime = directory("XDG_RUNTIME_DIR").map_or_else(fallback, |base| base.join("playctl"));
        Self { state, runtime }
    }

    #[cfg(test)]
    pub(crate) fn below(home: &Path) -> Self {
        Self { state: home.join("state"), runtime: home.join("runtime") }
    }

    /// Makes the shared directories.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        private_directory(&self.state).map_err(|error| with_way_out(&error, "XDG_STATE_HOME"))?;
        private_directory(&self.runtime).map_err(|error| with_way_out(&error, "XDG_RUNTIME_DIR"))?;
        private_directory(&self.slots())
    }

    pub(crate) fn runtime(&self) -> &Path {
        &self.runtime
    }

    pub(crate) fn state_root(&self) -> &Path {
        &self.state
    }

    /// The directory of the slots' lock files.
    pub(crate) fn slots(&self) -> PathBuf {
        self.runtime.join("slots")
    }

    /// The directory of sockets on which open pages listen to loads.
    pub(crate) fn pages(&self) -> PathBuf {
        self.runtime.join("pages")
    }

    /// The files of one platform.
    pub(crate) fn platform(&self, name: &str) -> PlatformPaths {
        PlatformPaths {
            state: self.state.join(name),
            socket: self.runtime.join(format!("{name}.sock")),
            lock: self.state.join(format!("{name}.lock")),
        }
    }

    /// Names of the platforms that have a lock file, in order; whether they run is another question.
    pub(crate) fn known(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(&self.state)
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                entry.ok()?.file_name().into_string().ok()?.strip_suffix(".lock").map(str::to_owned)
            })
            .collect();
        names.sort();
        names
    }
}

/// The files of one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlatformPaths {
    pub(crate) state: PathBuf,
    /// The socket of a supervisor of this session; the run record says where one listens.
    pub(crate) socket: PathBuf,
    pub(crate) lock: PathBuf,
}

impl PlatformPaths {
    /// The supervisor's stderr.
    pub(crate) fn supervisor_log(&self) -> PathBuf {
        self.state.join("supervisor.log")
    }

    /// The directory that gateways watch; nothing else is written there.
    pub(crate) fn endpoints_directory(&self) -> PathBuf {
        self.state.join("endpoints")
    }

    pub(crate) fn endpoints(&self) -> PathBuf {
        self.endpoints_directory().join("endpoints.json")
    }

    /// Configuration and data of real servers, each in its own folder.
    pub(crate) fn parts_directory(&self) -> PathBuf {
        self.state.join("parts")
    }

    /// Configuration of a Prometheus for this platform, and its data if the platform starts one.
    pub(crate) fn prometheus_directory(&self) -> PathBuf {
        self.parts_directory().join("prometheus")
    }

    /// Configuration of gateways that are not ours, each in its own folder.
    pub(crate) fn gateways_directory(&self) -> PathBuf {
        self.state.join("gateways")
    }

    /// The file in which the gateways of one UDP port record which replica each client has.
    pub(crate) fn sessions(&self, port: u16) -> PathBuf {
        self.state.join(format!("sessions-{port}"))
    }

    /// The recording of the event stream.
    pub(crate) fn events(&self) -> PathBuf {
        self.state.join("events.jsonl")
    }

    /// The documents of the embedded Elasticsearch.
    pub(crate) fn documents(&self) -> PathBuf {
        self.state.join("documents.jsonl")
    }

    /// The log lines of all replicas and parts.
    pub(crate) fn logs(&self) -> PathBuf {
        self.state.join("logs.jsonl")
    }

    /// The address of the platform's page, and the token that allows changes.
    pub(crate) fn page(&self) -> PathBuf {
        self.state.join("page.json")
    }

    /// Identifies the run for anybody who finds the files after a crash.
    pub(crate) fn run_record(&self) -> PathBuf {
        self.state.join("run.json")
    }
}

fn with_way_out(error: &io::Error, variable: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{error}; set {variable} to another directory"))
}

/// Creates a directory of mode 0700, or checks that an existing one belongs to the user and is private.
pub(crate) fn private_directory(path: &Path) -> io::Result<()> {
    if let Err(error) = fs::DirBuilder::new().recursive(true).mode(0o700).create(path) {
        return Err(io::Error::new(
            error.kind(),
            format!("cannot make the directory {}: {error}", path.display()),
        ));
    }
    let found = fs::symlink_metadata(path)?;
    let refuse = |why: String| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    if !found.is_dir() {
        return refuse(format!("{} is not a directory", path.display()));
    }
    let user = rustix::process::getuid().as_raw();
    if found.uid() != user {
        return refuse(format!("{} belongs to user {}, not to {user}", path.display(), found.uid()));
    }
    if found.mode() & 0o077 != 0 {
        return refuse(format!(
            "{} has mode {:04o}, but it must be private: chmod 700 {0}",
            path.display(),
            found.mode() & 0o7777
        ));
    }
    Ok(())
}

/// Opens a file of the platform's state. Does not block, as a FIFO would, does not follow a link, and refuses
/// everything except a regular file.
pub(crate) fn open_regular(options: &mut fs::OpenOptions, path: &Path) -> io::Result<fs::File> {
    use std::os::unix::fs::OpenOptionsExt as _;

    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let refused = || {
        let message = format!("{} is not a regular file; remove it", path.display());
        io::Error::new(io::ErrorKind::InvalidInput, message)
    };
    let file = options.custom_flags(flags.bits().cast_signed()).open(path).map_err(|error| {
        // The kernel's errors for a FIFO without a reader, and for a link.
        let irregular = fs::symlink_metadata(path).is_ok_and(|found| !found.is_file());
        if irregular { refused() } else { error }
    })?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(refused()) }
}

/// Writes a private file of the platform's state; see [`open_regular`].
pub(crate) fn write_private(path: &Path, content: impl AsRef<[u8]>) -> io::Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};

    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    open_regular(&mut options, path)?.write_all(content.as_ref())
}

/// Replaces a file atomically, so that nobody who watches it sees half of it.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    // Beside it, so that the rename stays within one file system.
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    write_private(new.as_ref(), content)?;
    fs::rename(&new, path)
}

/// A larger file in the platform's state is not ours.
const STATE_BYTES_MAX: u64 = 16 << 20;

/// Reads a file of the platform's state, up to a limit; see [`open_regular`].
pub(crate) fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    use std::io::Read as _;

    let mut bytes = Vec::new();
    let file = open_regular(fs::OpenOptions::new().read(true), path)?;
    file.take(STATE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn with(variables: &'static [(&'static str, &'static str)]) -> Paths {
        Paths::resolve(
            |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value)),
            1000,
        )
    }

    #[test]
    fn xdg_directories_come_first() {
        let paths = with(&[("XDG_STATE_HOME", "/s"), ("XDG_RUNTIME_DIR", "/r"), ("HOME", "/home/a")]);
        let platform = paths.platform("playground");
        assert_eq!(platform.state, Path::new("/s/playctl/playground"));
        assert_eq!(platform.socket, Path::new("/r/playctl/playground.sock"));
        assert_eq!(platform.lock, Path::new("/s/playctl/playground.lock"));
        assert_eq!(paths.slots(), Path::new("/r/playctl/slots"));
    }

    #[test]
    fn without_xdg_directories_home_and_tmp_are_used() {
        let paths = with(&[("HOME", "/home/a"), ("XDG_STATE_HOME", "relative/is/ignored")]);
        assert_eq!(paths.platform("p").state, Path::new("/home/a/.local/state/playctl/p"));
        assert_eq!(paths.platform("p").socket, Path::new("/tmp/playctl-1000/p.sock"));
        assert_eq!(with(&[]).platform("p").state, Path::new("/tmp/playctl-1000/state/p"));
    }

    #[test]
    fn directories_are_private_or_refused() {
        let base = tempfile::tempdir().unwrap();
        let made = base.path().join("a/b");
        private_directory(&made).unwrap();
        assert_eq!(fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o700);
        private_directory(&made).unwrap();

        fs::set_permissions(&made, fs::Permissions::from_mode(0o755)).unwrap();
        let refused = private_directory(&made).unwrap_err().to_string();
        assert!(refused.contains("0755") && refused.contains("chmod 700"), "{refused}");

        let link = base.path().join("link");
        std::os::unix::fs::symlink(&made, &link).unwrap();
        assert!(private_directory(&link).unwrap_err().to_string().contains("not a directory"));
    }

    #[test]
    fn only_regular_files_are_opened_without_blocking() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("file"), "text").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(at("fifo")).status().unwrap();
        assert!(made.success());
        assert_eq!(read_regular(&at("file")).unwrap(), b"text");
        assert_eq!(read_regular(&at("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
        for name in ["link", "fifo", "."] {
            let read = read_regular(&at(name)).unwrap_err();
            assert!(read.to_string().contains("is not a regular file"), "{name}: {read}");
        }
        let log = open_regular(fs::OpenOptions::new().append(true).create(true), &at("fifo")).unwrap_err();
        assert!(log.to_string().contains("is not a regular file"), "{log}");
    }
}
