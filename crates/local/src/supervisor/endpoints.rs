//! The endpoints for the gateways: one JSON file, replaced by rename at every change.

use std::{io, path::PathBuf};

use platform::endpoints::Endpoints;

use crate::paths::replace;

#[derive(Debug)]
pub(crate) struct EndpointsFile {
    path: PathBuf,
    current: Endpoints,
    /// Notifies followers of the file of the current version.
    versions: tokio::sync::watch::Sender<u64>,
}

impl EndpointsFile {
    /// There is no file before the first write.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, current: Endpoints::default(), versions: tokio::sync::watch::Sender::new(0) }
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        &self.path
    }

    pub(crate) fn current(&self) -> &Endpoints {
        &self.current
    }

    pub(crate) fn versions(&self) -> tokio::sync::watch::Receiver<u64> {
        self.versions.subscribe()
    }

    pub(crate) fn write(&mut self, endpoints: Endpoints) -> io::Result<()> {
        replace(&self.path, &serde_json::to_vec_pretty(&endpoints)?)?;
        self.versions.send_replace(endpoints.version);
        self.current = endpoints;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_file_is_replaced_whole_and_a_failed_write_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("endpoints.json");
        let mut file = EndpointsFile::new(path.clone());
        let versions = file.versions();
        let read = || -> Endpoints { serde_json::from_slice(&fs::read(&path).unwrap()).unwrap() };
        file.write(Endpoints { version: 1, clusters: Vec::new() }).unwrap();
        assert_eq!((read().version, *versions.borrow()), (1, 1));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);

        // Something that a file cannot replace.
        fs::create_dir(path.with_extension("json.new")).unwrap();
        file.write(Endpoints { version: 2, clusters: Vec::new() }).unwrap_err();
        assert_eq!((read().version, *versions.borrow(), file.current().version), (1, 1, 1));
    }
}
