//! The contestants, and how each is started.

mod direct;
mod proxy;

use std::{
    cell::OnceCell,
    path::{Path, PathBuf},
};

use anyhow::Result;
pub(crate) use direct::{Direct, MESSAGE};
pub(crate) use proxy::{Backend, Proxy, Setup, gateways};
use serde::{Deserialize, Serialize};

use crate::{cassandra::Cassandra, install, playctl};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Contestant {
    /// The program of this repository.
    Playctl,
    /// The minimum that does the same work ([`crate::reference`]).
    Reference,
    HaProxy,
    Envoy,
}

impl Contestant {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Playctl => "playctl",
            Self::Reference => "reference",
            Self::HaProxy => "HAProxy",
            Self::Envoy => "Envoy",
        }
    }
}

/// The programs of the contestants, each built or installed on first use.
#[derive(Debug)]
pub(crate) struct Programs {
    build: bool,
    playctl: OnceCell<PathBuf>,
    histories: OnceCell<PathBuf>,
    haproxy: OnceCell<PathBuf>,
    envoy: OnceCell<PathBuf>,
    cassandra: OnceCell<Cassandra>,
}

impl Programs {
    /// `build` brings ours up to date first.
    pub(crate) fn new(build: bool) -> Self {
        let [playctl, histories, haproxy, envoy] = [const { OnceCell::new() }; 4];
        Self { build, playctl, histories, haproxy, envoy, cassandra: OnceCell::new() }
    }

    pub(crate) fn playctl(&self) -> Result<&Path> {
        once(&self.playctl, || playctl::program(self.build)).map(PathBuf::as_path)
    }

    pub(crate) fn histories(&self) -> Result<&Path> {
        once(&self.histories, || playctl::histories(self.build)).map(PathBuf::as_path)
    }

    /// Started on first use; ends with the programs.
    pub(crate) fn cassandra(&self) -> Result<&Cassandra> {
        once(&self.cassandra, Cassandra::start)
    }

    fn haproxy(&self) -> Result<&Path> {
        once(&self.haproxy, || install::program("haproxy")).map(PathBuf::as_path)
    }

    fn envoy(&self) -> Result<&Path> {
        once(&self.envoy, || install::program("envoy")).map(PathBuf::as_path)
    }

    /// The version of each program used, by the contestant's name.
    pub(crate) fn versions(&self) -> Vec<(Contestant, String)> {
        let of = |contestant, program: &OnceCell<PathBuf>, flag| {
            Some((contestant, install::version(program.get()?, flag)?))
        };
        [
            of(Contestant::Playctl, &self.playctl, "--version"),
            of(Contestant::HaProxy, &self.haproxy, "-v"),
            of(Contestant::Envoy, &self.envoy, "--version"),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn once<T>(cell: &OnceCell<T>, find: impl FnOnce() -> Result<T>) -> Result<&T> {
    if let Some(found) = cell.get() {
        return Ok(found);
    }
    let found = find()?;
    Ok(cell.get_or_init(|| found))
}
