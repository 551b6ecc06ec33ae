//! Images of this test's own program: what is in them, and that the same files give the same bytes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read as _,
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use image::{ENTRYPOINT, Error, Image, Reference, Saved, Source, USER, Warning};
use ring::digest::{SHA256, digest};
use serde_json::Value;

fn source() -> Source {
    Source::new(std::env::current_exe().expect("a path"), "1.2.3")
}

fn reference(text: &str) -> Reference {
    text.parse().expect("a reference")
}

fn tar_of(image: &Image, name: &str) -> Vec<u8> {
    let mut tar = Vec::new();
    image.write(&reference(name), &mut tar).expect("written");
    tar
}

/// The regular files of a tar, and its folders.
fn entries(tar: &[u8]) -> (BTreeMap<String, Vec<u8>>, BTreeSet<String>) {
    let (mut files, mut folders) = (BTreeMap::new(), BTreeSet::new());
    for entry in tar::Archive::new(tar).entries().expect("a tar") {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path").display().to_string();
        if entry.header().entry_type().is_dir() {
            assert!(folders.insert(path.trim_end_matches('/').to_owned()), "{path} twice");
        } else {
            assert!(entry.header().entry_type().is_file(), "{path}");
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("read");
            assert!(files.insert(path.clone(), bytes).is_none(), "{path} twice");
        }
    }
    (files, folders)
}

fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("JSON")
}

/// A tar of an image, with everything that refers to something checked against it.
struct Checked {
    files: BTreeMap<String, Vec<u8>>,
    index: Value,
    config: Value,
    layers: Vec<Vec<u8>>,
}

fn checked(tar: &[u8]) -> Checked {
    let (files, folders) = entries(tar);
    assert_eq!(folders.iter().map(String::as_str).collect::<Vec<_>>(), ["blobs", "blobs/sha256"]);
    let mut unused: BTreeSet<&String> = files.keys().collect();
    let mut take = |path: &str| {
        unused.remove(&path.to_owned());
        files.get(path).unwrap_or_else(|| panic!("{path} is missing: {:?}", files.keys())).clone()
    };
    let mut blob = |descriptor: &Value| {
        let name =
            descriptor["digest"].as_str().expect("a string").strip_prefix("sha256:").expect("a SHA-256");
        let bytes = take(&format!("blobs/sha256/{name}"));
        assert_eq!(sha256(&bytes), name);
        assert_eq!(descriptor["size"], bytes.len());
        bytes
    };
    let index = json(&files["index.json"]);
    assert_eq!(index["manifests"].as_array().expect("a list").len(), 1);
    let manifest = json(&blob(&index["manifests"][0]));
    let config = json(&blob(&manifest["config"]));
    let layers: Vec<_> = manifest["layers"].as_array().expect("a list").iter().map(&mut blob).collect();
    let ids: Vec<_> = layers.iter().map(|layer| format!("sha256:{}", sha256(layer))).collect();
    assert_eq!(config["rootfs"]["diff_ids"], serde_json::json!(ids));
    assert_eq!(config["history"].as_array().expect("a list").len(), layers.len());
    assert_eq!(json(&take("oci-layout"))["imageLayoutVersion"], "1.0.0");

    // What docker reads leads to the same blobs.
    let saved = json(&take("manifest.json"));
    let path = |digest: &Value| format!("blobs/{}", digest.as_str().expect("a string").replace(':', "/"));
    assert_eq!(saved[0]["Config"], path(&manifest["config"]["digest"]));
    let paths: Vec<_> =
        manifest["layers"].as_array().expect("a list").iter().map(|layer| path(&layer["digest"])).collect();
    assert_eq!(saved[0]["Layers"], serde_json::json!(paths));
    take("index.json");
    assert!(unused.is_empty(), "nothing refers to {unused:?}");
    Checked { files, index, config, layers }
}

#[test]
fn the_same_files_give_the_same_bytes_and_a_name_changes_no_digest() {
    let (first, second) = (Image::build(&source()).unwrap(), Image::build(&source()).unwrap());
    assert!(tar_of(&first, "playctl:1") == tar_of(&second, "playctl:1"), "the same bytes");
    assert_eq!((first.digest(), first.id()), (second.digest(), second.id()));
    let (one, other) = (checked(&tar_of(&first, "playctl:1")), checked(&tar_of(&first, "r.example/lab/x:2")));
    let differing: Vec<_> = one
        .files
        .iter()
        .filter(|(path, bytes)| other.files[*path] != **bytes)
        .map(|(path, _)| path)
        .collect();
    assert_eq!(differing, ["index.json", "manifest.json"]);
    assert_eq!(one.index["manifests"][0]["digest"], first.digest());

    // And another program is another image.
    let copy = tempfile::tempdir().unwrap();
    let changed = copy.path().join("playctl");
    let mut bytes = fs::read(std::env::current_exe().unwrap()).unwrap();
    bytes.push(0);
    fs::write(&changed, bytes).unwrap();
    let changed = Image::build(&Source { binary: changed, ..source() }).unwrap();
    assert_ne!(changed.digest(), first.digest());
}

