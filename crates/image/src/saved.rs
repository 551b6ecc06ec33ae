//! Reads the descriptions in a tar of an image.

use std::{
    fs::{self, File},
    io::Read as _,
    path::Path,
};

use serde::Deserialize;

use crate::{BadReference, Error, Reference};

/// More than any index or manifest of ours, or of an image with a thousand layers, needs.
const MAX_BYTES: u64 = 1 << 20;

/// The contents of a tar that `docker save` or [`Image::save`](crate::Image::save) wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// Its names.
    pub references: Vec<Reference>,
    /// The digests of its manifest and configuration; empty if the tar does not determine them, so that each engine
    /// creates its own manifest.
    pub digests: Vec<String>,
}

/// An entry of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    repo_tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
}

impl Saved {
    /// Reads the tar's descriptions and skips the layers.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let read = |error| Error::Read { path: path.to_owned(), error };
        let unusable = |why: String| Error::NotAnImage { path: path.to_owned(), why };
        // Checked before opening, which would block on a pipe without a writer.
        if !fs::metadata(path).map_err(read)?.is_file() {
            return Err(unusable("it is not a regular file".to_owned()));
        }
        let file = File::open(path).map_err(read)?;
        let (mut entries, mut index): (Option<Vec<Entry>>, Option<Index>) = (None, None);
        let mut archive = tar::Archive::new(file);
        for entry in archive.entries_with_seek().map_err(read)? {
            // The error would repeat what the file has in place of a header.
            let entry = entry.map_err(|_| unusable("it is no tar file, or not a whole one".to_owned()))?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            if !["manifest.json", "index.json"].contains(&name.as_str()) {
                continue;
            }
            let mut text = Vec::new();
            entry.take(MAX_BYTES).read_to_end(&mut text).map_err(read)?;
            let unreadable = |error| unusable(format!("its {name} cannot be read ({error})"));
            if name == "index.json" {
                index = Some(serde_json::from_slice(&text).map_err(unreadable)?);
            } else {
                entries = Some(serde_json::from_slice(&text).map_err(unreadable)?);
            }
        }
        let entries = entries.ok_or_else(|| unusable("it has no manifest.json".to_owned()))?;
        let references: Vec<Reference> = entries
            .iter()
            .flat_map(|entry| entry.repo_tags.iter().flatten())
            .map(|tag| tag.parse().map_err(|error: BadReference| unusable(error.to_string())))
            .collect::<Result<_, _>>()?;
        if references.is_empty() {
            return Err(unusable("its manifest.json names no image".to_owned()));
        }
        let manifests = index.map(|index| index.manifests.into_iter().map(|manifest| manifest.digest));
        let digests = manifests.map_or_else(Vec::new, |manifests| {
            let configs = entries.iter().map(|entry| entry.config.replace("blobs/sha256/", "sha256:"));
            manifests.chain(configs).collect()
        });
        Ok(Self { references, digests })
    }
}
