//! `playctl load [SCENARIO] [TARGET]`

mod in_cluster;
mod pairs;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use load::{Identify, Options};
use platform::{
    Event, EventKind, HostPort, ServiceKind, Target, duration,
    target::{Endpoint, EventsFrom},
    values::{Values, ValuesSource},
};
use scenario::{
    Every, Expect, Expectation, Hold, LoadDuration, Payload, Policy, Profile, Protocol, Rate, Scenario,
    ScenarioError, Share, Stage,
    fit::{Needed, Requirement, Unfit},
    parse_count,
};

#[cfg(not(feature = "local"))]
use super::{absent as load_worker, absent as serve};
#[cfg(feature = "local")]
use super::{load_worker, serve};
use crate::{
    context::Context,
    failure::{Failure, Outcome},
    options::TargetKind,
    output_files, platform_source,
    session::{self, Platform, Session},
};

/// Read this much of a payload file: the limit, and one byte more, which shows that the file is longer.
const PAYLOAD_BYTES_MAX: u64 = 65_537;

/// Load the platform, or any address, and print a time line
#[derive(Debug, clap::Args)]
#[cfg_attr(
    not(feature = "local"),
    command(
        before_help = "This playctl was built without the feature `local`, which requires Linux: a load comes only from pods in a \
                           cluster (--target cluster --in-cluster)."
    )
)]
#[command(after_help = "\
Examples:
  playctl load --conns 10k --rate 5ms     the platform; each connection sends
                                          msg:12345 once a second, for 240 s
  playctl load tcp-10k                    a scenario, with its expectations
  playctl load tcp-10k --hold 30s --svg run.svg        shorter, with a picture
  playctl load --conns 500 --rate 200/s 127.0.0.1:7000       any TCP server
  playctl load --payload 'PING\\r\\n' --answer +PONG localhost:6379
  playctl load --conns 100 --for 30s --expect-lost 0 --expect-p99 50ms
  playctl load udp-burst                  1,000 to 30,000 datagrams a second
                                          and back
  playctl load --protocol udp --conns 64 --send 30k/s --window 8
  playctl load --conns 16 --window 32 udp://127.0.0.1:7000
  playctl load ws://127.0.0.1:8088                     any WebSocket server
  playctl load ws://chat:80/room/{user} --header 'Authorization: Bearer {user}'
  playctl load tcp-10k --target cluster --in-cluster   from pods in the cluster
  playctl load chat:7000 --in-cluster --target cluster -n chat --image REF

