//! The image: its configuration, its manifest, and a tar that every engine accepts.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use serde_json::json;
use tar::{Builder, EntryType};

use crate::{
    Architecture, Error, LARGE, Reference, Source, Warning, certificates,
    elf::Elf,
    layer::{self, Files, digest},
    libraries, root,
};

/// The path of the program in the image, which is also the entry point.
pub const ENTRYPOINT: &str = "/usr/local/bin/playctl";
/// The user and group of the containers: `nonroot` of distroless images.
pub const USER: &str = "65532:65532";
/// The environment of the containers, as in distroless images.
pub const ENVIRONMENT: [&str; 2] = [
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
];
/// The containers' working directory.
pub const WORKING_DIRECTORY: &str = "/";

const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// A constant, so that images do not depend on the clock.
const CREATED: &str = "1970-01-01T00:00:00Z";

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// The image's labels: the annotations that the OCI defines.
pub fn labels(version: &str) -> BTreeMap<&'static str, &str> {
    BTreeMap::from([
        (
            "org.opencontainers.image.description",
            "Brings up, loads, watches and explains autoscaled platforms of long-lived connections.",
        ),
        ("org.opencontainers.image.licenses", env!("CARGO_PKG_LICENSE")),
        ("org.opencontainers.image.title", "playctl"),
        ("org.opencontainers.image.version", version),
    ])
}

/// An image in memory.
#[derive(Debug)]
pub struct Image {
    architecture: Architecture,
    layers: Vec<Layer>,
    config: Vec<u8>,
    manifest: Vec<u8>,
    warnings: Vec<Warning>,
}

#[derive(Debug)]
struct Layer {
    files: Files,
    digest: String,
    bytes: u64,
    comment: &'static str,
}

impl Layer {
    fn new(files: Files, comment: &'static str, of: &Path) -> Result<Self, Error> {
        let measured = files.measure();
        let (digest, bytes) = measured.map_err(|error| Error::Write { path: of.to_owned(), error })?;
        Ok(Self { files, digest, bytes, comment })
    }
}

impl Image {
    /// Reads all files that go into the image.
    pub fn build(source: &Source) -> Result<Self, Error> {
        let program = root::read(&source.binary)?;
        let elf = Elf::parse(&program, &source.binary)?;
        // `$ORIGIN` is the folder of the real file, as seen from the root if it lies below the root.
        let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let origin = real(&source.binary);
        let origin = match origin.strip_prefix(real(&source.root)) {
            Ok(below) => Path::new("/").join(below),
            Err(_) => origin,
        };
        let linked = libraries::resolve(&elf, &origin, &source.root)?;
        let certificates = certificates::find(source.certificates.as_deref(), &source.root)?;

        // Files that rarely change go into a lower layer than those that change with every build.
        let mut base = Files::default();
        base.add(CERTIFICATES, false, certificates);
        linked.libraries.into_iter().for_each(|(path, bytes)| base.add(path, false, bytes));
        linked.loader.into_iter().for_each(|(path, bytes)| base.add(path, true, bytes));
        let mut top = Files::default();
        top.add(ENTRYPOINT, true, program);
        let layers = vec![
            Layer::new(base, "linked libraries and certificates", &source.binary)?,
            Layer::new(top, "playctl", &source.binary)?,
        ];
        let architecture = elf.architecture;
        let config = config(architecture, &layers, &source.version).to_string().into_bytes();
        let manifest = manifest(&config, &layers, &source.version).to_string().into_bytes();
        let mut image = Self { architecture, layers, config, manifest, warnings: Vec::new() };
        if elf.debug_bytes > 0 {
            image.warnings.push(Warning::DebugInfo { bytes: elf.debug_bytes });
        }
        if image.bytes() > LARGE {
            image.warnings.push(Warning::Large { bytes: image.bytes() });
        }
        if linked.has_old_libc {
            image.warnings.push(Warning::OldLibc);
        }
        Ok(image)
    }

    /// The architecture of its program.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// The digest of its manifest, by which a registry knows it. It does not depend on name and tag.
    pub fn digest(&self) -> String {
        digest(&self.manifest)
    }

    /// The digest of its configuration, which `docker images` shows as its id.
    pub fn id(&self) -> String {
        digest(&self.config)
    }

