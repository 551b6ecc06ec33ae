//! The programs that load images, and the commands for each.
//!
//! Nothing is started here: the caller runs the commands and evaluates how they ended.

use std::{ffi::OsString, fmt, path::Path};

use crate::Reference;

/// What an image can be loaded into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Every node of a minikube profile.
    Minikube,
    /// The containerd of this machine, where a kubelet finds it.
    Containerd,
    /// The Docker engine.
    Docker,
    /// Podman's store of this user.
    Podman,
}

/// A command to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Found on PATH.
    pub program: &'static str,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.program)?;
        self.arguments.iter().try_for_each(|argument| write!(f, " {}", argument.to_string_lossy()))
    }
}

impl Engine {
    /// In the order in which users most likely want them: clusters first.
    pub const ALL: [Self; 4] = [Self::Minikube, Self::Containerd, Self::Docker, Self::Podman];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Minikube => "minikube",
            Self::Containerd => "containerd",
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }

    /// The program to run.
    pub fn program(self) -> &'static str {
        match self {
            Self::Containerd => "ctr",
            _ => self.name(),
        }
    }

    /// How to install the program.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Minikube => "install minikube (https://minikube.sigs.k8s.io/docs/start)",
            Self::Containerd => "install containerd, which has ctr (Debian: apt-get install containerd)",
            Self::Docker => "install Docker (https://docs.docker.com/engine/install)",
            Self::Podman => "install Podman (Debian: apt-get install podman)",
        }
    }

    /// How to get it to answer when it is installed but does not.
    pub fn start_remedy(self, profile: &str) -> String {
        match self {
            Self::Minikube => format!("start it with: minikube start --profile {profile}"),
            Self::Containerd => {
                "start containerd; ctr takes its socket from CONTAINERD_ADDRESS, and root may use it"
                    .to_owned()
            }
            Self::Docker => "start it (systemctl start docker), and join the group docker".to_owned(),
            Self::Podman => "see what it says: podman info".to_owned(),
        }
    }

    /// Succeeds if the engine is installed and answers. `profile` is minikube's.
    pub fn probe(self, profile: &str) -> Call {
        match self {
            Self::Minikube => self.call(["status", "--profile", profile]),
            Self::Containerd | Self::Podman => self.call(["version"]),
            Self::Docker => self.call(["version", "--format", "{{.Server.Version}}"]),
        }
    }

    /// Loads the image. minikube has to be told to replace an image of the same name; the others always do.
    pub fn load(self, file: &Path, profile: &str) -> Call {
        let mut call = match self {
            Self::Minikube => self.call(["image", "load", "--overwrite=true", "--profile", profile]),
            Self::Containerd => self.call(["--namespace", "k8s.io", "images", "import"]),
            Self::Docker | Self::Podman => self.call(["load", "--input"]),
        };
        call.arguments.push(file.as_os_str().to_owned());
        call
    }

    /// Lists the images, for [`Self::finds`]: minikube reports success even if no node took the image
    /// (kubernetes/minikube#23471).
    pub fn list(self, profile: &str) -> Call {
        match self {
            Self::Minikube => self.call(["image", "ls", "--format", "json", "--profile", profile]),
            Self::Containerd => self.call(["--namespace", "k8s.io", "images", "ls"]),
            Self::Docker | Self::Podman => {
                self.call(["images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"])
            }
        }
    }

    /// Whether the output of [`Self::list`] contains the image under one of its names. An older image of the same name
    /// does not count: engines identify images by the digest of the manifest or of the configuration, so one of
    /// `digests` must be listed with the name; if `digests` is empty, the name is enough.
    pub fn finds(self, output: &str, reference: &Reference, digests: &[String]) -> bool {
        let (short, full) = (reference.to_string(), reference.full());
        // Podman adds this registry to images that have only a short name.
        let of_podman = format!("localhost/{short}");
        let is_name = |word: &str| word == short || word == full || word == of_podman;
        let hash = |digest: &str| digest.strip_prefix("sha256:").unwrap_or(digest).to_owned();
        let is_digest =
            |word: &str| digests.is_empty() || digests.iter().any(|digest| hash(digest) == hash(word));
        if self == Self::Minikube {
            let images: Vec<Listed> = serde_json::from_str(output).unwrap_or_default();
            return images
                .iter()
                .any(|image| is_digest(&image.id) && image.tags.iter().flatten().any(|tag| is_name(tag)));
        }
        output
            .lines()
            .any(|line| line.split_whitespace().any(is_name) && line.split_whitespace().any(is_digest))
    }

    fn call<const N: usize>(self, arguments: [&str; N]) -> Call {
        Call { program: self.program(), arguments: arguments.map(OsString::from).to_vec() }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An entry of `minikube image ls --format json`.
#[derive(serde::Deserialize)]
struct Listed {
    id: String,
    #[serde(rename = "repoTags")]
    tags: Option<Vec<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_match_each_programs_help() {
        let file = Path::new("/tmp/an image.tar");
        for (engine, probe, load, list) in [
            (
                Engine::Minikube,
                "minikube status --profile blue",
                "minikube image load --overwrite=true --profile blue /tmp/an image.tar",
                "minikube image ls --format json --profile blue",
            ),
            (
                Engine::Containerd,
                "ctr version",
                "ctr --namespace k8s.io images import /tmp/an image.tar",
                "ctr --namespace k8s.io images ls",
            ),
            (
                Engine::Docker,
                "docker version --format {{.Server.Version}}",
                "docker load --input /tmp/an image.tar",
                "docker images --no-trunc --format {{.Repository}}:{{.Tag}} {{.ID}}",
            ),
            (
                Engine::Podman,
                "podman version",
                "podman load --input /tmp/an image.tar",
                "podman images --no-trunc --format {{.Repository}}:{{.Tag}} {{.ID}}",
            ),
        ] {
            assert_eq!(engine.probe("blue").to_string(), probe);
            assert_eq!(engine.load(file, "blue").to_string(), load);
            assert_eq!(engine.load(file, "blue").arguments.last().unwrap(), file.as_os_str(), "one argument");
            assert_eq!(engine.list("blue").to_string(), list);
        }
    }

    /// Makes the list of an engine that has one image, with this name and digest.
    type Lists<'a> = &'a dyn Fn(&str, &str) -> String;

    #[test]
    fn images_are_found_by_any_name_with_the_right_digest() {
        let reference: Reference = "playctl:0.1.0".parse().unwrap();
        let digests = ["sha256:aa".to_owned(), "sha256:bb".to_owned()];
        // The columns of `ctr images ls`, and the format that docker and podman are given.
        let containerd = |name: &str, digest: &str| {
            format!(
                "REF TYPE DIGEST SIZE PLATFORMS LABELS\n\
                 {name} application/vnd.oci.image.manifest.v1+json sha256:{digest} 24.6 MiB linux/amd64 -\n"
            )
        };
        let docker = |name: &str, digest: &str| format!("other:1 sha256:cc\n{name} sha256:{digest}\n");
        let minikube = |name: &str, digest: &str| {
            format!(
                r#"[{{"id":"cc","repoTags":null}},{{"id":"{digest}","repoDigests":[],"repoTags":["{name}"],"size":"1"}}]"#
            )
        };
        let lists: [(Engine, Lists<'_>); 4] = [
            (Engine::Containerd, &containerd),
            (Engine::Docker, &docker),
            (Engine::Podman, &docker),
            (Engine::Minikube, &minikube),
        ];
        for (engine, list) in lists {
            for name in ["playctl:0.1.0", "docker.io/library/playctl:0.1.0", "localhost/playctl:0.1.0"] {
                for (digest, is_it) in [("aa", true), ("bb", true), ("cc", false)] {
                    let output = list(name, digest);
                    assert_eq!(engine.finds(&output, &reference, &digests), is_it, "{engine}: {output}");
                }
                assert!(engine.finds(&list(name, "cc"), &reference, &[]), "{engine}: any, if none is known");
            }
            for name in ["playctl:0.1.00", "playctl:0.1", "xplaycl:0.1.0", "r.example/playctl:0.1.0"] {
                assert!(!engine.finds(&list(name, "aa"), &reference, &digests), "{engine}: {name}");
            }
            assert!(!engine.finds("", &reference, &digests), "{engine}");
        }
    }
}
