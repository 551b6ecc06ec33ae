//! `playctl image`: the image runs unchanged, and is loaded into the available engine.
//!
//! The engines are stand-ins: scripts on a separate PATH that check their arguments and answer like the real ones. A
//! real containerd loads the image in `image_containerd.rs`.

mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::{Lab, both, eventually, lossy};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_mins(1);

/// A process that ends with its test.
struct Container(Child);

impl Drop for Container {
    fn drop(&mut self) {
        // It has usually ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Unpacks the layers of an image in order, like an engine.
fn unpack(tar: &Path, into: &Path) -> Value {
    let blobs = into.join("blobs-of-the-image");
    tar::Archive::new(fs::File::open(tar).expect("the image")).unpack(&blobs).expect("unpacked");
    let json =
        |path: PathBuf| -> Value { serde_json::from_slice(&fs::read(path).expect("read")).expect("JSON") };
    let saved = json(blobs.join("manifest.json"));
    let root = into.join("root");
    for layer in saved[0]["Layers"].as_array().expect("a list") {
        let layer = fs::File::open(blobs.join(layer.as_str().expect("a string"))).expect("a layer");
        tar::Archive::new(layer).unpack(&root).expect("unpacked");
    }
    json(blobs.join(saved[0]["Config"].as_str().expect("a string")))
}

/// A command in its own root with exactly the image's environment: as root by chroot, otherwise in a user namespace.
fn in_root(root: &Path, config: &Value, user: &str) -> Command {
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("chroot");
        command.arg(format!("--userspec={user}")).arg(root);
        command
    } else {
        let mut command = Command::new("unshare");
        command.arg("--map-root-user").arg(format!("--root={}", root.display())).arg("--wd=/");
        command
    };
    let path = std::env::var_os("PATH").expect("a PATH");
    command.env_clear();
    for variable in config["config"]["Env"].as_array().expect("a list") {
        let (name, value) = variable.as_str().expect("a string").split_once('=').expect("NAME=VALUE");
        command.env(name, value);
    }
    // `chroot` itself is found on our PATH; the program inside by its full path.
    command.env("PATH", path);
    command.args(
        config["config"]["Entrypoint"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|word| word.as_str().expect("a string")),
    );
    command
}

#[test]
fn the_image_runs_with_only_its_own_files() {
    let lab = Lab::new("image-runs");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("image.tar");
    let built = lab.json(&["image", "build", "--output-file", file.to_str().unwrap()]);
    assert_eq!(built["file"], file.to_str().unwrap());
    assert_eq!(built["file_bytes"], fs::metadata(&file).unwrap().len());
    // This is a development build.
    assert!(built["warnings"][0].as_str().unwrap().contains("debug information"), "{built}");
    let again = lab.json(&["image", "build", "-o", file.to_str().unwrap(), "--tag", "other:1"]);
    assert_eq!((&again["digest"], &again["reference"]), (&built["digest"], &Value::from("other:1")));

    let config = unpack(&file, folder.path());
    let root = folder.path().join("root");
    // Accessible to everybody, because the container's user is not the one that unpacked it.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let user = config["config"]["User"].as_str().unwrap();
    let version = in_root(&root, &config, user).arg("--version").output().expect("chroot or unshare");
    assert!(
        lossy(&version.stdout).starts_with("playctl "),
        "neither chroot (as root) nor unshare (user namespaces) could run it: {}",
        both(&version)
    );

    let port = fixtures::Port::free();
    let service = in_root(&root, &config, user)
        .args(["serve", "tcp", "-H", "127.0.0.1", "-p", &port.number().to_string()])
        .env("ADMIN_PORT", "0")
        .env("SIGTERM_TIMEOUT", "0")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut service = Container(service.unwrap());
    let mut client =
        eventually(DEADLINE, || TcpStream::connect(port.address()).map_err(|error| error.to_string()))
            .expect("the service listens");
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client.write_all(b"msg:from an image").unwrap();
    let mut reply = [0; 13];
    client.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"from an image");
    drop(client);
    kill_process(Pid::from_child(&service.0), Signal::TERM).unwrap();
    let status = eventually(DEADLINE, || service.0.try_wait().ok().flatten().ok_or("it still runs"));
    assert!(status.expect("it ends").success());
}