    /// The size of its layers.
    pub fn bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.bytes).sum()
    }

    /// Oddities of the image.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Its files and their sizes, which is everything it contains.
    pub fn files(&self) -> impl Iterator<Item = (&Path, u64)> {
        self.layers.iter().flat_map(|layer| layer.files.paths())
    }

    /// Writes the tar: an OCI layout with `docker save`'s `manifest.json` beside its index.
    pub fn write(&self, reference: &Reference, out: impl Write) -> io::Result<()> {
        let mut tar = Builder::new(out);
        for folder in ["blobs", "blobs/sha256"] {
            layer::append(&mut tar, Path::new(folder), EntryType::Directory, 0o755, &[])?;
        }
        for layer in &self.layers {
            // The layer is generated while it is written, and is never in memory as a whole. A tar's size is a multiple
            // of 512, so it needs no padding.
            let mut header = layer::header(EntryType::Regular, 0o644, layer.bytes);
            header.set_path(blob(&layer.digest))?;
            header.set_cksum();
            tar.get_mut().write_all(header.as_bytes())?;
            layer.files.write(tar.get_mut())?;
        }
        let index = self.index(reference).to_string();
        let saved = json!([{
            "Config": blob(&self.id()),
            "RepoTags": [reference.to_string()],
            "Layers": self.layers.iter().map(|layer| blob(&layer.digest)).collect::<Vec<_>>(),
        }]);
        for (path, bytes) in [
            (blob(&self.id()), &self.config[..]),
            (blob(&self.digest()), &self.manifest),
            (PathBuf::from("index.json"), index.as_bytes()),
            (PathBuf::from("manifest.json"), saved.to_string().as_bytes()),
            (PathBuf::from("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#),
        ] {
            layer::append(&mut tar, &path, EntryType::Regular, 0o644, bytes)?;
        }
        tar.finish()
    }

    /// Writes the tar to a file, completely or not at all. Returns its size.
    pub fn save(&self, reference: &Reference, path: &Path) -> Result<u64, Error> {
        let failed = |error| Error::Write { path: path.to_owned(), error };
        let path = match fs::metadata(path) {
            // Pipes and devices take what comes, and stay what they are.
            Ok(there) if !there.is_file() && !there.is_dir() => {
                return self.pour(reference, path).map_err(failed);
            }
            // A link stays one: what it leads to is replaced.
            Ok(_) => &path.canonicalize().map_err(failed)?,
            Err(_) => path,
        };
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(format!(".{}.part", std::process::id()));
        let unfinished = PathBuf::from(unfinished);
        let written = File::create(&unfinished).and_then(|file| {
            let mut out = BufWriter::new(file);
            self.write(reference, &mut out)?;
            let file = out.into_inner()?;
            fs::rename(&unfinished, path)?;
            Ok(file.metadata()?.len())
        });
        written.map_err(|error| {
            // It does not exist if it could not be created.
            let _ = fs::remove_file(&unfinished);
            failed(error)
        })
    }

    fn pour(&self, reference: &Reference, path: &Path) -> io::Result<u64> {
        let mut out = Counted { out: BufWriter::new(File::options().write(true).open(path)?), bytes: 0 };
        self.write(reference, &mut out)?;
        out.flush()?;
        Ok(out.bytes)
    }

    fn index(&self, reference: &Reference) -> serde_json::Value {
        json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [{
                "mediaType": MANIFEST,
                "digest": self.digest(),
                "size": self.manifest.len(),
                "platform": {"architecture": self.architecture, "os": "linux"},
                "annotations": {
                    // containerd and Podman take the name from the first; the second is the OCI's own.
                    "io.containerd.image.name": reference.full(),
                    "org.opencontainers.image.ref.name": reference.tag(),
                },
            }],
        })
    }
}

/// Counts what is written.
struct Counted<W> {
    out: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn blob(digest: &str) -> PathBuf {
    Path::new("blobs").join(digest.replace(':', "/"))
}

fn config(architecture: Architecture, layers: &[Layer], version: &str) -> serde_json::Value {
    json!({
        "architecture": architecture,
        "os": "linux",
        "created": CREATED,
        "config": {
            "User": USER,
            "Env": ENVIRONMENT,
            "Entrypoint": [ENTRYPOINT],
            "WorkingDir": WORKING_DIRECTORY,
            "Labels": labels(version),
        },
        "rootfs": {
            "type": "layers",
            "diff_ids": layers.iter().map(|layer| &layer.digest).collect::<Vec<_>>(),
        },
        "history": layers
            .iter()
            .map(|layer| json!({"created": CREATED, "created_by": "playctl image build", "comment": layer.comment}))
            .collect::<Vec<_>>(),
    })
}

fn manifest(config: &[u8], layers: &[Layer], version: &str) -> serde_json::Value {
    let descriptor = |kind, digest: &str, size| json!({"mediaType": kind, "digest": digest, "size": size});
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, &digest(config), config.len() as u64),
        "layers": layers
            .iter()
            .map(|layer| descriptor(LAYER, &layer.digest, layer.bytes))
            .collect::<Vec<_>>(),
        "annotations": labels(version),
    })
}
