//! `--target minikube`: what `up` and `down` do in addition to their work on any cluster.

use std::{
    ffi::OsString,
    path::Path,
    process::{Command, Stdio},
};

use clap::ValueEnum;
use cluster::minikube::{Keep, Machine, Minikube, MinikubeError, Settings, Started};
use platform::{TargetError, exit};
use rustix::process::getuid;

use super::image;
use crate::{
    context::Context,
    failure::{Failure, Outcome},
    minikube_profile, results,
};

/// What a profile is made with.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Options for --target minikube")]
pub(crate) struct ProfileArgs {
    /// CPUs of each node: a number, max or no-limit [default: 4, or fewer if the machine has fewer]
    #[arg(long, value_name = "N")]
    cpus: Option<String>,
    /// Memory of each node: MiB, or with a unit (4g) [default: 4096, or less if the machine has less]
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// The driver that runs the nodes: docker, podman, kvm2… [default: minikube's choice]
    #[arg(long, value_name = "DRIVER")]
    driver: Option<String>,
    /// The pod network [default: calico]
    #[arg(long, value_name = "CNI")]
    cni: Option<String>,
    /// An addon, in addition to metrics-server; repeatable
    #[arg(long = "addon", value_name = "ADDON")]
    addons: Vec<String>,
    /// A Kubernetes component's setting: COMPONENT.KEY=VALUE; repeatable
    #[arg(long, value_name = "OPTION")]
    extra_config: Vec<String>,
    /// Also serve the Kubernetes dashboard
    #[arg(long)]
    kubernetes_dashboard: bool,
    /// Open no tunnel: load balancer addresses stay unreachable until `minikube tunnel` runs
    #[arg(long)]
    no_tunnel: bool,
}

impl ProfileArgs {
    /// The first given option, for the error about another target.
    pub(crate) fn first_given(&self) -> Option<&'static str> {
        let Self { cpus, memory, driver, cni, addons, extra_config, kubernetes_dashboard, no_tunnel } = self;
        [
            (cpus.is_some(), "--cpus"),
            (memory.is_some(), "--memory"),
            (driver.is_some(), "--driver"),
            (cni.is_some(), "--cni"),
            (!addons.is_empty(), "--addon"),
            (!extra_config.is_empty(), "--extra-config"),
            (*kubernetes_dashboard, "--kubernetes-dashboard"),
            (*no_tunnel, "--no-tunnel"),
        ]
        .into_iter()
        .find_map(|(given, flag)| given.then_some(flag))
    }

    fn settings(&self, nodes: Option<u32>, large: bool) -> Settings {
        Settings {
            nodes,
            cpus: self.cpus.clone(),
            memory: self.memory.clone(),
            driver: self.driver.clone(),
            cni: self.cni.clone(),
            addons: self.addons.clone(),
            extra_config: self.extra_config.clone(),
            large,
        }
    }
}

/// Brings the profile into the wanted state; returns what was done. `large`: the values enable the stream system.
pub(crate) fn start(
    context: &Context,
    minikube: &Minikube,
    args: &ProfileArgs,
    nodes: Option<u32>,
    large: bool,
) -> Result<(), Failure> {
    let outcome = minikube.start(&args.settings(nodes, large), Machine::this());
    context.printer.progress().clear();
    let Started { changes, notes, nodes } = outcome.map_err(bring_up)?;
    for note in notes {
        context.printer.note(&format!("note: {note}"));
    }
    let done = if changes.is_empty() { "is there already".to_owned() } else { changes.join(", ") };
    context.printer.note(&format!("minikube profile {}: {done}; {nodes} nodes", minikube.profile()));
    Ok(())
}

/// Says what [`start`] would do. Returns whether there is a cluster for which a plan can be made.
pub(crate) fn plan(
    context: &Context,
    minikube: &Minikube,
    args: &ProfileArgs,
    nodes: Option<u32>,
    large: bool,
) -> Result<bool, Failure> {
    let outcome = minikube.plan(&args.settings(nodes, large), Machine::this());
    context.printer.progress().clear();
    let planned = outcome.map_err(bring_up)?;
    for line in &planned.changes {
        context.printer.line(line);
    }
    for note in &planned.notes {
        context.printer.note(&format!("note: {note}"));
    }
    if !planned.runs {
        context.printer.line("to see the chart's changes once the cluster exists: playctl up --dry-run");
    }
    Ok(planned.runs)
}

