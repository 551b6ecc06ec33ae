//! The machine of the measurements.

use std::fs;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cpus: usize,
    /// Rounded to whole GiB, because the kernel reserves a varying part for itself.
    pub(crate) memory_gib: u64,
    pub(crate) system: String,
    pub(crate) kernel: String,
    /// Of TCP; it decides how a stream is paced.
    pub(crate) congestion_control: String,
}

impl Machine {
    pub(crate) fn this() -> Self {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let kibibytes: u64 = value(&memory, "MemTotal", ':')
            .and_then(|text| text.trim_end_matches("kB").trim().parse().ok())
            .unwrap_or(0);
        Self {
            cpu: value(&cpu, "model name", ':').unwrap_or_else(|| "unknown CPU".to_owned()),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: (kibibytes + 512 * 1024) / (1024 * 1024),
            system: value(&system, "PRETTY_NAME", '=').unwrap_or_else(|| "Linux".to_owned()),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            congestion_control: fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control")
                .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned()),
        }
    }

    pub(crate) fn in_words(&self) -> String {
        format!(
            "{} × {}, {} GiB, {}, Linux {}, congestion control {}",
            self.cpus, self.cpu, self.memory_gib, self.system, self.kernel, self.congestion_control
        )
    }
}

/// The value of the first line `key SEPARATOR value`, without quotes.
fn value(text: &str, key: &str, separator: char) -> Option<String> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(separator)?;
        (name.trim() == key).then(|| value.trim().trim_matches('"').to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_key() {
        assert_eq!(value("a : 1\nmodel name\t: A B\n", "model name", ':').as_deref(), Some("A B"));
        assert_eq!(value("PRETTY_NAME=\"Debian 12\"", "PRETTY_NAME", '=').as_deref(), Some("Debian 12"));
        assert_eq!(value("", "x", ':'), None);
    }
}
