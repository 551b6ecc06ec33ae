//! The limit on open files, which is the limit on connections.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises this process's soft limit on open files to its hard limit and returns the new limit.
/// Needs no privilege. `u64::MAX` if there is no limit.
pub fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum && setrlimit(Resource::Nofile, wanted).is_err() {
        // Some kernels refuse an "unlimited" number of files; the old limit then still applies.
        return limit.current.unwrap_or(u64::MAX);
    }
    limit.maximum.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raising_twice_changes_nothing() {
        let first = raise_open_files();
        assert!(first > 0);
        assert_eq!(raise_open_files(), first);
        assert_eq!(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX), first);
    }
}
