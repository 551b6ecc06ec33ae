//! Finds other programs: PATH first, then the testbed's installations.
//!
//! The testbed (`infrastructure/testbed`) keeps each server in a folder `NAME-VERSION` of its cache directory:
//! `TESTBED_HOME`, else `$XDG_CACHE_HOME/playctl/testbed`, else `~/.cache/playctl/testbed`. The newest one is used.

mod version;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use platform::values::{GatewayKind, Values};

/// Debian's servers are not on an ordinary user's PATH.
const SERVERS_DIRECTORIES: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];
/// The testbed's own variable.
const TESTBED_VARIABLE: &str = "TESTBED_HOME";

/// A program that can replace an embedded part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Program {
    Kafka,
    Memcached,
    Elasticsearch,
    Prometheus,
    Envoy,
    Haproxy,
    Redis,
    Etcd,
    Cassandra,
}

/// An installed program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) version: String,
    /// The file to execute; for Java programs, `java`.
    pub(crate) executable: PathBuf,
    /// The installation folder of a Java program; otherwise the executable's folder.
    pub(crate) home: PathBuf,
}

/// The programs found for the values.
pub(crate) type Programs = BTreeMap<Program, Found>;

/// Why a program cannot be used; each says how to get it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotFound {
    #[error(
        "{name} is neither on PATH ({wanted}) nor among the testbed's installations in {testbed}; to get it: {remedy}",
        name = program.name(), wanted = program.command(), remedy = program.remedy(), testbed = testbed.display()
    )]
    Nowhere { program: Program, testbed: PathBuf },
    #[error("{} is at {}, and needs java, which is not on PATH; to get it: apt-get install openjdk-17-jre-headless", program.name(), home.display())]
    NoJava { program: Program, home: PathBuf },
    #[error("{} at {} does not report its version: {why}", program.name(), path.display())]
    NoVersion { program: Program, path: PathBuf, why: String },
}

impl Found {
    /// Version and place.
    pub(crate) fn in_words(&self, program: Program) -> String {
        format!("{}, {}", self.version, self.place(program).display())
    }

    pub(crate) fn place(&self, program: Program) -> &Path {
        match program {
            Program::Kafka | Program::Elasticsearch | Program::Cassandra => &self.home,
            _ => &self.executable,
        }
    }
}

impl Program {
    /// In the order of reports.
    pub(crate) const ALL: [Self; 9] = [
        Self::Kafka,
        Self::Memcached,
        Self::Elasticsearch,
        Self::Prometheus,
        Self::Redis,
        Self::Etcd,
        Self::Cassandra,
        Self::Envoy,
        Self::Haproxy,
    ];

    /// As in `values.yaml` and in the testbed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Memcached => "memcached",
            Self::Elasticsearch => "elasticsearch",
            Self::Prometheus => "prometheus",
            Self::Envoy => "envoy",
            Self::Haproxy => "haproxy",
            Self::Redis => "redis",
            Self::Etcd => "etcd",
            Self::Cassandra => "cassandra",
        }
    }

    /// Its name on PATH.
    fn command(self) -> &'static str {
        match self {
            Self::Kafka => "kafka-server-start.sh",
            Self::Redis => "redis-server",
            other => other.name(),
        }
    }

    /// How to install it.
    pub(crate) fn remedy(self) -> String {
        let testbed = format!("infrastructure/testbed/testbed install {}", self.name());
        match self {
            Self::Memcached | Self::Prometheus | Self::Haproxy => {
                format!("apt-get install {}, or {testbed}", self.name())
            }
            Self::Redis | Self::Etcd => format!("apt-get install {}-server, or {testbed}", self.name()),
            Self::Kafka | Self::Elasticsearch | Self::Envoy | Self::Cassandra => testbed,
        }
    }

    /// The programs that these values need.
    pub(crate) fn wanted(values: &Values) -> Vec<Self> {
        let (kafka, memcached) = (&values.kafka, &values.memcached);
        let (elasticsearch, prometheus) = (&values.elasticsearch, &values.prometheus);
        let mut wanted = Vec::new();
        let mut want = |program, is_wanted: bool| wanted.extend(is_wanted.then_some(program));
        want(Self::Kafka, kafka.enabled && kafka.real && kafka.brokers.is_none());
        want(Self::Memcached, memcached.enabled && memcached.real && memcached.host.is_none());
        want(
            Self::Elasticsearch,
            values.has_elasticsearch() && elasticsearch.real && elasticsearch.url.is_none(),
        );
        want(Self::Prometheus, prometheus.enabled && prometheus.url.is_none());
        let redis = &values.redis;
        want(Self::Redis, values.has_redis() && redis.real && redis.address.is_none());
        want(Self::Etcd, values.etcd.enabled && values.etcd.endpoints.is_none());
        let cassandra = &values.cassandra;
        want(Self::Cassandra, cassandra.enabled && cassandra.contact_points.is_none());
        want(Self::Envoy, values.gateway.kind == GatewayKind::Envoy);
        want(Self::Haproxy, values.gateway.kind == GatewayKind::Haproxy);
        wanted
    }
}

