//! Errors of minikube: the command line, how it ended, its last words, what they mean, and what to do next.

use std::{fmt, io, process::ExitStatus, time::Duration};

use platform::TargetError;

use super::{
    call::{Broken, Call, Ended},
    events::Reason,
};

/// Where to get minikube.
pub const INSTALL_MINIKUBE: &str = "install minikube: https://minikube.sigs.k8s.io/docs/start";
/// What a machine needs for nodes, if it has nothing.
pub(super) const INSTALL_DRIVER: &str = "install a driver, best Docker: https://docs.docker.com/engine/install (others: https://minikube.sigs.k8s.io/docs/drivers)";

/// Why minikube did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MinikubeError {
    #[error("{program} is not on PATH; {INSTALL_MINIKUBE}")]
    Missing { program: String },
    #[error("`{call}` could not be run: {source}")]
    Io { call: String, source: io::Error },
    #[error("`{call}` has not answered for {} s; does its driver hang? Look with: {call} --alsologtostderr", limit.as_secs())]
    Silent { call: String, limit: Duration },
    #[error("interrupted")]
    Interrupted,
    #[error(transparent)]
    Failed(Box<Failed>),
    /// It ended well and said something that nobody understands.
    #[error("cannot parse the answer of `{call}`: {what}; this was written for minikube 1.30 to 1.38")]
    Answer { call: String, what: String },
    /// The cluster is in a state from which minikube has to be helped out by hand.
    #[error("{what}; {next}")]
    State { what: String, next: String },
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
}

/// A call that ended with another status than 0.
#[derive(Debug)]
pub struct Failed {
    pub call: String,
    pub status: ExitStatus,
    pub reason: Option<Reason>,
    /// The last lines of stderr.
    pub last_words: Vec<String>,
}

impl std::error::Error for Failed {}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, status, reason, last_words } = self;
        let id = reason.as_ref().map(|reason| reason.id.as_str()).filter(|id| !id.is_empty());
        write!(f, "`{call}` failed ({status}{})", id.map_or(String::new(), |id| format!(", {id}")))?;
        match reason.as_ref().filter(|reason| !reason.message.is_empty()) {
            Some(reason) => write!(f, ": {}", reason.message)?,
            None if last_words.is_empty() => f.write_str(": it said nothing")?,
            None => last_words.iter().try_for_each(|line| write!(f, "\n  {}", line.trim()))?,
        }
        let code = status.code();
        if let Some(meaning) = id.and_then(meaning_of).or_else(|| code.and_then(meaning_of_code)) {
            write!(f, "\nmeaning: {meaning}")?;
        }
        let advised = reason.as_ref().map(|reason| &reason.advice).filter(|advice| !advice.is_empty());
        match (id.and_then(next_after), advised) {
            (Some(next), _) => write!(f, "\nnext: {next}"),
            (None, Some(advice)) => write!(f, "\nnext (minikube's advice): {advice}"),
            (None, None) => f.write_str("\nnext: minikube logs, with the same --profile, has the details"),
        }
    }
}

impl MinikubeError {
    pub(crate) fn of(call: &Call, broken: Broken) -> Self {
        let name = || call.to_string();
        match broken {
            Broken::NotFound => Self::Missing { program: call.program.display().to_string() },
            Broken::Io(source) => Self::Io { call: name(), source },
            Broken::Silent(limit) => Self::Silent { call: name(), limit },
            Broken::Interrupted => Self::Interrupted,
        }
    }

    pub(crate) fn failed(call: &Call, ended: Ended, reason: Option<Reason>) -> Self {
        let Ended { status, last_words } = ended;
        // minikube says the same on stderr where it was not asked for JSON.
        let reason = reason.or_else(|| last_words.iter().rev().find_map(|line| super::events::reason(line)));
        Self::Failed(Box::new(Failed { call: call.to_string(), status, reason, last_words }))
    }
}