#[test]
fn a_program_for_another_system_is_refused_with_advice() {
    let lab = Lab::new("image-foreign");
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("playctl");
    fs::write(&program, b"\xcf\xfa\xed\xfe\x0c\0\0\x01").unwrap();
    let file = folder.path().join("image.tar");
    let output =
        lab.run(&["image", "build", "--binary", program.to_str().unwrap(), "-o", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    let said = lossy(&output.stderr);
    for part in ["is a macOS program", "--binary FILE", "docker build -f infrastructure/docker/Dockerfile"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!file.exists());
    let output = lab.run(&["image", "build", "--tag", "UPPER"]);
    assert_eq!(output.status.code(), Some(2), "{}", both(&output));
    assert!(lossy(&output.stderr).contains("expected NAME[:TAG]"), "{}", both(&output));
}

/// A PATH with stand-ins for engines, and their recorded calls.
struct Engines {
    folder: TempDir,
}

impl Engines {
    fn new() -> Self {
        let engines = Self { folder: tempfile::tempdir().expect("a folder") };
        fs::create_dir(engines.folder.path().join("bin")).expect("made");
        engines
    }

    /// A program that records its arguments and answers by `cases`, the branches of a shell's `case "$*"`.
    fn put(&self, program: &str, cases: &str) {
        let path = self.folder.path().join("bin").join(program);
        let asked = self.folder.path().join("asked");
        let script = format!(
            "#!/bin/sh\necho \"{program} $*\" >>{}\ncase \"$*\" in\n{cases}\n*) echo \"unexpected: $*\" >&2; exit 64 ;;\nesac\n",
            asked.display()
        );
        // Renamed into place, because a file that is open for writing cannot be executed.
        let unfinished = self.folder.path().join("unfinished");
        fs::write(&unfinished, script).expect("written");
        fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o755)).expect("written");
        fs::rename(unfinished, path).expect("written");
    }

    fn asked(&self) -> String {
        fs::read_to_string(self.folder.path().join("asked")).unwrap_or_default()
    }

    /// A small image with this name.
    fn image(&self, name: &str) -> PathBuf {
        let file = self.folder.path().join("image.tar");
        let manifest = format!("[{{\"Config\": \"blobs/sha256/aa\", \"RepoTags\": [\"{name}\"]}}]");
        let index = r#"{"manifests": [{"digest": "sha256:bb"}]}"#;
        let mut tar = tar::Builder::new(fs::File::create(&file).expect("made"));
        for (path, text) in [("index.json", index), ("manifest.json", &manifest)] {
            let mut header = tar::Header::new_ustar();
            header.set_size(text.len() as u64);
            tar.append_data(&mut header, path, text.as_bytes()).expect("written");
        }
        tar.into_inner().expect("written");
        file
    }

    fn load(&self, lab: &Lab, arguments: &[&str]) -> Output {
        let mut command = lab.command(&["image", "load"]);
        command.args(arguments).env("PATH", self.folder.path().join("bin"));
        command.output().expect("playctl starts")
    }
}

/// `minikube status` of a profile that does not exist ends with 85 and this text: minikube's
/// `pkg/minikube/reason/exitcode.go` (`ExGuestNotFound`) and `pkg/minikube/mustload/mustload.go`.
const NO_PROFILE: &str = "status*) echo '* Profile \"x\" not found. Run \"minikube profile list\" to view all profiles.'; exit 85 ;;";
/// The client's own words without a daemon (Docker 28.2).
const NO_DAEMON: &str = "version*) echo 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?' >&2; exit 1 ;;";

#[test]
fn the_first_engine_that_answers_gets_the_image() {
    let lab = Lab::new("image-load");
    let engines = Engines::new();
    let file = engines.image("playctl:7");
    engines.put("minikube", NO_PROFILE);
    engines.put("docker", NO_DAEMON);
    engines.put("podman", "version) ;;\nload*) ;;\nimages*) echo localhost/playctl:7 sha256:aa ;;");
    let output = engines.load(&lab, &[file.to_str().unwrap(), "--output", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&result["into"], &result["references"][0]),
        (&Value::from("podman"), &Value::from("playctl:7"))
    );
    let asked = engines.asked();
    let profile = &lab.platform;
    let expected = format!(
        "minikube status --profile {profile}\n\
         docker version --format {{{{.Server.Version}}}}\n\
         podman version\n\
         podman load --input {}\n\
         podman images --no-trunc --format {{{{.Repository}}}}:{{{{.Tag}}}} {{{{.ID}}}}\n",
        file.display()
    );
    assert_eq!(asked, expected);
}