/// Puts the services' image into every node. `None`: `image` names one that the nodes fetch themselves.
pub(crate) fn load_image(
    context: &Context,
    minikube: &Minikube,
    image: Option<&str>,
) -> Result<Option<String>, Failure> {
    if image.is_some() {
        return Ok(None);
    }
    let folder = tempfile::Builder::new().prefix("playctl-image").tempdir();
    let folder =
        folder.map_err(|error| Failure::failed(format!("could not make a temporary folder: {error}")))?;
    let tar = folder.path().join("image.tar");
    let reference = if cfg!(target_os = "linux") {
        image::of_this_program(context, &tar)?
    } else {
        by_dockerfile(context, &tar)?
    };
    context.printer.progress().show("image", &format!("loading {reference} into every node"));
    let loaded = minikube.load_image(&tar);
    context.printer.progress().clear();
    let how = if loaded.map_err(bring_up)? { "is loaded into every node" } else { "is there already" };
    context.printer.note(&format!("image {reference} {how}"));
    Ok(Some(reference))
}

/// This is not a Linux program, so it cannot become the image.
fn by_dockerfile(context: &Context, tar: &Path) -> Result<String, Failure> {
    const FILE: &str = "infrastructure/docker/Dockerfile";
    let reference = format!("playctl:{}", image::VERSION);
    let here = std::env::current_dir().map_err(|error| Failure::failed(error.to_string()))?;
    let checkout = here.ancestors().find(|folder| folder.join(FILE).is_file()).ok_or_else(|| {
        Failure::usage(format!(
            "this playctl is not a Linux program, so it cannot be the services' image, and there is no {FILE} here to make \
             one; run it in the checkout, or name an image that the nodes can fetch: playctl up --image NAME:TAG"
        ))
    })?;
    let why = "this playctl is not a Linux program, so the services' image is built by the Dockerfile";
    context.printer.note(&format!("note: {why} (minutes); --image NAME:TAG takes one that exists"));
    let file = checkout.join(FILE);
    for arguments in [
        vec![
            "build".into(),
            "--tag".into(),
            reference.clone().into(),
            "--file".into(),
            file.into_os_string(),
            checkout.into(),
        ],
        vec!["save".into(), "--output".into(), tar.as_os_str().to_owned(), reference.clone().into()],
    ] as [Vec<OsString>; 2]
    {
        let words: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
        let command = format!("docker {}", words.join(" "));
        let status =
            Command::new("docker").args(&arguments).stdin(Stdio::null()).stdout(Stdio::null()).status();
        let failed = match status {
            Ok(status) if status.success() => continue,
            Ok(status) => format!("`{command}` failed ({status})"),
            Err(error) => format!("`{command}` could not be run: {error}"),
        };
        let next = "name an image that the nodes can fetch: playctl up --image NAME:TAG";
        return Err(Failure::new(exit::BRING_UP_FAILED, format!("{failed}; {next}")));
    }
    Ok(reference)
}

/// Opens the tunnel and, on request, the dashboard, which stay open after this process. Returns whether anything new was
/// opened.
pub(crate) fn open(context: &Context, minikube: &Minikube, args: &ProfileArgs) -> Result<bool, Failure> {
    let mut any = false;
    let mut wanted = Vec::new();
    if !args.no_tunnel {
        may_route(context, minikube)?;
        wanted.push(Keep::Tunnel);
    }
    if args.kubernetes_dashboard {
        wanted.push(Keep::Dashboard);
    }
    for keep in wanted {
        let kept = minikube.kept(keep);
        context.printer.progress().show("minikube", &format!("opening minikube's {keep}"));
        let opened = kept.begin(keeper(context, minikube, keep)?);
        context.printer.progress().clear();
        if opened.map_err(bring_up)? {
            any = true;
            let log = kept.log();
            context
                .printer
                .note(&format!("minikube {keep} is open until playctl down; its log: {}", log.display()));
        }
    }
    Ok(any)
}

/// Its address takes a while, because the addon is fetched and started first.
pub(crate) fn say_where_the_dashboard_is(context: &Context, minikube: &Minikube, args: &ProfileArgs) {
    if args.kubernetes_dashboard {
        let kept = minikube.kept(Keep::Dashboard);
        let place = || format!("is starting; its address will be in {}", kept.log().display());
        context.printer.line(&format!("Kubernetes' dashboard: {}", kept.address().unwrap_or_else(place)));
    }
}

