//! Gives back the memory that only start-up needed.
//!
//! One binary holds all commands and services, and starting any of them runs through code and tables all over it:
//! arguments, settings, logging, clients. The kernel also maps the surroundings of each touched page, so most of a
//! small service's resident memory is program text, much of it never used again. Those pages are clean copies of a
//! file: dropping them loses nothing, and the ones needed later come back from the page cache.

mod mappings;

use std::fs;
use std::io;

use rustix::mm::{Advice, madvise};

use self::mappings::Mapping;

/// Drops the unmodified pages of this program's code and constants, and of the C library's code, from resident memory.
/// Returns how many bytes of address space that is. Meant for the moment when a server is ready; harmless at any other.
///
/// # Errors
/// If `/proc/self` cannot be read, or the kernel refuses. The program runs on as before.
pub fn give_back_startup_pages() -> io::Result<usize> {
    let program = fs::read_link("/proc/self/exe")?;
    let maps = fs::read_to_string("/proc/self/smaps")?;
    let here = give_back_startup_pages as *const () as usize;
    let mut bytes = 0;
    for mapping in mappings::constant_parts(&maps, &program, here) {
        drop_pages(&mapping)?;
        bytes += mapping.range.len();
    }
    Ok(bytes)
}

#[expect(unsafe_code, reason = "the call that frees pages; there is no safe one")]
fn drop_pages(mapping: &Mapping<'_>) -> io::Result<()> {
    let start = std::ptr::with_exposed_provenance_mut(mapping.range.start);
    // SAFETY: the range is a private, read-only mapping of a file, and none of its pages was ever written (the kernel
    // counts none as anonymous or swapped out), so each page reads the same when it comes back. It belongs to the
    // running program or its C library, which are not unmapped, remapped or made writable while it runs.
    unsafe { madvise(start, mapping.range.len(), Advice::LinuxDontNeed) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resident_of_files() -> u64 {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
    }

    #[test]
    fn pages_are_released_and_the_program_keeps_running() {
        static TABLE: [u8; 2 << 20] = [7; 2 << 20];
        let sum = || TABLE.iter().map(|&byte| u64::from(std::hint::black_box(byte))).sum::<u64>();
        let before = sum();
        let resident = resident_of_files();
        assert!(give_back_startup_pages().unwrap() > TABLE.len());
        let left = resident_of_files();
        assert!(left + 1024 <= resident, "{resident} KiB were resident, {left} are");
        assert_eq!(sum(), before);
    }
}
