//! Reading `/proc/self/smaps` (proc(5)).

use std::ops::Range;
use std::path::Path;

/// One mapping of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mapping<'a> {
    pub(crate) range: Range<usize>,
    permissions: &'a str,
    path: &'a str,
    /// KiB that differ from the file, in memory and swapped out. `None`: the kernel did not say.
    anonymous: Option<u64>,
    swapped: Option<u64>,
}

impl Mapping<'_> {
    fn is_code(&self) -> bool {
        self.permissions == "r-xp"
    }

    fn is_constant(&self) -> bool {
        (self.is_code() || self.permissions == "r--p") && self.is_unmodified()
    }

    /// What the loader relocated was written, then made read-only; it may have been swapped out since.
    fn is_unmodified(&self) -> bool {
        self.anonymous == Some(0) && self.swapped == Some(0)
    }
}

/// The C library: everything is linked with it, and the loader never takes it away.
const C_LIBRARY: &str = "libc.so.6";

/// The mappings that equal their file and stay unchanged while the process runs: constants and code of `program` around
/// the address `inside`, and the C library's code.
///
/// Only the contiguous mappings around `inside` count as the program, because the loader made them. Code that reads
/// symbols may map the file elsewhere too, and those mappings come and go. Only the loader maps the C library as
/// executable.
pub(crate) fn constant_parts<'a>(smaps: &'a str, program: &Path, inside: usize) -> Vec<Mapping<'a>> {
    let all: Vec<Mapping<'a>> = parse(smaps);
    let rows = all.chunk_by(|one, next| one.range.end == next.range.start && one.path == next.path);
    let of_program = rows
        .filter(|row| row.iter().any(|mapping| mapping.range.contains(&inside)))
        .flatten()
        .filter(|mapping| Path::new(mapping.path) == program);
    let of_c_library = all.iter().filter(|mapping| {
        mapping.is_code() && Path::new(mapping.path).file_name().is_some_and(|name| name == C_LIBRARY)
    });
    of_program.chain(of_c_library).filter(|mapping| mapping.is_constant()).cloned().collect()
}

/// Unreadable entries are left out.
fn parse(smaps: &str) -> Vec<Mapping<'_>> {
    let mut mappings: Vec<Mapping<'_>> = Vec::new();
    for line in smaps.lines() {
        if let Some(mapping) = head(line) {
            mappings.push(mapping);
        } else if let (Some((name, amount)), Some(mapping)) = (line.split_once(':'), mappings.last_mut()) {
            match name {
                "Anonymous" => mapping.anonymous = kibibytes(amount),
                "Swap" => mapping.swapped = kibibytes(amount),
                _ => {}
            }
        }
    }
    mappings
}

fn kibibytes(amount: &str) -> Option<u64> {
    amount.trim().strip_suffix(" kB")?.parse().ok()
}

/// `START-END PERMISSIONS OFFSET DEVICE INODE PATH`; the lines about it follow.
fn head(line: &str) -> Option<Mapping<'_>> {
    let mut fields = line.splitn(6, ' ');
    let (start, end) = fields.next()?.split_once('-')?;
    let range = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
    let permissions = fields.next()?;
    let path = fields.nth(3)?.trim_start();
    Some(Mapping { range, permissions, path, anonymous: None, swapped: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
00400000-00500000 r--p 00000000 fe:00 10160408                           /opt/a program
Rss:                1024 kB
Anonymous:             0 kB
Swap:                  0 kB
00500000-00900000 r-xp 00100000 fe:00 10160408                           /opt/a program
Anonymous:             0 kB
Swap:                  0 kB
00900000-00970000 r--p 00500000 fe:00 10160408                           /opt/a program
Anonymous:           448 kB
Swap:                  0 kB
00970000-00980000 r--p 00570000 fe:00 10160408                           /opt/a program
Anonymous:             0 kB
Swap:                 64 kB
00980000-00984000 rw-p 00580000 fe:00 10160408                           /opt/a program
Anonymous:             0 kB
Swap:                  0 kB
00984000-009a0000 rw-p 00000000 00:00 0                                  [heap]
Anonymous:            12 kB
Swap:                  0 kB
7f0000000000-7f0000100000 r--p 00000000 fe:00 10160408                   /opt/a program
Anonymous:             0 kB
Swap:                  0 kB
7f0000200000-7f0000220000 r--p 00000000 fe:00 77                         /lib/libc.so.6
Anonymous:             0 kB
Swap:                  0 kB
7f0000220000-7f0000300000 r-xp 00020000 fe:00 77                         /lib/libc.so.6
Anonymous:             0 kB
Swap:                  0 kB
7f0000400000-7f0000500000 r-xp 00000000 fe:00 78                         /lib/libnss_dns.so.2
Anonymous:             0 kB
Swap:                  0 kB
";

    #[test]
    fn only_unwritten_mappings_of_the_loader_are_released() {
        let parts = constant_parts(SMAPS, Path::new("/opt/a program"), 0x50_0010);
        let ranges: Vec<_> = parts.into_iter().map(|part| part.range).collect();
        assert_eq!(ranges, [0x40_0000..0x50_0000, 0x50_0000..0x90_0000, 0x7f00_0022_0000..0x7f00_0030_0000]);
    }

    #[test]
    fn mappings_not_known_to_be_unmodified_are_kept() {
        for missing in ["Anonymous:", "Swap:"] {
            let cut = SMAPS.replace(missing, "Other:");
            assert_eq!(constant_parts(&cut, Path::new("/opt/a program"), 0x50_0010), [], "without {missing}");
        }
    }

    #[test]
    fn mappings_of_another_program_are_kept() {
        let parts = constant_parts(SMAPS, Path::new("/opt/another"), 0x50_0010);
        assert!(parts.iter().all(|part| part.path == "/lib/libc.so.6"), "{parts:?}");
    }
}