A scenario can also act on the platform, at a given time or on an event:
  actions:
    - { at: 30s, do: stop, what: kafka, for: 30s }
    - { when: \"tcp 1 → 2\", after: 2s, do: kill, what: tcp/fullest }
    - { at: 60s, do: drain, what: tcp/tcp-0 }
    - { at: 10s, do: send, from: 1, payload: \"brd:{token}:hello\" }
    - { at: 20s, do: add-node }
    - { at: 20s, do: join, users: 2 }
    - { when: spread 7/7/7/7, do: leave, users: 6, of: ws/fullest }
An action can wait for: ramp done, load closed, users joined, users left,
spread 7/7/6, tcp 1 → 2, tcp above target, tcp below target, tcp/tcp-1 ready
(or starting, unready, draining, gone, crashed, inactive, active; tcp/any),
kafka stopped, kafka started.
Built in: tcp-10k, udp-burst, broadcast, drain, broker-down, kill-server,
rebalance-10k, node-add, ws-hard-limit, ws-scale-out, ws-scale-in,
ws-swiss-cheese, ws-storm, stream-6, stream-churn.
docs/scenarios.md describes the files.

The exit status is 3 if an expectation fails, and 1 if an action fails or the
load expects answers and gets no correct one. Latency is measured from the
moment a message was due.")]
pub(crate) struct Args {
    /// A scenario (a built-in name or a YAML file) and/or addresses to load (HOST:PORT, udp://HOST:PORT, ws://HOST:PORT/PATH)
    #[arg(value_name = "SCENARIO|TARGET")]
    what: Vec<String>,
    #[command(flatten)]
    pub shape: Shape,
    #[command(flatten)]
    pub outputs: Outputs,
    #[command(flatten)]
    inside: Inside,
}

/// Loading from inside a cluster.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Options for loading from inside a cluster")]
struct Inside {
    /// Generate the load inside the cluster, shared by --workers pods (4 by default)
    #[arg(long)]
    in_cluster: bool,
    /// The pods' image, containing this playctl; default: the image of our chart's pods
    #[arg(long, value_name = "REF")]
    image: Option<String>,
}

/// Files that a run leaves.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Outputs {
    /// Write an SVG picture of the run
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Write the expectations as XML test cases for CI
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
}

/// What a scenario says and a command line may say differently.
#[derive(Debug, Clone, Default, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags, each of its own")]
pub(crate) struct Shape {
    /// The protocol
    #[arg(long, value_name = "tcp|udp|ws|sse")]
    pub protocol: Option<Protocol>,
    // In clap's texts `{n}` is a line end.
    /// Path of the upgrade (ws) or of the event stream (sse); {user} is user-1 for the first connection, user-2 for the next; over sse, {user} and {profile} are UUIDs
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,
    /// Header of each upgrade (ws) or request for a stream (sse), such as 'Authorization: Bearer {user}'; repeatable
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    pub headers: Vec<(String, String)>,
    /// Subprotocol to offer (ws), the preferred one first; repeatable. Default: retry-hint, by which our servers say when
    /// to come back
    #[arg(long = "subprotocol", value_name = "NAME", value_delimiter = ',')]
    pub subprotocols: Vec<String>,
    /// Number of connections; over udp, of peers (each a socket with its own port)
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub conns: Option<u64>,
    /// Interval between connects, or connects per second: 5ms, 200/s, 1k/s
    #[arg(long, value_name = "RATE")]
    pub rate: Option<Rate>,
    /// Interval between messages on each connection
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub every: Option<Duration>,
    /// Total message rate of all peers (udp), instead of an interval for each: 30000/s
    #[arg(long, value_name = "FREQUENCY", conflicts_with_all = ["every", "silent"])]
    pub send: Option<Rate>,
    /// Unanswered messages allowed per peer (udp); without a rate, each answer triggers the next message
    #[arg(long, value_name = "N")]
    pub window: Option<u32>,
    /// Send nothing
    #[arg(long, conflicts_with_all = ["every", "payload", "payload_file"])]
    pub silent: bool,
    /// The message to send; \n, \r, \t, \0, \xNN and \\ are escapes
    #[arg(long, value_name = "TEXT")]
    pub payload: Option<Payload>,
    /// Send the contents of this file as each message
    #[arg(long, value_name = "FILE", conflicts_with = "payload")]
    pub payload_file: Option<PathBuf>,
    /// Number each session's messages, across reconnects: reports lost, duplicated and reordered messages, and the gap
    /// of each move
    #[arg(long)]
    pub sequence: bool,
    /// The answer to expect
    #[arg(long, value_name = "echo|any|none")]
    pub expect: Option<Expect>,
    /// What each answer begins with, instead of an echo; the same escapes
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["expect", "sequence", "silent"])]
    pub answer: Option<Payload>,
    /// Close this long after the first connect
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse, conflicts_with = "hold")]
    pub duration: Option<Duration>,
    /// Close this long after the end of the ramp
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub hold: Option<Duration>,
    /// A message that is not answered within this time counts as timed out
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub timeout: Option<Duration>,
    /// A connect that takes longer than this counts as timed out
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub connect_timeout: Option<Duration>,
    /// How ended connections reconnect: after a delay plus random jitter (jitter), after a delay that doubles with each
    /// failed attempt (backoff), or never (none). The server's own hints take precedence: Retry-After, and
    /// `retry in N ms` in a close
    #[arg(long, value_name = "backoff|jitter|none")]
    pub reconnect: Option<Policy>,
    /// Delay before an ended connection reconnects; default 1s, over ws 5s plus up to half as much at random
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub reconnect_delay: Option<Duration>,
    /// Random time added to the delay
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub reconnect_jitter: Option<Duration>,
    /// Share of connections that reconnect immediately, ignoring delay, jitter and the server's hints: 20%
    #[arg(long, value_name = "SHARE")]
    pub reconnect_at_once: Option<Share>,
    /// Never reconnect
    #[arg(long, conflicts_with_all = ["reconnect", "reconnect_delay", "reconnect_jitter", "reconnect_at_once"])]
    pub no_reconnect: bool,
    /// Ask each connection's server who it is (WHERE): auto, always, never; default: auto for the platform's own
    /// services, never elsewhere
    #[arg(long, value_name = "WHEN")]
    pub identify: Option<Identify>,
    /// Number of worker processes; default: as many as the connections need; with --in-cluster, of pods
    #[arg(long, value_name = "N")]
    pub workers: Option<u32>,
    /// Report every connection individually (--output jsonl)
    #[arg(long)]
    pub trace_connections: bool,
    /// At most this many lost connections; over udp, unanswered messages
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub expect_lost: Option<u64>,
    /// At most this many refused connects
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub expect_refused: Option<u64>,
    /// At least this many connections
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub expect_connected: Option<u64>,
    /// Message latency at the 99th percentile is at most this
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub expect_p99: Option<Duration>,
}