impl From<MinikubeError> for TargetError {
    fn from(error: MinikubeError) -> Self {
        match error {
            MinikubeError::Interrupted => Self::Interrupted,
            MinikubeError::Usage(message) => Self::Invalid { message },
            error => Self::Other { message: error.to_string() },
        }
    }
}

/// What an error of minikube's list means, where its message alone does not say so. The longest prefix counts.
fn meaning_of(id: &str) -> Option<&'static str> {
    const MEANINGS: [(&str, &str); 23] = [
        ("DRV_AS_ROOT", "this driver refuses to be run by root"),
        ("DRV_DOCKER_NOT_RUNNING", "Docker is installed, and its engine does not run"),
        ("DRV_NEEDS_ROOT", "this driver requires root"),
        ("DRV_NOT_DETECTED", "minikube found nothing here that can run nodes"),
        ("DRV_NOT_FOUND", "the driver is not installed"),
        ("DRV_NOT_HEALTHY", "minikube found drivers, and none of them works"),
        ("DRV_UNSUPPORTED", "this driver cannot do what was asked of it here"),
        ("GUEST_DRIVER_MISMATCH", "the profile was made with another driver, which minikube cannot change"),
        ("GUEST_IMAGE", "the nodes' container runtime did not take the image"),
        ("GUEST_NODE_ADD", "the node was begun and did not join"),
        ("GUEST_NODE_DELETE", "minikube's list of nodes and the cluster's disagree"),
        ("GUEST", "a node could not be made, started or asked"),
        ("HOST_HOME_PERMISSION", "minikube's folder belongs to somebody else"),
        ("INET", "something could not be fetched from the Internet"),
        ("K8S", "Kubernetes inside the node did not come up"),
        ("MK_USAGE", "minikube does not take these options"),
        (
            "PROVIDER",
            "what the driver drives is not installed, does not run, or may not be used by this user",
        ),
        ("RSRC_DOCKER", "Docker has too little for a node"),
        ("RSRC", "this machine has too little for a node"),
        ("RUNTIME", "the container runtime inside the node did not start"),
        ("SVC_TUNNEL", "the route to the cluster's services could not be made"),
        ("SVC", "a service of the cluster did not answer"),
        ("TUNNEL_ALREADY_RUNNING", "somebody else's tunnel to this profile is open"),
    ];
    longest(&MEANINGS, id)
}

fn next_after(id: &str) -> Option<&'static str> {
    const NEXT: [(&str, &str); 20] = [
        ("DRV_AS_ROOT", "run it as another user, who is in the group docker"),
        ("DRV_DOCKER_NOT_RUNNING", "start Docker (systemctl start docker), or choose another --driver"),
        ("DRV_NEEDS_ROOT", "choose another --driver, such as docker"),
        ("DRV_NOT_DETECTED", INSTALL_DRIVER),
        ("DRV_NOT_FOUND", INSTALL_DRIVER),
        ("DRV_NOT_HEALTHY", "start one of them (systemctl start docker), or choose one by --driver"),
        ("DRV_UNSUPPORTED_MULTINODE", "choose another --driver, such as docker, or --nodes 1"),
        ("GUEST_DRIVER_MISMATCH", "leave out --driver, or start over: playctl down, then playctl up"),
        ("GUEST_NODE_ADD", "remove it and try again: playctl node remove"),
        ("HOST_HOME_PERMISSION", "sudo chown -R $USER ~/.minikube && chmod -R u+wrx ~/.minikube"),
        ("INET", "see that this machine reaches the Internet; behind a proxy set HTTPS_PROXY and NO_PROXY"),
        (
            "PROVIDER_DOCKER",
            "install Docker (https://docs.docker.com/engine/install), start it (systemctl start docker), \
          and join the group docker (sudo usermod -aG docker $USER && newgrp docker); or choose another --driver",
        ),
        ("PROVIDER", INSTALL_DRIVER),
        ("RSRC_DOCKER_CORES", "give Docker more (Settings, Resources), or ask for fewer: --cpus 2"),
        ("RSRC_DOCKER_MEMORY", "give Docker more (Settings, Resources), or ask for less: --memory 2g"),
        ("RSRC_DOCKER_STORAGE", "docker system prune frees what no container uses"),
        ("RSRC_INSUFFICIENT_CORES", "ask for fewer: --cpus 2"),
        ("RSRC_INSUFFICIENT_STORAGE", "free some space, on this machine or in the node"),
        ("RSRC_INSUFFICIENT", "ask for less: --memory 2g"),
        ("TUNNEL_ALREADY_RUNNING", "end that one; it was started in another terminal"),
    ];
    longest(&NEXT, id)
}