/// On Linux, minikube's tunnel needs root: it adds a route with sudo, which cannot ask for a password in the background.
/// So this asks for it now.
fn may_route(context: &Context, minikube: &Minikube) -> Result<(), Failure> {
    if !cfg!(target_os = "linux") || getuid().is_root() {
        return Ok(());
    }
    let sudo = |options: &[&str], stdin: Stdio| {
        let mut sudo = Command::new("sudo");
        sudo.args(options).stdin(stdin).stdout(Stdio::null()).stderr(Stdio::inherit());
        sudo.status().is_ok_and(|status| status.success())
    };
    let asks = {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "true"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        !sudo.status().is_ok_and(|status| status.success())
    };
    if !asks {
        return Ok(());
    }
    context.printer.progress().clear();
    context.printer.note("minikube's tunnel adds a route to the cluster, which requires sudo:");
    if sudo(&["-v"], Stdio::inherit()) {
        return Ok(());
    }
    let profile = minikube.profile();
    Err(Failure::new(
        exit::BRING_UP_FAILED,
        format!(
            "without sudo there is no route to the cluster's services; have someone who may use sudo run: minikube \
             tunnel --profile {profile}, and start again with: playctl up --no-tunnel"
        ),
    ))
}

fn keeper(context: &Context, minikube: &Minikube, keep: Keep) -> Result<Command, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::failed(format!("could not find this program's own file: {error}")))?;
    let mut command = Command::new(program);
    command.args(["--target", "minikube", "--quiet", "--profile", minikube.profile()]);
    if let Some(kubeconfig) = &context.global.cluster.kubeconfig {
        command.arg("--kubeconfig").arg(kubeconfig);
    }
    command.args(["keep", keep.name()]);
    Ok(command)
}

/// Deletes the whole profile.
pub(crate) fn down(context: &Context) -> Outcome {
    let minikube = minikube_profile::profile(context)?;
    context.printer.progress().show("down", &format!("deleting minikube profile {}", minikube.profile()));
    let outcome = minikube.delete();
    context.printer.progress().clear();
    let was_up = outcome.map_err(|error| match error {
        MinikubeError::Interrupted => Failure::interrupted(),
        error => Failure::new(exit::TEARDOWN_LEFT_SOMETHING, error.to_string()),
    })?;
    let name = minikube.profile();
    context.printer.line(&if was_up {
        format!("minikube profile {name} is deleted; nothing is left")
    } else {
        format!("there was no minikube profile {name}; nothing is left")
    });
    let (platform, left, notes) = (name.to_owned(), Vec::new(), Vec::new());
    context.printer.document(&results::Down { platform, was_up, left, notes });
    Ok(exit::DONE)
}

/// Ends the tunnel and the dashboard, and leaves the cluster.
pub(crate) fn close(context: &Context) -> Outcome {
    end_kept(&minikube_profile::profile(context)?)?;
    Ok(exit::DONE)
}

pub(crate) fn end_kept(minikube: &Minikube) -> Result<(), Failure> {
    for keep in Keep::ALL {
        minikube
            .kept(keep)
            .end()
            .map_err(|error| Failure::new(exit::TEARDOWN_LEFT_SOMETHING, error.to_string()))?;
    }
    Ok(())
}

fn bring_up(error: MinikubeError) -> Failure {
    match error {
        MinikubeError::Interrupted => Failure::interrupted(),
        MinikubeError::Usage(message) => Failure::usage(message),
        error => Failure::new(exit::BRING_UP_FAILED, error.to_string()),
    }
}

/// Keeps minikube's tunnel or dashboard running, for `up`
#[derive(Debug, clap::Args)]
pub(crate) struct KeepArgs {
    what: What,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    Tunnel,
    Dashboard,
}

pub(crate) fn keep(context: &Context, args: &KeepArgs) -> Outcome {
    let keep = match args.what {
        What::Tunnel => Keep::Tunnel,
        What::Dashboard => Keep::Dashboard,
    };
    let minikube = minikube_profile::profile(context)?;
    cluster::minikube::keep(&minikube, keep).map_err(TargetError::from)?;
    Ok(exit::DONE)
}