pub(crate) fn run(context: &Context, mut args: Args) -> Outcome {
    // A load started by a page ends with the page's server.
    #[cfg(feature = "local")]
    local::child::bind_to_parent().map_err(Failure::failed)?;
    // A built-in scenario's name is not a file, or one that is not read.
    let inputs = args.what.iter().map(Path::new).chain(args.shape.payload_file.as_deref());
    args.outputs.check(inputs)?;
    let mut addresses = Vec::new();
    let mut named: Option<Scenario> = None;
    for what in args.what {
        if is_address(&what) {
            addresses.push(what);
        } else if let Some(first) = &named {
            return Err(Failure::usage(format!("one scenario at a time: {} and {what}", first.name)));
        } else {
            named = Some(scenario_named(&what)?);
        }
    }
    let protocol = args.shape.protocol.or_else(|| addresses.iter().find_map(|text| load::protocol(text)));
    let spoken = protocol.or_else(|| named.as_ref().map(|scenario| scenario.protocol)).unwrap_or_default();
    args.shape.take_urls(&mut addresses, spoken, named.as_ref())?;
    let scenario = context.interrupt.ending_at_once(|| args.shape.lay_over(named, protocol))?;
    check_variables(&scenario)?;
    let mut options = args.shape.options();
    let is_cluster = context.global.target != TargetKind::Local;
    if is_cluster && (args.inside.in_cluster || addresses.is_empty()) {
        return in_cluster::run(context, scenario, options, addresses, &args.inside, &args.outputs);
    }
    if let Some(flag) = args.inside.first_given() {
        let needs = if is_cluster {
            "--in-cluster, since the address is loaded from here"
        } else {
            "--target cluster"
        };
        return Err(Failure::usage(format!("{flag} needs {needs}")));
    }
    check_engine(if is_cluster { in_cluster::FROM_PODS } else { "--target cluster --in-cluster" })?;
    let target = platform_source::target(context)?;
    if addresses.is_empty() {
        if !target.is_up()? {
            return Err(Failure::failed(format!(
                "platform {} is not running and no address was given; start it with: {}, or name one: \
                 playctl load HOST:PORT",
                context.global.platform,
                up_command(&scenario)
            )));
        }
        return against(context, &target, scenario, options, &args.outputs);
    }
    if let Some(action) = scenario.actions.iter().find(|action| action.verb.is_of_platform()) {
        return Err(Failure::usage(format!(
            "action `{action}` acts on a platform, but {} is an address; leave the address out",
            addresses.join(", ")
        )));
    }
    for text in &addresses {
        options.targets.push(resolve(text, &scenario)?);
    }
    if args.shape.identify.is_none() && !leads_to(&*target, &addresses, &options.targets) {
        // A server that may not be ours gets only the payload, unless requested otherwise.
        options.identify = Identify::Never;
    }
    carry_out(context, scenario, options, None, &args.outputs)
}

/// In some builds, a load comes only from pods in a cluster. `add`: the options that make it come from there.
fn check_engine(add: &str) -> Result<(), Failure> {
    if cfg!(feature = "local") {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "this playctl was built without the feature `local`, which requires Linux: it cannot load from this machine, only from \
         pods in a cluster; add {add}"
    )))
}