#[test]
fn every_digest_is_right_and_the_layers_hold_only_listed_files() {
    let image = Image::build(&source()).unwrap();
    let Checked { config, layers, index, .. } = checked(&tar_of(&image, "playctl:1.2.3"));
    let (mut found, mut folders) = (BTreeMap::new(), BTreeSet::new());
    for layer in &layers {
        let (in_layer, its_folders) = entries(layer);
        found.extend(in_layer.into_iter().map(|(path, bytes)| (PathBuf::from("/").join(path), bytes)));
        folders.extend(its_folders.into_iter().map(|path| PathBuf::from("/").join(path)));
    }
    let listed: BTreeMap<_, _> = image.files().map(|(path, bytes)| (path.to_owned(), bytes)).collect();
    let sizes: BTreeMap<_, _> =
        found.iter().map(|(path, bytes)| (path.clone(), bytes.len() as u64)).collect();
    assert_eq!(sizes, listed);
    let parents: BTreeSet<_> = listed
        .keys()
        .flat_map(|path| path.ancestors().skip(1))
        .filter(|folder| *folder != Path::new("/"))
        .map(Path::to_owned)
        .collect();
    assert_eq!(folders, parents);
    // Besides the program: libraries, the loader, certificates.
    for path in listed.keys() {
        let name = path.file_name().unwrap().to_str().unwrap();
        let is_expected = path == Path::new(ENTRYPOINT)
            || path == Path::new("/etc/ssl/certs/ca-certificates.crt")
            || name.contains(".so");
        assert!(is_expected, "{}", path.display());
    }
    assert!(found[Path::new(ENTRYPOINT)] == fs::read(std::env::current_exe().unwrap()).unwrap());
    assert_eq!(image.bytes(), layers.iter().map(|layer| layer.len() as u64).sum::<u64>());

    assert_eq!(config["config"]["Entrypoint"], serde_json::json!([ENTRYPOINT]));
    assert_eq!(config["config"]["User"], USER);
    assert_eq!(config["config"]["Labels"]["org.opencontainers.image.version"], "1.2.3");
    assert_eq!(config["os"], "linux");
    assert_eq!(config["architecture"], image.architecture().name());
    let annotations = &index["manifests"][0]["annotations"];
    assert_eq!(annotations["io.containerd.image.name"], "docker.io/library/playctl:1.2.3");
    assert_eq!(annotations["org.opencontainers.image.ref.name"], "1.2.3");
}

#[test]
fn a_saved_image_is_whole_and_says_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("image.tar");
    let image = Image::build(&source()).unwrap();
    let name = reference("lab/playctl:1");
    let bytes = image.save(&name, &file).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().len(), bytes);
    assert!(fs::read(&file).unwrap() == tar_of(&image, "lab/playctl:1"));
    let saved = Saved::read(&file).unwrap();
    assert_eq!((saved.references, saved.digests), (vec![name.clone()], vec![image.digest(), image.id()]));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");

    let error = image.save(&name, &folder.path().join("missing/image.tar")).unwrap_err().to_string();
    assert!(error.starts_with("could not write ") && error.contains("missing/image.tar"), "{error}");
    let folder_in_the_way = folder.path().join("taken");
    fs::create_dir_all(folder_in_the_way.join("by")).unwrap();
    assert!(matches!(image.save(&name, &folder_in_the_way), Err(Error::Write { .. })));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left of the failure");
}

#[test]
fn an_image_is_written_to_a_pipe_or_through_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let (pipe, file, link) =
        (folder.path().join("pipe"), folder.path().join("file"), folder.path().join("link"));
    let image = Image::build(&source()).unwrap();
    let whole = tar_of(&image, "lab/playctl:1");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reading = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::read(pipe).unwrap()
    });
    let bytes = image.save(&reference("lab/playctl:1"), &pipe).unwrap();
    assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo(), "it was replaced");
    let read = reading.join().unwrap();
    assert!(read == whole && bytes == read.len() as u64);

    fs::write(&file, "before").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    image.save(&reference("lab/playctl:1"), &link).unwrap();
    assert!(link.is_symlink() && fs::read(&file).unwrap() == whole);
}

#[test]
fn a_file_that_is_not_an_image_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let mut empty = Vec::new();
    tar::Builder::new(&mut empty).finish().unwrap();
    let with = |text: &str| {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        tar.append_data(&mut header, "manifest.json", text.as_bytes()).unwrap();
        tar.into_inner().unwrap()
    };
    for (bytes, why) in [
        (vec![b'x'; 4096], "no tar file"),
        (empty, "no manifest.json"),
        (with("{"), "cannot be read"),
        (with("[]"), "names no image"),
        (with("[{}]"), "cannot be read"),
        (with(r#"[{"Config": "x.json", "RepoTags": null}]"#), "names no image"),
        (with(r#"[{"Config": "x.json", "RepoTags": ["A:B:C"]}]"#), "A:B:C"),
    ] {
        fs::write(&file, bytes).unwrap();
        let error = Saved::read(&file).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("playctl image build"), "{error}");
    }
    assert!(Saved::read(&folder.path().join("nowhere")).is_err());
    assert!(Saved::read(folder.path()).is_err(), "a folder");
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let error = Saved::read(&pipe).unwrap_err().to_string();
    assert!(error.contains("not a regular file"), "{error}");
}

#[test]
fn debug_information_is_reported_with_its_size() {
    let image = Image::build(&source()).unwrap();
    let [Warning::DebugInfo { bytes }, ..] = image.warnings() else { panic!("{:?}", image.warnings()) };
    assert!(*bytes > 0 && *bytes < image.bytes(), "{bytes}");
}

#[test]
fn unusable_files_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script");
    fs::write(&script, "#!/bin/sh\n").unwrap();
    let build = |binary: &Path| Image::build(&Source { binary: binary.to_owned(), ..source() }).unwrap_err();
    let error = build(&script).to_string();
    assert!(error.contains("script is a script") && error.contains("docker build"), "{error}");
    assert!(matches!(build(&folder.path().join("nowhere")), Error::Read { .. }));
    assert!(matches!(build(folder.path()), Error::Read { .. }), "a folder");
    // A root without the program's libraries.
    let error = Image::build(&Source { root: folder.path().to_owned(), ..source() }).unwrap_err().to_string();
    assert!(error.contains("needs the ") && error.contains("--root DIR"), "{error}");
}
