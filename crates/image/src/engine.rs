//! The programs that take an image, and how each of them is asked to.
//!
//! Nothing is started here: the caller runs the commands and says how they ended.

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
    /// On PATH.
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
    /// In the order in which an image is most likely wanted: a cluster comes first.
    pub const ALL: [Self; 4] = [Self::Minikube, Self::Containerd, Self::Docker, Self::Podman];

    /// As it is named on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Minikube => "minikube",
            Self::Containerd => "containerd",
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }

    /// The program to ask.
    pub fn program(self) -> &'static str {
        match self {
            Self::Containerd => "ctr",
            _ => self.name(),
        }
    }

    /// How to get the program.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Minikube => "install minikube (https://minikube.sigs.k8s.io/docs/start)",
            Self::Containerd => "install containerd, which has ctr (Debian: apt-get install containerd)",
            Self::Docker => "install Docker (https://docs.docker.com/engine/install)",
            Self::Podman => "install Podman (Debian: apt-get install podman)",
        }
    }

    /// What makes it answer, where it is installed and does not.
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

    /// Succeeds if the engine is there and answers. `profile` is minikube's.
    pub fn probe(self, profile: &str) -> Call {
        match self {
            Self::Minikube => self.call(["status", "--profile", profile]),
            Self::Containerd => self.call(["version"]),
            Self::Docker => self.call(["version", "--format", "{{.Server.Version}}"]),
            Self::Podman => self.call(["version"]),
        }
    }

    /// Loads the image. minikube is asked to replace one of the same name, as the others do by themselves.
    pub fn load(self, file: &Path, profile: &str) -> Call {
        let mut call = match self {
            Self::Minikube => self.call(["image", "load", "--overwrite=true", "--profile", profile]),
            Self::Containerd => self.call(["--namespace", "k8s.io", "images", "import"]),
            Self::Docker | Self::Podman => self.call(["load", "--input"]),
        };
        call.arguments.push(file.as_os_str().to_owned());
        call
    }

    /// Lists the images, for [`lists`]: minikube reports success even if a node did not take the image.
    pub fn list(self, profile: &str) -> Call {
        match self {
            Self::Minikube => self.call(["image", "ls", "--profile", profile]),
            Self::Containerd => self.call(["--namespace", "k8s.io", "images", "ls", "--quiet"]),
            Self::Docker | Self::Podman => self.call(["images", "--format", "{{.Repository}}:{{.Tag}}"]),
        }
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

/// Whether the output of [`Engine::list`] has the image, under its short or its full name.
pub fn lists(output: &str, reference: &Reference) -> bool {
    let (short, full) = (reference.to_string(), reference.full());
    // Podman gives images without a registry one of this name if they carry only their short name.
    let of_podman = format!("localhost/{short}");
    output.lines().map(str::trim).any(|line| line == short || line == full || line == of_podman)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_those_of_the_programs_own_help() {
        let file = Path::new("/tmp/an image.tar");
        for (engine, probe, load, list) in [
            (
                Engine::Minikube,
                "minikube status --profile blue",
                "minikube image load --overwrite=true --profile blue /tmp/an image.tar",
                "minikube image ls --profile blue",
            ),
            (
                Engine::Containerd,
                "ctr version",
                "ctr --namespace k8s.io images import /tmp/an image.tar",
                "ctr --namespace k8s.io images ls --quiet",
            ),
            (
                Engine::Docker,
                "docker version --format {{.Server.Version}}",
                "docker load --input /tmp/an image.tar",
                "docker images --format {{.Repository}}:{{.Tag}}",
            ),
            (
                Engine::Podman,
                "podman version",
                "podman load --input /tmp/an image.tar",
                "podman images --format {{.Repository}}:{{.Tag}}",
            ),
        ] {
            assert_eq!(engine.probe("blue").to_string(), probe);
            assert_eq!(engine.load(file, "blue").to_string(), load);
            assert_eq!(engine.load(file, "blue").arguments.last().unwrap(), file.as_os_str(), "one argument");
            assert_eq!(engine.list("blue").to_string(), list);
        }
    }

    #[test]
    fn images_are_found_under_each_of_their_names() {
        let reference: Reference = "playctl:0.1.0".parse().unwrap();
        for listed in ["playctl:0.1.0", "docker.io/library/playctl:0.1.0", "a:b\n localhost/playctl:0.1.0 \n"]
        {
            assert!(lists(listed, &reference), "{listed}");
        }
        for listed in ["", "playctl:0.1.00", "playctl:0.1", "xplaycl:0.1.0", "r.example/playctl:0.1.0"] {
            assert!(!lists(listed, &reference), "{listed}");
        }
    }
}
