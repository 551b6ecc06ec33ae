//! A namespace of the control plane for each test, with `playctl` and `kubectl` commands for it.

use std::{
    collections::BTreeMap,
    env, fs,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

/// Enough for everything on a busy machine.
const PATIENCE: Duration = Duration::from_mins(3);

/// Without storage, which nothing provides here, and with an address, which nothing assigns.
pub(crate) const SMALL: [&str; 4] =
    ["--set", "gateway.kind=envoy,kafka.storage.size=,envoy.externalIPs={192.0.2.1}", "--timeout", "100s"];

pub(crate) struct Lab {
    pub(crate) namespace: String,
    folder: TempDir,
    kubeconfig: PathBuf,
}

/// The outcome of a command.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.out
    }

    /// It must have failed with this code, and said all of that.
    pub(crate) fn failed(self, code: i32, words: &[&str]) -> String {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for words in words {
            assert!(self.err.contains(words), "{words} is missing in: {self:#?}");
        }
        self.err
    }

    pub(crate) fn json(self) -> Value {
        let out = self.ok();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }
}

impl Lab {
    /// The namespace does not exist yet.
    pub(crate) fn new(purpose: &str) -> Self {
        let kubeconfig = env::var_os("KUBECONFIG").expect("run this by infrastructure/testbed/test install");
        let namespace = format!("{purpose}-{}", &uuid::Uuid::new_v4().simple().to_string()[..6]);
        Self { namespace, folder: tempfile::tempdir().unwrap(), kubeconfig: kubeconfig.into() }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `playctl --target cluster -n NAMESPACE …`
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_playctl"));
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PLAYCTL_")) {
            command.env_remove(name);
        }
        command.args(["--target", "cluster", "-n", &self.namespace]).args(arguments);
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        ran(self.command(arguments))
    }

    pub(crate) fn up(&self, more: &[&str]) -> Ran {
        self.run(&[&["up"], &SMALL[..], more].concat())
    }

    /// `up`, in the background, with a `helm` that does what the script says; `$HELM` is the real one.
    pub(crate) fn up_with_helm(&self, script: &str, more: &[&str]) -> Running {
        let folder = self.folder().join("bin");
        fs::create_dir_all(&folder).unwrap();
        let helm = folder.join("helm");
        let text = format!(
            "#!/usr/bin/env bash\nHELM={}\nHERE={}\n[[ $1 == upgrade ]] || exec \"$HELM\" \"$@\"\n{script}\n",
            which("helm").display(),
            self.folder().display()
        );
        fs::write(&helm, text).unwrap();
        fs::set_permissions(&helm, fs::Permissions::from_mode(0o755)).unwrap();
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([folder].into_iter().chain(env::split_paths(&path))).unwrap();
        let mut command = self.command(&[&["up"], &SMALL[..], more].concat());
        command.env("PATH", path).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running { child: command.spawn().unwrap() }
    }

    /// Waits for a file that a `helm` script creates; returns its contents.
    pub(crate) fn file(&self, name: &str) -> String {
        let path = self.folder().join(name);
        until(name, || fs::read_to_string(&path).ok().filter(|text| !text.is_empty()))
    }

    pub(crate) fn touch(&self, name: &str) {
        fs::write(self.folder().join(name), "now").unwrap();
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new("kubectl");
        command.args(["--kubeconfig".as_ref(), self.kubeconfig.as_os_str()]);
        command.args(["-n", &self.namespace]).args(arguments).stdin(Stdio::null());
        ran(command)
    }

    /// Creates or changes objects.
    pub(crate) fn apply(&self, objects: &[Value]) {
        let file = self.folder().join("objects.json");
        let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
        fs::write(&file, list.to_string()).unwrap();
        self.kubectl(&["apply", "--server-side", "-f", file.to_str().unwrap()]).ok();
    }

    /// A kubeconfig for a service account of the namespace.
    pub(crate) fn log_in(&self, account: &str) -> PathBuf {
        let token = self.kubectl(&["create", "token", account]).ok();
        let config = self.kubectl(&["config", "view", "--raw", "-o", "json"]).json();
        let config = serde_json::json!({"apiVersion": "v1", "kind": "Config", "current-context": account,
            "clusters": config["clusters"], "users": [{"name": account, "user": {"token": token.trim()}}],
            "contexts": [{"name": account, "context": {"cluster": config["clusters"][0]["name"], "user": account}}]});
        let file = self.folder().join(format!("{account}.json"));
        fs::write(&file, config.to_string()).unwrap();
        file
    }

    pub(crate) fn create_namespace(&self) {
        self.kubectl(&["create", "namespace", &self.namespace]).ok();
    }

    pub(crate) fn get(&self, what: &str, name: &str) -> Option<Value> {
        let ran = self.kubectl(&["get", what, name, "-o", "json", "--ignore-not-found"]);
        serde_json::from_str(&ran.ok()).ok()
    }

    /// The status of Helm's last revision.
    pub(crate) fn status(&self) -> String {
        let list = self.kubectl(&["get", "secrets", "-l", "owner=helm", "-o", "json"]).json();
        let items = list["items"].as_array().unwrap().clone();
        let number =
            |item: &Value| item["metadata"]["labels"]["version"].as_str().unwrap().parse::<u32>().unwrap();
        let last = items.into_iter().max_by_key(number);
        last.map_or_else(String::new, |last| {
            last["metadata"]["labels"]["status"].as_str().unwrap().to_owned()
        })
    }

    /// Every object of these namespaces with a value that changes when it is written. For objects that controllers write
    /// to, with a value that changes only when others write.
    pub(crate) fn written(&self, namespaces: &[&str]) -> BTreeMap<String, String> {
        let kinds = self.kinds(true);
        let mut written = BTreeMap::new();
        for namespace in namespaces {
            let list = self.kubectl(&["-n", namespace, "get", &kinds, "-o", "json"]).json();
            for item in list["items"].as_array().unwrap() {
                let (kind, meta) = (item["kind"].as_str().unwrap(), &item["metadata"]);
                let version = match kind {
                    "HorizontalPodAutoscaler" => &meta["generation"],
                    _ => &meta["resourceVersion"],
                };
                written.insert(format!("{namespace} {kind} {}", meta["name"]), version.to_string());
            }
        }
        assert!(written.len() > 20, "{written:?}");
        written
    }

    /// The kinds that can be listed, for `kubectl get`.
    fn kinds(&self, namespaced: bool) -> String {
        let flag = format!("--namespaced={namespaced}");
        let kinds = self.kubectl(&["api-resources", "--verbs=list", "-o", "name", &flag]).ok();
        let is_wanted = |kind: &&str| !kind.starts_with("events") && !kind.ends_with("metrics.k8s.io");
        kinds.lines().filter(is_wanted).collect::<Vec<_>>().join(",")
    }

    /// All objects with this label in a namespace, and cluster-wide ones.
    pub(crate) fn labelled(&self, namespace: &str, label: &str) -> Vec<String> {
        let mut found = Vec::new();
        for namespaced in [true, false] {
            let kinds = self.kinds(namespaced);
            let out = self.kubectl(&["-n", namespace, "get", &kinds, "-l", label, "-o", "name"]).ok();
            found.extend(out.lines().map(str::to_owned));
        }
        found
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // The whole control plane is removed after the tests.
        self.kubectl(&["delete", "namespace", &self.namespace, "--wait=false", "--ignore-not-found"]);
    }
}

/// A command that runs.
pub(crate) struct Running {
    child: Child,
}

impl Running {
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub(crate) fn end(mut self) -> Ran {
        let (mut out, mut err) = (self.child.stdout.take().unwrap(), self.child.stderr.take().unwrap());
        let reader = thread::spawn(move || {
            let mut text = String::new();
            err.read_to_string(&mut text).unwrap();
            text
        });
        let mut text = String::new();
        out.read_to_string(&mut text).unwrap();
        let err = reader.join().unwrap();
        Ran { code: self.child.wait().unwrap().code(), out: text, err }
    }
}

fn ran(mut command: Command) -> Ran {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn which(program: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.exists()).unwrap()
}

/// Waits for the condition.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = clock::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "between two looks at a cluster")]
fn pause() {
    thread::sleep(Duration::from_millis(50));
}
