//! The parts of an ELF file that an image needs.

use std::{
    ffi::OsStr,
    fmt,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use object::{
    Endianness, Object as _, ObjectSection as _, elf,
    read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _},
};
use serde::Serialize;

use crate::Error;

/// An architecture, named as in images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// 64-bit x86.
    Amd64,
    /// 64-bit ARM.
    Arm64,
}

impl Architecture {
    /// The name in an image's configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// Debian's library folder for this architecture.
    pub(crate) fn multiarch(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-linux-gnu",
            Self::Arm64 => "aarch64-linux-gnu",
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One program or library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Elf {
    pub(crate) architecture: Architecture,
    /// The program interpreter; libraries and static programs have none.
    pub(crate) interpreter: Option<PathBuf>,
    /// Names of the libraries that it links.
    pub(crate) needed: Vec<String>,
    /// Folders that are searched first for its own libraries; `$ORIGIN` is the file's folder.
    pub(crate) run_path: Vec<String>,
    /// The older form of it, which also applies to the libraries of its libraries.
    pub(crate) rpath: Vec<String>,
    /// The size of its debug information.
    pub(crate) debug_bytes: u64,
}

impl Elf {
    /// `path` is for the messages only.
    pub(crate) fn parse(bytes: &[u8], path: &Path) -> Result<Self, Error> {
        let damaged = |why: object::Error| Error::Damaged { path: path.to_owned(), why: why.to_string() };
        if !bytes.starts_with(&elf::ELFMAG) {
            return Err(Error::NotLinux { path: path.to_owned(), found: foreign(bytes) });
        }
        let class = bytes.get(4).copied().unwrap_or_default();
        if class != elf::ELFCLASS64.0 {
            return Err(Error::Machine { path: path.to_owned(), machine: "32 bits".to_owned() });
        }
        let file = ElfFile64::<Endianness>::parse(bytes).map_err(damaged)?;
        let endian = file.endian();
        let machine = file.elf_header().e_machine(endian);
        let architecture = match machine {
            elf::EM_X86_64 => Architecture::Amd64,
            elf::EM_AARCH64 => Architecture::Arm64,
            other => {
                return Err(Error::Machine {
                    path: path.to_owned(),
                    machine: format!("machine {} of elf.h", other.0),
                });
            }
        };
        let mut interpreter = None;
        let mut is_dynamic = false;
        for header in file.elf_program_headers() {
            if let Some(name) = header.interpreter(endian, bytes).map_err(damaged)? {
                interpreter = Some(PathBuf::from(OsStr::from_bytes(name)));
            }
            is_dynamic |=
                header.dynamic(endian, bytes).map_err(damaged)?.is_some_and(|table| !table.is_empty());
        }
        let table = file.elf_dynamic_table().map_err(damaged)?;
        if is_dynamic && table.is_empty() {
            let why = "it is dynamically linked, and its section headers are missing".to_owned();
            return Err(Error::Damaged { path: path.to_owned(), why });
        }
        let (mut needed, mut run_path, mut rpath) = (Vec::new(), Vec::new(), Vec::new());
        for entry in &table {
            let list = match entry.tag {
                elf::DT_NEEDED => &mut needed,
                elf::DT_RUNPATH => &mut run_path,
                elf::DT_RPATH => &mut rpath,
                _ => continue,
            };
            let text = String::from_utf8_lossy(table.string(entry).map_err(damaged)?).into_owned();
            if entry.tag == elf::DT_NEEDED {
                list.push(text);
            } else {
                list.extend(text.split(':').filter(|folder| !folder.is_empty()).map(str::to_owned));
            }
        }
        let debug_bytes = file
            .sections()
            .filter(|section| {
                section
                    .name_bytes()
                    .is_ok_and(|name| name.starts_with(b".debug_") || name.starts_with(b".zdebug_"))
            })
            .filter_map(|section| section.file_range())
            .map(|(_, bytes)| bytes)
            .sum();
        Ok(Self { architecture, interpreter, needed, run_path, rpath, debug_bytes })
    }
}

/// What kind of file it is instead of an ELF file.
fn foreign(bytes: &[u8]) -> &'static str {
    match bytes {
        [0xcf | 0xce, 0xfa, 0xed, 0xfe, ..] | [0xca, 0xfe, 0xba, 0xbe, ..] => "a macOS program",
        [b'M', b'Z', ..] => "a Windows program",
        [b'#', b'!', ..] => "a script",
        [] => "an empty file",
        _ => "no program",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_file_that_is_no_linux_program_is_named() {
        for (bytes, what) in [
            (&b"\xcf\xfa\xed\xfe\x0c\0\0\x01"[..], "a macOS program"),
            (b"\xca\xfe\xba\xbe\0\0\0\x02", "a macOS program"),
            (b"MZ\x90\0", "a Windows program"),
            (b"#!/bin/sh\n", "a script"),
            (b"", "an empty file"),
            (b"hello", "no program"),
        ] {
            let error = Elf::parse(bytes, Path::new("playctl")).unwrap_err().to_string();
            assert!(error.starts_with(&format!("playctl is {what}, ")), "{error}");
            assert!(error.contains("--binary FILE") && error.contains("docker build"), "{error}");
        }
    }

    #[test]
    fn this_test_is_a_dynamic_program_with_a_loader() {
        let path = std::env::current_exe().unwrap();
        let elf = Elf::parse(&std::fs::read(&path).unwrap(), &path).unwrap();
        assert!(elf.interpreter.is_some_and(|loader| loader.is_absolute()));
        assert!(elf.needed.iter().any(|name| name.starts_with("libc.")), "{:?}", elf.needed);
        assert!(elf.debug_bytes > 0, "test programs are built with line tables");
    }

    static PROGRAM: LazyLock<Vec<u8>> =
        LazyLock::new(|| std::fs::read(std::env::current_exe().unwrap()).unwrap());

    proptest! {
        /// A damaged file is refused or read, and never crashes the process.
        #[test]
        fn a_damaged_file_does_not_panic(flips in prop::collection::vec((0usize..2048, any::<u8>()), 1..40), cut in prop::option::of(64usize..8192)) {
            let mut bytes = PROGRAM.clone();
            if let Some(cut) = cut {
                bytes.truncate(cut);
            }
            for (at, value) in flips {
                let at = at % bytes.len();
                if at >= 4 {
                    bytes[at] = value;
                }
            }
            let _ = Elf::parse(&bytes, Path::new("damaged"));
        }
    }
}
