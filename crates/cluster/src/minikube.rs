//! The real `minikube`, driven as from a terminal: its profile, nodes, images, tunnel and dashboard.
//!
//! From the process inwards: `call` (one run of a program), `events` (its progress), `error` (what its failures mean),
//! `profile` and `settings` (the actual and the requested state), `keep` (what must keep running: tunnel and
//! dashboard), `doctor` (what this machine lacks).

mod call;
mod doctor;
mod error;
mod events;
mod keep;
pub(crate) mod nodes;
mod profile;
mod settings;

use std::{
    ffi::OsString,
    fmt,
    fs::{self, DirBuilder, File},
    io::{self, BufRead as _, BufReader},
    ops::ControlFlow,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use image::{Reference, Saved, engine::Engine};

use self::{
    call::{Call, Heard},
    profile::{Profile, Profiles, State},
};

pub use self::{
    doctor::{Tools, checks},
    error::{Failed, INSTALL_MINIKUBE, MinikubeError},
    events::{Reason, Told},
    keep::{Keep, Kept, keep},
    settings::{Machine, Settings},
};

/// How long minikube may take to answer a query. Its list of profiles queries every driver.
const ANSWER: Duration = Duration::from_mins(2);

/// The interval of checks while a node comes or goes.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The maximum size of an answer.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Called with what minikube is doing; `None` if it is silent. Can cancel.
pub type OnTold = Arc<dyn Fn(Option<&Told>) -> ControlFlow<()> + Send + Sync>;

/// Which profile, and its files.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The program; `None`: the `minikube` on PATH.
    pub program: Option<PathBuf>,
    pub profile: String,
    /// The kubeconfig into which minikube writes its context; `None`: kubectl's default.
    pub kubeconfig: Option<PathBuf>,
    /// A folder of this profile, with files for later calls.
    pub folder: PathBuf,
}

/// A profile of minikube.
#[derive(Clone)]
pub struct Minikube {
    program: PathBuf,
    profile: String,
    kubeconfig: Option<PathBuf>,
    folder: PathBuf,
    told: OnTold,
}

impl fmt::Debug for Minikube {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minikube").field("profile", &self.profile).finish_non_exhaustive()
    }
}

/// What `start` did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Started {
    /// One line per change; empty if the profile existed and needed no change.
    pub changes: Vec<String>,
    /// Information for the user: what the machine lacks, what minikube cannot change.
    pub notes: Vec<String>,
    pub nodes: usize,
}

/// What `start` would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Planned {
    pub changes: Vec<String>,
    pub notes: Vec<String>,
    /// The cluster is running and can be queried.
    pub runs: bool,
}

type Result<T> = std::result::Result<T, MinikubeError>;

impl Minikube {
    /// # Errors
    /// minikube would not accept the name.
    pub fn new(options: Options, told: OnTold) -> Result<Self> {
        let Options { program, profile, kubeconfig, folder } = options;
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let starts_well = profile.starts_with(|first: char| first.is_ascii_alphanumeric());
        if profile.len() < 2 || profile.len() > 40 || !profile.bytes().all(allowed) || !starts_well {
            return Err(MinikubeError::Usage(format!(
                "minikube profile {profile:?}: expected 2 to 40 of a-z, 0-9 and -, beginning with a letter or digit"
            )));
        }
        let program = program.unwrap_or_else(|| PathBuf::from("minikube"));
        Ok(Self { program, profile, kubeconfig, folder, told })
    }

    /// The profile, which is also the name of its context.
    pub fn profile(&self) -> &str {
        &self.profile
    }

    /// A program of the profile that keeps running when this process has ended.
    pub fn kept(&self, keep: Keep) -> Kept {
        Kept::new(&self.folder, keep)
    }

    /// Whether the profile exists, in whatever state.
    pub fn exists(&self) -> Result<bool> {
        Ok(self.find()?.is_some())
    }

    /// Fails unless the profile is running; the error says why, and what to do.
    pub fn check(&self) -> Result<()> {
        self.running().map(drop)
    }

    /// The driver of the profile.
    pub fn driver(&self) -> Result<String> {
        Ok(self.existing()?.config().driver)
    }