/// Whether one of the platform's addresses is among the targets.
fn leads_to(target: &dyn Target, typed: &[String], resolved: &[SocketAddr]) -> bool {
    let Ok(snapshot) = target.snapshot() else { return false };
    // A cluster also has other people's services.
    let ours = || snapshot.services.iter().filter(|service| ServiceKind::by_name(&service.name).is_some());
    let replicas = ours().flat_map(|service| &service.replicas);
    let endpoints = ours().filter_map(|service| service.endpoint.as_ref());
    let is_meant = |known: &HostPort| {
        known.socket().is_some_and(|known| resolved.contains(&known)) || typed.contains(&known.to_string())
    };
    replicas.filter_map(|replica| replica.address.as_ref()).chain(endpoints).any(is_meant)
}

/// Runs a built-in scenario against one of our platforms; `shape` has the differences from the scenario.
#[cfg(feature = "local")]
pub(crate) fn scenario(
    context: &Context,
    target: &Arc<dyn Target>,
    name: &str,
    shape: &Shape,
    outputs: &Outputs,
) -> Outcome {
    let scenario = shape.lay_over(Some(scenario_named(name)?), shape.protocol)?;
    against(context, target, scenario, shape.options(), outputs)
}

/// A platform does not show its services' variables, so a misspelt one would never be noticed.
fn check_variables(scenario: &Scenario) -> Result<(), Failure> {
    for needed in &scenario.values {
        if let Requirement::Of { service, needed: Needed::Variable { name, .. } } = needed
            && let Some(wrong) = serve::misspelt(service, name)
        {
            return Err(Failure::usage(format!("{}: values: {needed}: {wrong}", scenario.name)));
        }
    }
    Ok(())
}

fn check_fit(scenario: &Scenario, target: &dyn Target) -> Result<(), Failure> {
    scenario.check(&target.snapshot()?).map_err(|unfit| unfit_failure(scenario, &unfit))
}

fn unfit_failure(scenario: &Scenario, unfit: &Unfit) -> Failure {
    Failure::usage(match unfit {
        Unfit::Values { .. } => format!("{unfit}; bring it up with: {}", up_command(scenario)),
        _ => format!("{}: {unfit}", scenario.name),
    })
}

/// Adds its events from now on. The stream begins with a description of the platform, which readers need first.
fn watched(target: &Arc<dyn Target>) -> Result<Platform, Failure> {
    let mut events = target.events(EventsFrom::Now)?;
    let first = events.next().transpose()?;
    Ok(Platform { target: Arc::clone(target), first, events })
}

fn against(
    context: &Context,
    target: &Arc<dyn Target>,
    scenario: Scenario,
    mut options: Options,
    outputs: &Outputs,
) -> Outcome {
    check_fit(&scenario, &**target)?;
    let service = &scenario.service;
    let endpoint = match target.endpoint(service)? {
        Endpoint::At(endpoint) => endpoint,
        Endpoint::NoneYet { why } => {
            return Err(Failure::failed(format!(
                "clients of {service} have no address to connect to yet: {why}"
            )));
        }
    };
    options.targets = vec![resolve(&endpoint.to_string(), &scenario)?];
    pairs::make(&**target, &scenario)?;
    options.replica_names = Some(session::replica_names(Arc::clone(target)));
    carry_out(context, scenario, options, Some(watched(target)?), outputs)
}

fn resolve(address: &str, scenario: &Scenario) -> Result<SocketAddr, Failure> {
    load::resolve(address, scenario.protocol)
        .map_err(|error| Failure::new(error.exit_code(), error.to_string()))
}