#[test]
fn an_image_is_loaded_into_the_platforms_minikube_profile_and_checked_there() {
    let lab = Lab::new("image-minikube");
    let engines = Engines::new();
    let file = engines.image("playctl:7");
    // `minikube image ls --format json`: its documentation, and cmd/minikube/cmd/image.go.
    let answers = |id: &str| {
        format!(
            "status*) ;;\n'image load --overwrite=true --profile {} {}') ;;\n'image ls'*) echo '[{{\"id\":\"{id}\",\
             \"repoDigests\":[],\"repoTags\":[\"docker.io/library/playctl:7\"],\"size\":\"1\"}}]' ;;",
            lab.platform,
            file.display()
        )
    };
    engines.put("minikube", &answers("aa"));
    let output = engines.load(&lab, &[file.to_str().unwrap(), "--into", "minikube"]);
    assert_eq!(output.status.code(), Some(0), "{}", both(&output));
    assert!(lossy(&output.stdout).contains("playctl:7 is loaded into minikube"), "{}", both(&output));

    // It exits with 0 and says nothing although no node took the image (kubernetes/minikube#23471); the nodes still
    // have an older one.
    engines.put("minikube", &answers("cc"));
    let output = engines.load(&lab, &[file.to_str().unwrap(), "--into", "minikube"]);
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    let said = lossy(&output.stderr);
    assert!(said.contains("does not have this playctl:7") && said.contains("minikube image ls"), "{said}");
}

#[test]
fn without_an_engine_every_option_is_named_with_advice() {
    let lab = Lab::new("image-nowhere");
    let engines = Engines::new();
    let file = engines.image("playctl:7");
    engines.put("docker", NO_DAEMON);
    let output = engines.load(&lab, &[file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    let said = lossy(&output.stderr);
    for part in [
        "there is nothing to load the image into",
        "minikube is not on PATH; install minikube",
        "ctr is not on PATH; install containerd",
        "docker does not answer: Cannot connect to the Docker daemon",
        "systemctl start docker",
        "podman is not on PATH",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let output = engines.load(&lab, &[file.to_str().unwrap(), "--into", "podman"]);
    let said = lossy(&output.stderr);
    assert!(said.contains("podman is not on PATH; install Podman") && !said.contains("docker"), "{said}");
}

#[test]
fn a_load_that_fails_is_shown_in_the_engines_own_words() {
    let lab = Lab::new("image-failing");
    let engines = Engines::new();
    let file = engines.image("playctl:7");
    engines.put(
        "ctr",
        "version) ;;\n*import*) echo first >&2; echo 'ctr: no space left on device' >&2; exit 1 ;;",
    );
    let output = engines.load(&lab, &[file.to_str().unwrap(), "--into", "containerd"]);
    assert_eq!(output.status.code(), Some(1), "{}", both(&output));
    let said = lossy(&output.stderr);
    assert!(said.contains("ctr --namespace k8s.io images import"), "{said}");
    assert!(said.contains("ctr: no space left on device"), "{said}");

    let text = engines.folder.path().join("text");
    fs::write(&text, "not a tar").unwrap();
    let output = engines.load(&lab, &[text.to_str().unwrap(), "--into", "containerd"]);
    assert_eq!(output.status.code(), Some(2), "{}", both(&output));
    assert!(lossy(&output.stderr).contains("is no image"), "{}", both(&output));
}

#[test]
fn an_interrupted_load_ends_with_its_program() {
    let lab = Lab::new("image-interrupted");
    let engines = Engines::new();
    let file = engines.image("playctl:7");
    let pipe = engines.folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Reads from a pipe without a writer.
    engines.put("podman", &format!("version) ;;\nload*) exec 3<>{}; read line <&3 ;;", pipe.display()));
    let mut command = lab.command(&["image", "load", "--into", "podman"]);
    command.arg(&file).env("PATH", engines.folder.path().join("bin"));
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut child = Container(child);
    eventually(DEADLINE, || if engines.asked().contains("podman load") { Ok(()) } else { Err("it loads") })
        .unwrap();
    kill_process(Pid::from_child(&child.0), Signal::INT).unwrap();
    let status = eventually(DEADLINE, || child.0.try_wait().ok().flatten().ok_or("it still runs"));
    assert_eq!(status.unwrap().code(), Some(130));
    // Without a reader, a pipe cannot be opened for writing.
    let unread = || {
        fs::OpenOptions::new()
            .write(true)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
            .open(&pipe)
    };
    eventually(DEADLINE, || if unread().is_err() { Ok(()) } else { Err("podman still runs") }).unwrap();
}
