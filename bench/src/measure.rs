//! The kernel's accounting of processes.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context, Result};

/// The CPU time a process has used so far, to the nanosecond: the sum of its threads' `schedstat`. The times in
/// `/proc/PID/stat` are counted in ticks of 10 ms, too coarse for idle processes.
pub(crate) fn cpu_time(process: u32) -> Result<Duration> {
    let tasks = format!("/proc/{process}/task");
    let mut total = Duration::ZERO;
    for task in fs::read_dir(&tasks).with_context(|| format!("process {process} is gone: {tasks}"))? {
        // A thread may end between the listing and the read. Its time is then lost, but that is little, because no
        // contestant starts threads under load.
        if let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) {
            total +=
                running_time(&text).with_context(|| format!("{tasks}: unexpected schedstat {text:?}"))?;
        }
    }
    Ok(total)
}

/// The first of the three numbers: nanoseconds on a CPU (Documentation/scheduler/sched-stats.rst).
fn running_time(schedstat: &str) -> Option<Duration> {
    Some(Duration::from_nanos(schedstat.split_ascii_whitespace().next()?.parse().ok()?))
}

/// Resident memory of a process in bytes, added up page by page (`smaps_rollup`): the counters behind `VmRSS` are
/// kept per CPU and may be some pages off.
pub(crate) fn resident(process: u32) -> Result<u64> {
    let path = format!("/proc/{process}/smaps_rollup");
    let text = fs::read_to_string(Path::new(&path)).with_context(|| path.clone())?;
    bytes_of(&text, "Rss:").with_context(|| format!("{path} has no line Rss"))
}

/// The peak resident memory of a process so far, in bytes.
pub(crate) fn most_resident(process: u32) -> Result<u64> {
    let path = format!("/proc/{process}/status");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    bytes_of(&text, "VmHWM:").with_context(|| format!("{path} has no line VmHWM"))
}

/// A process and all its descendants.
pub(crate) fn family(process: u32) -> Result<Vec<u32>> {
    let mut family = vec![process];
    let mut looked_at = 0;
    while let Some(&parent) = family.get(looked_at) {
        let tasks = format!("/proc/{parent}/task");
        for task in fs::read_dir(&tasks).with_context(|| tasks.clone())? {
            let children = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
            family.extend(children.split_ascii_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        looked_at += 1;
    }
    Ok(family)
}

/// The value of a line such as `Rss: 1234 kB`.
fn bytes_of(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[expect(clippy::disallowed_methods, reason = "a measurement has a length; it does not wait for anything")]
pub(crate) fn wait(length: Duration) {
    std::thread::sleep(length);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedstat_begins_with_the_time_on_a_cpu() {
        assert_eq!(running_time("1514680 100791 2\n"), Some(Duration::from_nanos(1_514_680)));
        assert_eq!(running_time(""), None);
    }

    #[test]
    fn rss_is_found_and_turned_into_bytes() {
        let text = "55d0-7ffe ---p 00000000 00:00 0    [rollup]\nRss:                1234 kB\nPss:   99 kB\n";
        assert_eq!(bytes_of(text, "Rss:"), Some(1234 * 1024));
        assert_eq!(bytes_of("Pss: 1 kB", "Rss:"), None);
    }

    #[test]
    fn a_child_belongs_to_the_family() {
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        assert!(family(std::process::id()).unwrap().contains(&child.id()));
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn own_process_has_memory_and_has_used_cpu() {
        let process = std::process::id();
        assert!(resident(process).unwrap() > 4096);
        assert!(most_resident(process).unwrap() > 4096);
        assert!(cpu_time(process).unwrap() > Duration::ZERO);
    }
}
