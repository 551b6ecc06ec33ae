//! Container images without a container engine: one Linux program, the shared libraries it links, the certificates of
//! the common authorities, and nothing else.
//!
//! [`Image::build`] collects the files and determines every byte of the image; [`Image::write`] writes a tar that is
//! both an OCI layout and what `docker save` writes, so that `ctr`, `minikube`, `podman` and `docker` all accept it.
//! The same files give the same digest: an image does not depend on the clock, the user or its name.
//!
//! [`engine`] has the commands with which these programs load such a tar; it runs none of them.

#![warn(missing_docs)]

mod archive;
mod certificates;
mod elf;
pub mod engine;
mod error;
mod layer;
mod libraries;
mod reference;
mod root;
mod saved;

use std::path::{Path, PathBuf};

pub use archive::{ENTRYPOINT, ENVIRONMENT, Image, USER, WORKING_DIRECTORY, labels};
pub use elf::Architecture;
pub use error::Error;
pub use reference::{BadReference, Reference};
pub use saved::Saved;

/// What goes into an image.
#[derive(Debug, Clone)]
pub struct Source {
    /// The Linux program.
    pub binary: PathBuf,
    /// The root for libraries and certificates: `/`, or the root of another system.
    pub root: PathBuf,
    /// The authorities' certificates as one PEM file; `None`: the root's own, else this machine's.
    pub certificates: Option<PathBuf>,
    /// The program's version, for the image's labels.
    pub version: String,
}

impl Source {
    /// A program on this machine.
    pub fn new(binary: impl AsRef<Path>, version: &str) -> Self {
        Self {
            binary: binary.as_ref().to_owned(),
            root: PathBuf::from("/"),
            certificates: None,
            version: version.to_owned(),
        }
    }
}

/// Something odd about an image that can still be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// The program contains debug information, which only makes the image larger.
    DebugInfo {
        /// The size of the debug information.
        bytes: u64,
    },
    /// The image is larger than [`LARGE`].
    Large {
        /// Its size.
        bytes: u64,
    },
    /// The C library loads its resolver from files that no program links.
    OldLibc,
}

/// An image of the release binary stays well below this size.
pub const LARGE: u64 = 60_000_000;

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        match self {
            Self::DebugInfo { bytes } => write!(
                f,
                "the program carries {:.1} MB of debug information; use a release build (cargo build --release) \
                 or strip it",
                megabytes(*bytes)
            ),
            Self::Large { bytes } => write!(
                f,
                "the image has {:.1} MB, more than the {:.0} MB that a release build stays below",
                megabytes(*bytes),
                megabytes(LARGE)
            ),
            Self::OldLibc => f.write_str(
                "the C library is older than glibc 2.34 and loads the resolver of host names from files that are not \
                 in the image, so host names will not resolve; build on a newer system, or use \
                 infrastructure/docker/Dockerfile",
            ),
        }
    }
}
