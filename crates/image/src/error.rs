//! Why an image cannot be built.

use std::{io, path::PathBuf};

/// Each variant names the file and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("could not read {}: {error}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file is larger than any part of an image.
    #[error("{} has {bytes} bytes; at most {} MB can be part of an image", path.display(), crate::root::MAX_BYTES / 1_000_000)]
    TooLarge {
        /// Which one.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// The program is for another operating system, or no program at all.
    #[error(
        "{} is {found}, and an image needs a Linux program; give one with --binary FILE (each release has it), or \
         build the image with Docker: docker build -f infrastructure/docker/Dockerfile -t playctl .",
        path.display()
    )]
    NotLinux {
        /// Which file.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// A Linux program for a machine that images are not made for.
    #[error("{} is a Linux program for {machine}; expected one for 64-bit x86 or ARM (amd64, arm64)", path.display())]
    Machine {
        /// Which file.
        path: PathBuf,
        /// As named in `elf.h`, or its number.
        machine: String,
    },
    /// An ELF file that contradicts itself.
    #[error("{} is damaged: {why}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A linked library is missing.
    #[error(
        "{needed_by} needs the {architecture} library {name}, which is in none of {}; install the package that has it, \
         or name the root of a system that has it with --root DIR",
        shown(searched)
    )]
    LibraryMissing {
        /// The library.
        name: String,
        /// The file that links it.
        needed_by: String,
        /// For which machine.
        architecture: crate::Architecture,
        /// The folders that were searched.
        searched: Vec<PathBuf>,
    },
    /// More than any real program needs.
    #[error("{} links more than {limit} libraries", path.display())]
    TooManyLibraries {
        /// Which program.
        path: PathBuf,
        /// The maximum.
        limit: usize,
    },
    /// A program loader that searches only folders of its own, as on NixOS.
    #[error(
        "the program loader {} searches none of the usual folders, so its libraries have no place in an image; build \
         the image with Docker: docker build -f infrastructure/docker/Dockerfile -t playctl .",
        loader.display()
    )]
    UnusualLoader {
        /// Which one.
        loader: PathBuf,
    },
    /// No certificates of authorities were found.
    #[error(
        "found no certificates of authorities, in none of {}; install the package ca-certificates, or name a PEM file \
         with --certificates FILE",
        shown(searched)
    )]
    NoCertificates {
        /// The places that were searched.
        searched: Vec<PathBuf>,
    },
    /// A file that should contain certificates but does not.
    #[error("{} holds no certificate in PEM format (no line -----BEGIN CERTIFICATE-----)", path.display())]
    NotCertificates {
        /// Which file.
        path: PathBuf,
    },
    /// The image could not be written.
    #[error("could not write {}: {error}", path.display())]
    Write {
        /// Where to.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file is not an image that can be loaded.
    #[error("{} is no image: {why}; make one with: playctl image build -o FILE", path.display())]
    NotAnImage {
        /// Which file.
        path: PathBuf,
        /// What is missing or wrong.
        why: String,
    },
}

fn shown(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}