/// Where to look.
#[derive(Debug, Clone)]
pub(crate) struct Finder {
    path: Vec<PathBuf>,
    testbed: PathBuf,
}

impl Finder {
    /// From this process's environment.
    pub(crate) fn from_env() -> Self {
        Self::resolve(|name| std::env::var_os(name))
    }

    fn resolve(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let mut path: Vec<PathBuf> = lookup("PATH")
            .iter()
            .flat_map(std::env::split_paths)
            .filter(|entry| entry.is_absolute())
            .collect();
        path.extend(SERVERS_DIRECTORIES.map(PathBuf::from));
        let directory = |name| lookup(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let cache =
            || directory("XDG_CACHE_HOME").or_else(|| directory("HOME").map(|home| home.join(".cache")));
        let testbed = directory(TESTBED_VARIABLE)
            .or_else(|| cache().map(|cache| cache.join("playctl/testbed")))
            .unwrap_or_else(|| PathBuf::from("/var/cache/playctl/testbed"));
        Self { path, testbed }
    }

    /// Finds a program, and asks it for its version: blocks for that long, some 100 ms.
    pub(crate) fn find(&self, program: Program) -> Result<Found, NotFound> {
        match program {
            Program::Kafka => self.on_java(program, "libs", &["kafka_2."]),
            Program::Elasticsearch => self.on_java(program, "lib", &["elasticsearch-"]),
            // From a distribution, or from Maven's installation.
            Program::Cassandra => self.on_java(program, "lib", &["apache-cassandra-", "cassandra-all-"]),
            _ => self.executable(program),
        }
    }

    fn executable(&self, program: Program) -> Result<Found, NotFound> {
        let of_testbed = |home: PathBuf| match program {
            // The wheel's layout.
            Program::Envoy => home.join("envoy/_bin/envoy"),
            _ => home.join(program.command()),
        };
        let executable = self
            .on_path(program.command())
            .or_else(|| self.installed(program).map(of_testbed).find(|path| path.is_file()))
            .ok_or_else(|| self.nowhere(program))?;
        let flag = match program {
            Program::Memcached => "-V",
            Program::Haproxy => "-v",
            _ => "--version",
        };
        let version = version::told(&executable, flag).map_err(|why| NotFound::NoVersion {
            program,
            path: executable.clone(),
            why,
        })?;
        let home = executable.parent().unwrap_or(Path::new("/")).to_owned();
        Ok(Found { version, executable, home })
    }

    /// `jars`: the folder of its jars within a distribution; `named`: prefixes of the jar that carries its version.
    fn on_java(&self, program: Program, jars: &str, named: &[&str]) -> Result<Found, NotFound> {
        // The launcher is in `bin/` of the distribution, or is a link there.
        let of_launcher =
            |launcher: PathBuf| Some(launcher.canonicalize().ok()?.parent()?.parent()?.to_owned());
        let distribution = self.on_path(program.command()).and_then(of_launcher);
        let homes = distribution.into_iter().chain(self.installed(program));
        let mut known = homes.filter_map(|home| {
            let jars = [home.join(jars), home.join("lib")].into_iter().find(|folder| folder.is_dir())?;
            let version = named.iter().find_map(|jar| version::of_jar(&jars, jar))?;
            Some((home, version))
        });
        let (home, version) = known.next().ok_or_else(|| self.nowhere(program))?;
        let Some(executable) = self.on_path("java") else {
            return Err(NotFound::NoJava { program, home });
        };
        Ok(Found { version, executable, home })
    }

    fn nowhere(&self, program: Program) -> NotFound {
        NotFound::Nowhere { program, testbed: self.testbed.clone() }
    }

    fn on_path(&self, command: &str) -> Option<PathBuf> {
        self.path.iter().map(|directory| directory.join(command)).find(|program| is_executable(program))
    }

    /// The testbed's installations of it, the newest first.
    fn installed(&self, program: Program) -> impl Iterator<Item = PathBuf> + use<> {
        let mut found: Vec<(Vec<u64>, PathBuf)> = fs::read_dir(&self.testbed)
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let name = entry.file_name().into_string().ok()?;
                let version = name.strip_prefix(program.name())?.strip_prefix('-')?;
                Some((version::ordered(version)?, entry.path()))
            })
            .collect();
        found.sort();
        found.into_iter().rev().map(|(_, path)| path)
    }
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;

    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests;