    /// Brings the profile to the requested state: creates it, starts it, adds nodes and addons. Leaves a profile alone
    /// that is already as requested.
    pub fn start(&self, settings: &Settings, machine: Machine) -> Result<Started> {
        let mut started = Started::default();
        match self.made()? {
            None => {
                let (flags, notes) = settings.flags(machine);
                started.notes = notes;
                self.tell(&self.begin().args(&flags), &mut started.notes)?;
                started.changes.push(format!("minikube profile {} created", self.profile));
            }
            Some(profile) => {
                if self.usable(&profile)? == State::Stopped {
                    // Without settings: a profile keeps those with which it was created.
                    self.tell(&self.begin(), &mut started.notes)?;
                    started.changes.push(format!("minikube profile {} started", self.profile));
                }
                started.notes.extend(self.differences(settings, &profile));
                for addon in settings.missing_addons(&profile) {
                    self.run(&self.call(["addons", "enable", &addon]))?;
                    started.changes.push(format!("addon {addon} enabled"));
                }
                for _ in self.existing()?.nodes().len()..settings.nodes.unwrap_or(0) as usize {
                    started.changes.push(format!("node {} added", self.add_node()?));
                }
            }
        }
        started.nodes = self.existing()?.nodes().len();
        Ok(started)
    }

    /// What [`start`](Self::start) would do.
    pub fn plan(&self, settings: &Settings, machine: Machine) -> Result<Planned> {
        let Some(profile) = self.made()? else {
            let (flags, notes) = settings.flags(machine);
            let changes = vec![format!("would run: {}", self.begin().args(flags))];
            return Ok(Planned { changes, notes, runs: false });
        };
        let runs = self.usable(&profile)? == State::Running;
        let mut changes = Vec::new();
        if !runs {
            changes.push(format!("would run: {}", self.begin()));
        }
        let addons = settings.missing_addons(&profile);
        changes.extend(addons.iter().map(|addon| format!("addon {addon} would be enabled")));
        let more = (settings.nodes.unwrap_or(0) as usize).saturating_sub(profile.nodes().len());
        if more > 0 {
            changes.push(format!("nodes would be added: {more}"));
        }
        Ok(Planned { changes, notes: self.differences(settings, &profile).into_iter().collect(), runs })
    }

    /// Adds a node and loads the image that the others have; returns the node's name in Kubernetes.
    pub fn add_node(&self) -> Result<String> {
        let name = self.join_node()?;
        let image = self.image();
        // minikube gives a new node only images that it downloaded itself.
        if image.exists() {
            self.load(&image)?;
        }
        Ok(name)
    }

    fn join_node(&self) -> Result<String> {
        let profile = self.running()?;
        let config = profile.config();
        if !config.multi_node_requested && ["", "auto"].contains(&config.kubernetes.cni.as_str()) {
            return Err(MinikubeError::State {
                what: format!(
                    "minikube profile {} was made with one node and no --cni, so it has no network between nodes: another \
                     one would join and never be ready (kubernetes/minikube#19665)",
                    self.profile
                ),
                next: "start over: playctl down, then playctl up".to_owned(),
            });
        }
        let before = profile.nodes();
        let call = self.call(["node", "add"]);
        let added = self.run(&call);
        let after = self.existing()?.nodes();
        let new = after.into_iter().find(|node| !before.contains(node)).map(|(name, _)| name);
        match (added, new) {
            (Ok(()), Some(name)) => Ok(name),
            (Ok(()), None) => {
                let what = "it succeeded, but the profile has no new node".to_owned();
                Err(MinikubeError::Answer { call: call.to_string(), what })
            }
            // Its entry stays behind (kubernetes/minikube#18179), and would break a later start.
            (Err(MinikubeError::Failed(failed)), Some(name)) => Err(MinikubeError::State {
                what: failed.to_string(),
                next: format!("remove what is left of it with: playctl node remove {name}"),
            }),
            (Err(error), _) => Err(error),
        }
    }

