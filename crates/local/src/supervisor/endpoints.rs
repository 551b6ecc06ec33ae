//! What the gateways are told: one JSON file, replaced by rename at every change.

use std::{fs, io, path::PathBuf};

use platform::endpoints::{Cluster, Endpoint, Endpoints};

use super::service::Service;
use platform::target::ReplicaPhase;

#[derive(Debug)]
pub(crate) struct EndpointsFile {
    path: PathBuf,
    current: Endpoints,
}

impl EndpointsFile {
    /// Starts with a file that has these clusters and no replica.
    pub(crate) fn create(path: PathBuf, clusters: &[String]) -> io::Result<Self> {
        let clusters =
            clusters.iter().map(|name| Cluster { name: name.clone(), endpoints: Vec::new() }).collect();
        let file = Self { path, current: Endpoints { version: 1, clusters } };
        file.write()?;
        Ok(file)
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        &self.path
    }

    pub(crate) fn current(&self) -> &Endpoints {
        &self.current
    }

    pub(crate) fn version(&self) -> u64 {
        self.current.version
    }

    /// Writes the file if anything changed; returns the clusters that did.
    pub(crate) fn update(&mut self, clusters: Vec<Cluster>) -> io::Result<Vec<Cluster>> {
        let changed: Vec<Cluster> =
            clusters.iter().filter(|cluster| !self.current.clusters.contains(cluster)).cloned().collect();
        if changed.is_empty() && clusters.len() == self.current.clusters.len() {
            return Ok(changed);
        }
        self.current = Endpoints { version: self.current.version + 1, clusters };
        self.write()?;
        Ok(changed)
    }

    fn write(&self) -> io::Result<()> {
        // Beside it, so that the rename stays within one file system; gateways look at the final name only.
        let new = self.path.with_extension("json.new");
        fs::write(&new, serde_json::to_vec_pretty(&self.current)?)?;
        fs::rename(&new, &self.path)
    }
}

/// Those that may get connections, and those that still have some.
pub(crate) fn cluster(service: &Service) -> Cluster {
    let endpoints = service
        .replicas
        .iter()
        .filter(|replica| matches!(replica.phase, ReplicaPhase::Ready | ReplicaPhase::Draining))
        .map(|replica| Endpoint {
            name: replica.name.clone(),
            address: replica.client_address(&service.template),
            health: Some(replica.admin_address(&service.template)),
            draining: replica.phase == ReplicaPhase::Draining,
        })
        .collect();
    Cluster { name: service.name.clone(), endpoints }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_grows_with_changes_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("endpoints.json");
        let mut file = EndpointsFile::create(path.clone(), &["tcp".to_owned()]).unwrap();
        let read = || -> Endpoints { serde_json::from_slice(&fs::read(&path).unwrap()).unwrap() };
        assert_eq!(read().version, 1);

        let endpoint = Endpoint {
            name: "tcp-0".to_owned(),
            address: "127.77.2.1:40000".parse().unwrap(),
            health: None,
            draining: false,
        };
        let one = Cluster { name: "tcp".to_owned(), endpoints: vec![endpoint] };
        assert_eq!(file.update(vec![one.clone()]).unwrap(), vec![one.clone()]);
        assert!(file.update(vec![one.clone()]).unwrap().is_empty());
        assert_eq!(file.version(), 2);
        assert_eq!(read(), Endpoints { version: 2, clusters: vec![one] });
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