fn carry_out(
    context: &Context,
    mut scenario: Scenario,
    mut options: Options,
    platform: Option<Platform>,
    outputs: &Outputs,
) -> Outcome {
    let services = platform.as_ref().map(|platform| match &platform.first {
        Some(Event { kind: EventKind::PlatformStarted { services, .. }, .. }) => services.as_slice(),
        _ => &[],
    });
    let left_out = scenario.drop_unreachable(services);
    if options.away.is_none() {
        options.worker = Some(load_worker::command()?);
    }
    let run = match Session::new(context, &scenario, &options).run(&scenario, options, platform, left_out) {
        Ok(run) => run,
        Err(failure) => {
            if let Some(path) = &outputs.junit {
                output_files::write(path, &session::junit_of_failure(&scenario, &failure)?)?;
            }
            return Err(failure);
        }
    };
    if let Some(path) = &outputs.svg {
        output_files::write(path, &run.svg())?;
        context.printer.note(&format!("picture: {}", path.display()));
    }
    if let Some(path) = &outputs.junit {
        output_files::write(path, &run.junit(&scenario)?)?;
    }
    run.outcome(context, &scenario)
}

/// The command that brings up a platform for a scenario: with its preset, and the values that the preset lacks.
fn up_command(scenario: &Scenario) -> String {
    let preset = scenario.preset.as_deref();
    let with = |set: Vec<String>| {
        let files = preset.iter().map(PathBuf::from).collect();
        Values::load(&ValuesSource { files, set, ..ValuesSource::default() }).ok()
    };
    let of_preset = with(Vec::new());
    let is_set = |needed: &Requirement| needed.is_value() && with(vec![needed.to_string()]) == of_preset;
    let needed = scenario.values.iter().filter(|needed| !is_set(needed));
    let flags: Vec<String> = needed.map(|needed| format!(" {}", needed.flag())).collect();
    let preset = preset.map(|preset| format!(" -f {preset}"));
    format!("playctl up{}{}", preset.unwrap_or_default(), flags.concat())
}

fn scenario_named(name: &str) -> Result<Scenario, Failure> {
    scenario::find(name).map_err(|error| Failure::new(error.exit_code(), error.to_string()))
}

/// Neither a name nor a file: `HOST:PORT`, `[::1]:PORT`, `udp://HOST:PORT`, and an address without its port.
fn is_address(text: &str) -> bool {
    let is_known = scenario::names().any(|(name, _)| name == text);
    text.contains(':') || text.parse::<std::net::IpAddr>().is_ok() || text == "localhost" || {
        // Host names have dots, and so do files, but those have one of these endings or a path.
        let is_file = [".yaml", ".yml"].iter().any(|ending| text.ends_with(ending)) || text.contains('/');
        text.contains('.') && !is_file && !is_known
    }
}

impl Inside {
    fn first_given(&self) -> Option<&'static str> {
        self.in_cluster.then_some("--in-cluster").or(self.image.as_ref().map(|_| "--image"))
    }
}

impl Outputs {
    /// Checks that they can be written, before a run whose result would be lost.
    pub(crate) fn check<'a>(&'a self, inputs: impl IntoIterator<Item = &'a Path>) -> Result<(), Failure> {
        output_files::check(inputs, [&self.svg, &self.junit].into_iter().flatten().map(PathBuf::as_path))
    }
}

impl Shape {
    /// Takes the path of `ws://HOST:PORT/PATH`, as if it were --path. The typed host's name becomes the header `Host`, by which
    /// a proxy tells servers apart, unless a flag or the scenario sets one.
    fn take_urls(
        &mut self,
        addresses: &mut [String],
        protocol: Protocol,
        named: Option<&Scenario>,
    ) -> Result<(), Failure> {
        for text in &mut *addresses {
            let Some((address, path)) = load::split_path(text, protocol) else { continue };
            if let Some(other) = self.path.as_deref().filter(|other| *other != path) {
                return Err(Failure::usage(format!(
                    "{text}: its path is {path}, and another one is {other}: a load has one"
                )));
            }
            self.path = Some(path.to_owned());
            *text = address.to_owned();
        }
        if matches!(protocol, Protocol::Ws | Protocol::Sse)
            && let [address] = addresses
            && !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host"))
            && named.is_none_or(|scenario| scenario.header("host").is_none())
        {
            let authority =
                address.split_once("://").map_or(address.as_str(), |(_, rest)| rest).trim_end_matches('/');
            let is_name = authority.parse::<SocketAddr>().is_err() && !authority.is_empty();
            if is_name {
                self.headers.push(("Host".to_owned(), authority.to_owned()));
            }
        }
        Ok(())
    }