    /// The Kubernetes name of the node `name`, by default of the node added last. The control plane cannot be removed.
    pub fn removable(&self, name: Option<&str>) -> Result<String> {
        let nodes = self.running()?.nodes();
        let workers: Vec<&str> =
            nodes.iter().filter(|(_, node)| !node.control_plane).map(|(name, _)| name.as_str()).collect();
        let Some(wanted) = name else {
            return workers.last().map(|name| (*name).to_owned()).ok_or_else(|| {
                MinikubeError::Usage(format!(
                    "profile {} has no node that can be removed: only its control plane is left",
                    self.profile
                ))
            });
        };
        let full = format!("{}-{wanted}", self.profile);
        let Some((found, node)) = nodes.iter().find(|(name, _)| *name == wanted || *name == full) else {
            let known = if workers.is_empty() { "none".to_owned() } else { workers.join(", ") };
            let message =
                format!("profile {} has no node {wanted}; those that can go: {known}", self.profile);
            return Err(MinikubeError::Usage(message));
        };
        if node.control_plane {
            let message = format!(
                "node {found} is the control plane, without which there is no cluster; take it all down: playctl down"
            );
            return Err(MinikubeError::Usage(message));
        }
        Ok(found.clone())
    }

    /// Deletes a node with its machine. Drain it first: minikube gives its pods only a second.
    pub fn delete_node(&self, name: &str) -> Result<()> {
        let call = self.call(["node", "delete", name]);
        self.run(&call)?;
        let left = self.existing()?.nodes().into_iter().any(|(left, _)| left == name);
        if left {
            let what = format!("it succeeded, but the profile still has {name}");
            return Err(MinikubeError::Answer { call: call.to_string(), what });
        }
        Ok(())
    }