fn longest(table: &[(&str, &'static str)], id: &str) -> Option<&'static str> {
    table
        .iter()
        .filter(|(prefix, _)| id.starts_with(prefix))
        .max_by_key(|(prefix, _)| prefix.len())
        .map(|(_, text)| *text)
}

/// What an exit status means, by minikube's own order of them: the tens are where it went wrong
/// (pkg/minikube/reason/exitcodes.go).
fn meaning_of_code(code: i32) -> Option<&'static str> {
    Some(match code {
        10..=19 => "minikube itself: its options, its files or its profile",
        20..=29 => "this machine has too little for a node",
        30..=39 => "this machine's own settings",
        40..=49 => "something could not be fetched from the Internet",
        50..=59 => "the driver",
        60..=69 => "what the driver drives, such as Docker",
        70..=79 => "the network between this machine and the nodes",
        80..=89 => "a node could not be made, started or asked",
        90..=99 => "the container runtime inside the node",
        100..=109 => "Kubernetes inside the node did not come up",
        110..=119 => "a service of the cluster did not answer",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn failed(code: i32, last_words: &[&str]) -> String {
        let call = Call::new("minikube").args(["start", "--profile", "playground"]);
        let last_words = last_words.iter().map(|&line| line.to_owned()).collect();
        let ended = Ended { status: ExitStatus::from_raw(code << 8), last_words };
        MinikubeError::failed(&call, ended, None).to_string()
    }

    #[test]
    fn an_error_says_what_was_run_how_it_ended_what_it_means_and_what_to_do() {
        // https://github.com/kubernetes/minikube/issues/18778
        let docker = failed(
            69,
            &[
                r#"X Exiting due to PROVIDER_DOCKER_NOT_RUNNING: "docker version --format -:" exit status 1: Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"#,
            ],
        );
        for part in [
            "`minikube start --profile playground` failed (exit status: 69, PROVIDER_DOCKER_NOT_RUNNING)",
            "Cannot connect to the Docker daemon",
            "\nmeaning: what the driver drives is not installed",
            "\nnext: install Docker",
        ] {
            assert!(docker.contains(part), "{part}: {docker}");
        }
        // https://github.com/kubernetes/minikube/issues/13372
        let cores = failed(
            29,
            &[
                "⛔  Exiting due to RSRC_INSUFFICIENT_CORES: Requested cpu count 2 is greater than the available cpus of 1",
            ],
        );
        assert!(
            cores.contains("has too little") && cores.contains("next: ask for fewer: --cpus 2"),
            "{cores}"
        );
        // https://github.com/kubernetes/minikube/issues/15082
        let root = failed(
            57,
            &[
                r#"X Exiting due to DRV_AS_ROOT: The "docker" driver should not be used with root privileges."#,
            ],
        );
        assert!(root.contains("refuses to be run by root") && root.contains("as another user"), "{root}");
    }

    #[test]
    fn without_a_name_for_it_the_last_words_and_the_exit_status_speak() {
        let silent = failed(80, &[]);
        assert!(silent.contains("it said nothing") && silent.contains("a node could not be"), "{silent}");
        let words = failed(1, &["Error: unknown flag: --cni", "See 'minikube start --help' for usage."]);
        assert!(
            words.contains("\n  Error: unknown flag: --cni\n") && words.contains("minikube logs"),
            "{words}"
        );
        assert!(!words.contains("meaning:"), "{words}");
    }
}