    /// The flag that set a key of the scenario, as errors name it.
    fn flag_of(&self, key: &str) -> Option<String> {
        let header =
            key.strip_prefix("headers.").filter(|name| self.headers.iter().any(|(given, _)| given == name));
        if let Some(name) = header {
            return Some(format!("--header {name}"));
        }
        let given = [
            ("phases.ramp.connections", "--conns", self.conns.is_some()),
            ("phases.ramp", "--conns and --rate", self.conns.is_some() || self.rate.is_some()),
            ("phases.hold", "--for", self.duration.is_some()),
            ("phases.hold", "--hold", self.hold.is_some()),
            ("phases.send", "--send", self.send.is_some()),
            ("messages.every", "--every", self.every.is_some()),
            ("messages.every", "--silent", self.silent),
            ("messages.payload", "--payload", self.payload.is_some()),
            ("messages.payload", "--payload-file", self.payload_file.is_some()),
            ("messages.window", "--window", self.window.is_some()),
            ("messages.answer", "--answer", self.answer.is_some()),
            ("messages.timeout", "--timeout", self.timeout.is_some()),
            ("messages.sequence", "--sequence", self.sequence),
            ("connect-timeout", "--connect-timeout", self.connect_timeout.is_some()),
            ("path", "--path", self.path.is_some()),
            ("headers", "--header", !self.headers.is_empty()),
            ("subprotocols", "--subprotocol", !self.subprotocols.is_empty()),
            ("reconnect.policy", "--reconnect", self.reconnect.is_some()),
            ("reconnect.delay", "--reconnect-delay", self.reconnect_delay.is_some()),
            ("reconnect.jitter", "--reconnect-jitter", self.reconnect_jitter.is_some()),
            ("reconnect.at-once", "--reconnect-at-once", self.reconnect_at_once.is_some()),
        ];
        given
            .iter()
            .find(|(known, _, is_given)| *is_given && *known == key)
            .map(|(_, flag, _)| (*flag).to_owned())
    }

    /// Applies the flags to a scenario, or to the defaults.
    fn lay_over(&self, named: Option<Scenario>, protocol: Option<Protocol>) -> Result<Scenario, Failure> {
        let whole = named.clone();
        let mut scenario = named.unwrap_or_default();
        if let Some(protocol) = protocol {
            scenario.protocol = protocol;
            if whole.is_none() {
                protocol.service().clone_into(&mut scenario.service);
            }
        }
        if let (Some(conns), Some(whole)) = (self.conns, &whole)
            && conns != whole.phases.ramp.connections
            && let Some(counts) = whole.counts_on()
        {
            return Err(Failure::usage(format!(
                "--conns {conns}: {name} expects certain numbers of users (`{counts}`), which fit no other \
                 number of connections; leave the flag out, or change them together in a file of your own",
                name = whole.name
            )));
        }
        let (phases, messages) = (&mut scenario.phases, &mut scenario.messages);
        set(&mut phases.ramp.connections, self.conns);
        set(&mut phases.ramp.rate, self.rate);
        if let Some(length) = self.duration {
            phases.hold = Hold { from_first_connect: Some(length), after_ramp: None };
        } else if let Some(length) = self.hold {
            phases.hold = Hold { from_first_connect: None, after_ramp: Some(length) };
        }
        if self.silent || self.every.is_some() {
            messages.every = Some(self.every.map_or(Every::Never, Every::Interval));
            phases.send = Profile::default();
        }
        set(&mut messages.payload, self.payload.clone());
        if let Some(path) = &self.payload_file {
            messages.payload = read_payload(path)?;
        }
        set(&mut messages.expect, self.expect);
        if self.expect.is_some() {
            messages.answer = None;
        }
        if let Some(answer) = &self.answer {
            (messages.answer, messages.expect) = (Some(answer.clone()), Expect::Echo);
        }
        messages.sequence |= self.sequence;
        messages.timeout = self.timeout.or(messages.timeout);
        messages.window = self.window.or(messages.window);
        set(&mut scenario.connect_timeout, self.connect_timeout);
        let reconnect = &mut scenario.reconnect;
        let says_when =
            self.reconnect.is_some() || self.reconnect_delay.is_some() || self.reconnect_jitter.is_some();
        reconnect.never = self.no_reconnect || (reconnect.never && !says_when);
        if self.no_reconnect {
            reconnect.policy = None;
        }
        reconnect.policy = self.reconnect.or(reconnect.policy);
        if reconnect.policy != Some(Policy::Backoff) {
            reconnect.at_most = None;
        }
        reconnect.delay = self.reconnect_delay.or(reconnect.delay);
        reconnect.jitter = self.reconnect_jitter.or(reconnect.jitter);
        reconnect.at_once = self.reconnect_at_once.or(reconnect.at_once);
        if self.no_reconnect {
            reconnect.at_once = None;
        }
        scenario.path = self.path.clone().or_else(|| scenario.path.take());
        self.headers.iter().for_each(|(name, value)| scenario.set_header(name, value));
        if !self.subprotocols.is_empty() {
            scenario.subprotocols.clone_from(&self.subprotocols);
        }
        if let Some(rate) = self.send {
            scenario.messages.every = None;
            let (LoadDuration::FromFirstConnect(length) | LoadDuration::FromRampEnd(length)) =
                scenario.duration();
            scenario.phases.send = Profile::new(vec![Stage::steady(rate, length)]);
        }
        if let Some(whole) = &whole {
            scenario.scale_pairs(whole);
            scenario.scale_expectations(whole);
        }
        let expectations = [
            self.expect_lost.map(Expectation::lost),
            self.expect_refused.map(Expectation::refused),
            self.expect_connected.map(Expectation::connected),
            self.expect_p99.map(Expectation::p99),
        ];
        expectations.into_iter().flatten().for_each(|expectation| scenario.expect(expectation));
        scenario.validate().map_err(|error| {
            let code = error.exit_code();
            let error = match error {
                ScenarioError::Value { what, value, expected } => {
                    ScenarioError::Value { what: self.flag_of(&what).unwrap_or(what), value, expected }
                }
                other => other,
            };
            Failure::new(code, error.to_string())
        })?;
        Ok(scenario)
    }