    /// Loads an image from a tar into every node, and keeps it for later nodes. Returns whether that was necessary.
    pub fn load_image(&self, tar: &Path) -> Result<bool> {
        let (image, saved) = (self.image(), read(tar)?);
        let io = |source| MinikubeError::Io {
            call: format!("keeping {} as {}", tar.display(), image.display()),
            source,
        };
        if image.exists() && same(tar, &image).map_err(io)? && self.missing(&saved)?.is_none() {
            return Ok(false);
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(io)?;
        fs::copy(tar, &image).map_err(io)?;
        self.load(&image).map(|()| true)
    }

    fn image(&self) -> PathBuf {
        self.folder.join("image.tar")
    }

    /// minikube succeeds even if no node accepted the image (kubernetes/minikube#21393, #23471), so its list is
    /// checked.
    fn load(&self, tar: &Path) -> Result<()> {
        let saved = read(tar)?;
        let call = self.of_engine(Engine::Minikube.load(tar, &self.profile));
        self.run(&call)?;
        match self.missing(&saved)? {
            None => Ok(()),
            Some(missing) => Err(MinikubeError::Answer {
                call: call.to_string(),
                what: format!("it succeeded, but no node has this {missing}"),
            }),
        }
    }

    /// The name of the image if no node has it.
    fn missing(&self, saved: &Saved) -> Result<Option<Reference>> {
        let listed = self.output(&self.of_engine(Engine::Minikube.list(&self.profile)))?;
        let is_missing = |reference: &&Reference| !Engine::Minikube.finds(&listed, reference, &saved.digests);
        Ok(saved.references.iter().find(is_missing).cloned())
    }

    fn of_engine(&self, call: image::engine::Call) -> Call {
        self.environment(Call::new(&self.program).args(call.arguments))
    }

    /// Ends what was kept running, deletes the profile with all its nodes, and checks that none is left. Returns
    /// whether the profile existed.
    pub fn delete(&self) -> Result<bool> {
        for keep in Keep::ALL {
            self.kept(keep).end()?;
        }
        // It may not exist.
        let _ = fs::remove_dir_all(&self.folder);
        if self.find()?.is_none() {
            return Ok(false);
        }
        let call = self.call(["delete"]);
        self.tell(&call.clone().args(["--output=json"]), &mut Vec::new())?;
        if self.find()?.is_some() {
            let what = format!("it succeeded, but profile {} is still there", self.profile);
            return Err(MinikubeError::Answer { call: call.to_string(), what });
        }
        Ok(true)
    }

    /// Reports what it is waiting for, and pauses.
    pub(crate) fn waits(&self, what: &str) -> Result<()> {
        let told = Told::Info(what.to_owned());
        let until = clock::now() + LOOK_AGAIN;
        while clock::now() < until {
            if (self.told)(Some(&told)).is_break() {
                return Err(MinikubeError::Interrupted);
            }
            call::pause();
        }
        Ok(())
    }

    /// The tunnel that makes load balancers reachable. Not run here, see [`Keep`].
    pub(crate) fn tunnel(&self) -> Call {
        self.call(["tunnel"])
    }

    /// The proxy of Kubernetes' own dashboard, which prints its address.
    pub(crate) fn dashboard(&self) -> Call {
        self.call(["dashboard", "--url"])
    }

    /// The calls that create a cluster, for a test that asks minikube whether it would accept their options.
    #[cfg(feature = "real-servers")]
    pub fn calls_of_images_and_keepers(&self, tar: &Path) -> Vec<std::process::Command> {
        let images = [Engine::Minikube.load(tar, &self.profile), Engine::Minikube.list(&self.profile)];
        let calls =
            images.map(|call| self.of_engine(call)).into_iter().chain([self.tunnel(), self.dashboard()]);
        let command = |call: Call| {
            let mut command = std::process::Command::new(call.program);
            command.args(call.arguments).envs(call.environment);
            command
        };
        calls.map(command).collect()
    }

    /// `minikube start` without the profile's settings. Keeps the user's current context.
    fn begin(&self) -> Call {
        self.call(["start"]).args(["--keep-context", "--interactive=false", "--output=json"])
    }

    fn call<const N: usize>(&self, arguments: [&str; N]) -> Call {
        self.environment(Call::new(&self.program).args(arguments).args(["--profile", &self.profile]))
    }

    fn environment(&self, mut call: Call) -> Call {
        // We parse its messages, and by default it uses the user's language (kubernetes/minikube#18093).
        call.environment.push(("LC_ALL", OsString::from("C")));
        let kubeconfig = self.kubeconfig.as_ref();
        call.environment.extend(kubeconfig.map(|file| ("KUBECONFIG", OsString::from(file))));
        call
    }

    fn find(&self) -> Result<Option<Profile>> {
        let call = self.environment(Call::new(&self.program).args(["profile", "list", "--output=json"]));
        let answer = self.output(&call)?;
        let profiles: Profiles = serde_json::from_str(answer.trim()).map_err(|error| {
            let beginning: String = answer.trim().chars().take(200).collect();
            MinikubeError::Answer { call: call.to_string(), what: format!("{error}, in {beginning:?}") }
        })?;
        let mut valid = profiles.valid.into_iter();
        if let Some(found) = valid.find(|profile| profile.name == self.profile) {
            return Ok(Some(found));
        }
        Ok(profiles
            .invalid
            .into_iter()
            .find(|profile| profile.name == self.profile)
            .map(|broken| Profile { config: None, ..broken }))
    }

    /// A start that failed early leaves a profile without settings. The next start creates it as if there were none; if
    /// minikube cannot, it says so.
    fn made(&self) -> Result<Option<Profile>> {
        Ok(self.find()?.filter(|profile| profile.config.is_some()))
    }

    fn existing(&self) -> Result<Profile> {
        self.find()?.ok_or_else(|| MinikubeError::State {
            what: format!("there is no minikube profile {}", self.profile),
            next: "make it with: playctl up".to_owned(),
        })
    }

    fn running(&self) -> Result<Profile> {
        let profile = self.existing()?;
        match self.usable(&profile)? {
            State::Running => Ok(profile),
            _ => Err(MinikubeError::State {
                what: format!("minikube profile {} is stopped", self.profile),
                next: "start it with: playctl up".to_owned(),
            }),
        }
    }

    /// A profile that is running or can be started; otherwise an error explains its state.
    fn usable(&self, profile: &Profile) -> Result<State> {
        let (name, status) = (&self.profile, &profile.status);
        let (what, next) = match profile.state() {
            state @ (State::Running | State::Stopped) => return Ok(state),
            State::Paused => (
                "is paused: its nodes run, and its containers are frozen".to_owned(),
                format!("continue it with: minikube unpause --profile {name}"),
            ),
            State::Changing => (
                format!("is {}: another minikube is working on it", status.to_lowercase()),
                format!("wait for it, or check: minikube status --profile {name}"),
            ),
            State::Broken => (
                format!(
                    "is broken (minikube says {}): its machine or its files are gone or do not answer, as after Docker \
                     was stopped or the containers were deleted by hand",
                    match (&profile.config, status.as_str()) {
                        (None, _) => "that its files are invalid",
                        (Some(_), "") => "an empty state",
                        (Some(_), status) => status,
                    }
                ),
                format!(
                    "see whether its driver runs; then start over: minikube delete --profile {name}, playctl up"
                ),
            ),
        };
        Err(MinikubeError::State { what: format!("minikube profile {name} {what}"), next })
    }

    fn differences(&self, settings: &Settings, profile: &Profile) -> Option<String> {
        let mut different = settings.differences(profile);
        let nodes = profile.nodes().len();
        if let Some(wanted) = settings.nodes.filter(|wanted| (*wanted as usize) < nodes) {
            different.push(format!("--nodes {nodes}, not {wanted} (remove one with: playctl node remove)"));
        }
        (!different.is_empty()).then(|| {
            format!(
                "minikube profile {} was made with {}; minikube cannot change that on an existing profile: take it down \
                 with playctl down, then up again",
                self.profile,
                different.join(", ")
            )
        })
    }

    /// Runs a call that reports its progress as `CloudEvents`; its warnings are added to `notes`.
    fn tell(&self, call: &Call, notes: &mut Vec<String>) -> Result<()> {
        let mut reason = None;
        let outcome = call::run(call, None, &mut |heard| match heard {
            Heard::Out(line) => {
                let Some(told) = events::event(line) else { return (self.told)(None) };
                match &told {
                    Told::Warning(text) => notes.push(format!("minikube warns: {text}")),
                    Told::Error(why) => reason = Some(why.clone()),
                    _ => {}
                }
                (self.told)(Some(&told))
            }
            Heard::Err(_) | Heard::Waiting => (self.told)(None),
        });
        let ended = outcome.map_err(|broken| MinikubeError::of(call, broken))?;
        if ended.status.success() { Ok(()) } else { Err(MinikubeError::failed(call, ended, reason)) }
    }

    /// Runs a call that reports its progress in lines for people.
    fn run(&self, call: &Call) -> Result<()> {
        let outcome = call::run(call, None, &mut |heard| match heard {
            Heard::Out(line) if !line.trim().is_empty() => {
                (self.told)(Some(&Told::Info(line.trim().to_owned())))
            }
            _ => (self.told)(None),
        });
        let ended = outcome.map_err(|broken| MinikubeError::of(call, broken))?;
        if ended.status.success() { Ok(()) } else { Err(MinikubeError::failed(call, ended, None)) }
    }

    /// The call's output.
    fn output(&self, call: &Call) -> Result<String> {
        let mut printed = String::new();
        let outcome = call::run(call, Some(ANSWER), &mut |heard| {
            if let Heard::Out(line) = heard
                && printed.len() < ANSWER_BYTES_MAX
            {
                printed.push_str(line);
                printed.push('\n');
            }
            (self.told)(None)
        });
        let ended = outcome.map_err(|broken| MinikubeError::of(call, broken))?;
        if ended.status.success() { Ok(printed) } else { Err(MinikubeError::failed(call, ended, None)) }
    }
}

fn read(tar: &Path) -> Result<Saved> {
    Saved::read(tar).map_err(|error| MinikubeError::Usage(error.to_string()))
}

/// Whether two files have the same bytes.
fn same(one: &Path, other: &Path) -> io::Result<bool> {
    if fs::metadata(one)?.len() != fs::metadata(other)?.len() {
        return Ok(false);
    }
    let (mut one, mut other) = (BufReader::new(File::open(one)?), BufReader::new(File::open(other)?));
    loop {
        let (left, right) = (one.fill_buf()?, other.fill_buf()?);
        let length = left.len().min(right.len());
        if left[..length] != right[..length] {
            return Ok(false);
        }
        if length == 0 {
            return Ok(true);
        }
        one.consume(length);
        other.consume(length);
    }
}