    fn options(&self) -> Options {
        Options {
            identify: self.identify.unwrap_or_default(),
            workers: self.workers,
            trace_connections: self.trace_connections,
            ..Options::default()
        }
    }
}

/// Reads `NAME: VALUE`.
fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) =
        text.split_once(':').ok_or("expected NAME: VALUE, such as 'Authorization: Bearer {user}'")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

fn read_payload(path: &Path) -> Result<Payload, Failure> {
    use std::io::Read as _;

    let wrong = |error: std::io::Error| Failure::usage(format!("--payload-file {}: {error}", path.display()));
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .map_err(wrong)?
        .take(PAYLOAD_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(wrong)?;
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broadcast() -> Scenario {
        scenario::find("broadcast").unwrap()
    }

    #[test]
    fn a_platform_is_brought_up_by_the_preset_or_else_by_each_value() {
        let up = |name: &str| up_command(&scenario::find(name).unwrap());
        assert_eq!(up("broadcast"), "playctl up --set tcp.autoscaling=null --set tcp.replicas=3");
        assert_eq!(up("ws-scale-out"), "playctl up -f balancer --nodes 1");
        assert_eq!(up("kill-server"), "playctl up -f socketz --set etcd.enabled=true");
        assert_eq!(
            up("stream-churn"),
            "playctl up -f streams --set stream.autoscaling=null --set stream.replicas=2 --set stream.env.LOCK_TTL=6 \
             --set stream.env.LOCK_REFRESH=1"
        );
    }

    #[cfg(feature = "local")]
    #[test]
    fn a_misspelt_variable_of_a_scenario_is_an_error_and_none_of_ours_has_one() {
        let mut scenario = broadcast();
        scenario.values.push("balancer.env.SHED_RAT=300".parse().unwrap());
        let message = check_variables(&scenario).unwrap_err().message;
        assert_eq!(
            message,
            "broadcast: values: balancer.env.SHED_RAT=300: balancer reads no variable SHED_RAT; did you mean SHED_RATE?"
        );
        for (name, _) in scenario::names() {
            assert!(check_variables(&scenario::find(name).unwrap()).is_ok(), "{name}");
        }
    }

    #[test]
    fn flags_come_before_what_the_scenario_says() {
        let shape = Shape {
            conns: Some(20),
            hold: Some(Duration::from_secs(30)),
            silent: true,
            expect_lost: Some(5),
            ..Shape::default()
        };
        let scenario = shape.lay_over(Some(broadcast()), None).unwrap();
        assert_eq!((scenario.name.as_str(), scenario.phases.ramp.connections), ("broadcast", 20));
        assert_eq!(scenario.duration(), LoadDuration::FromRampEnd(Duration::from_secs(30)));
        assert_eq!(scenario.every(), None);
        let texts: Vec<String> = scenario.expectations.iter().map(ToString::to_string).collect();
        assert!(
            texts.contains(&"connected >= 20".to_owned()) && texts.contains(&"lost <= 5".to_owned()),
            "{texts:?}"
        );
        assert!(!texts.contains(&"lost = 0".to_owned()), "one of a kind: {texts:?}");
    }

    #[test]
    fn a_scenario_that_counts_users_keeps_its_connections() {
        for (name, _) in scenario::names() {
            let whole = scenario::find(name).unwrap();
            let with =
                |conns| Shape { conns: Some(conns), ..Shape::default() }.lay_over(Some(whole.clone()), None);
            let refused = with(whole.users() + 1).err().map(|failure| failure.message);
            assert_eq!(refused.is_some(), whole.counts_on().is_some(), "{name}: {refused:?}");
            if let Some(message) = refused {
                assert!(message.starts_with("--conns ") && message.contains(name), "{message}");
            }
            assert!(with(whole.phases.ramp.connections).is_ok(), "{name}: the same number changes nothing");
        }
    }

    #[test]
    fn reconnect_flags_replace_the_whole_policy() {
        let mut whole = Scenario::default();
        whole.reconnect.never = true;
        let reconnect = |shape: Shape| shape.lay_over(Some(whole.clone()), None).unwrap().reconnect;
        assert!(reconnect(Shape::default()).is_never());
        let backoff = reconnect(Shape { reconnect: Some(Policy::Backoff), ..Shape::default() });
        assert!(!backoff.is_never() && backoff.policy == Some(Policy::Backoff));
        let delay = Some(Duration::from_secs(3));
        assert_eq!(reconnect(Shape { reconnect_delay: delay, ..Shape::default() }).delay, delay);
        assert!(reconnect(Shape { no_reconnect: true, ..Shape::default() }).is_never());
        let at_once = Some("20%".parse().unwrap());
        assert_eq!(
            reconnect(Shape { reconnect_at_once: at_once, reconnect_delay: delay, ..Shape::default() })
                .at_once,
            at_once
        );
        let ws = Shape { path: Some("/{n}".to_owned()), ..Shape::default() };
        let ws = ws.lay_over(None, Some(Protocol::Ws)).unwrap();
        assert_eq!((ws.service.as_str(), ws.path_of(0).as_str()), ("ws", "/1"));
    }

    #[test]
    fn addresses_are_told_from_scenario_names() {
        for address in
            ["127.0.0.1:80", "[::1]:80", "udp://x:1", "localhost", "127.0.0.1", "server.example.com"]
        {
            assert!(is_address(address), "{address}");
        }
        for name in ["tcp-10k", "broadcast", "mine.yaml", "./mine", "dir/mine.yml"] {
            assert!(!is_address(name), "{name}");
        }
    }

    #[test]
    fn a_total_rate_replaces_an_interval() {
        let send = Some("1k/s".parse().unwrap());
        let shape = Shape { send, duration: Some(Duration::from_secs(6)), ..Shape::default() };
        let scenario = shape.lay_over(None, Some(Protocol::Udp)).unwrap();
        assert_eq!((scenario.every(), scenario.length()), (None, Duration::from_secs(6)));
        assert_eq!(scenario.service, "udp");
        let tcp = Shape { send, ..Shape::default() }.lay_over(None, None).unwrap_err();
        assert!(tcp.message.contains("expected protocol udp"), "{}", tcp.message);
    }
}
