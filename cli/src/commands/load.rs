//! `playctl load [SCENARIO] [TARGET]`

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use load::{
    Expect, Expectation, Frequency, Identify, LoadDuration, Options, Plan, Protocol, Rate, Reconnect,
    Request, scenario::Scenario,
};
use local::LocalTarget;
use platform::{Target, target::EventsFrom};

use super::{Context, Failure, Outcome};
use crate::{platform_source, session::Session};

/// Load the platform, or any address, and print the time line
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl load --conns 10000 --rate 5ms                  our platform; each sends msg:12345 once a second, 240 s
  playctl load tcp-10k                                   a scenario, with its expectations
  playctl load tcp-10k --hold 30s --svg run.svg          shorter, with a picture
  playctl load --conns 500 --rate 200/s 127.0.0.1:7000   any TCP server
  playctl load --conns 100 --for 30s --expect-lost 0 --expect-p99 50ms
  playctl load udp-burst                                 datagrams, from 1,000 a second to 30,000 and back
  playctl load --protocol udp --conns 64 --send 30000/s --window 8
  playctl load --conns 16 --window 32 udp://127.0.0.1:7000

Expectations that fail make the exit status 3. Latency counts from the moment a message was due.")]
pub(crate) struct Args {
    /// A scenario (a built-in name or a YAML file) and/or addresses to load (HOST:PORT, udp://HOST:PORT)
    #[arg(value_name = "SCENARIO|TARGET")]
    what: Vec<String>,
    #[command(flatten)]
    pub shape: Shape,
    /// Write a picture of the run
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

/// What a scenario says and a command line may say differently.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Shape {
    /// What is spoken
    #[arg(long, value_name = "tcp|udp")]
    pub protocol: Option<Protocol>,
    /// How many connections; over udp, peers (sockets with a port each)
    #[arg(long, value_name = "N")]
    pub conns: Option<u64>,
    /// Time between two connects, or connects per second: 5ms, 200/s
    #[arg(long, value_name = "RATE")]
    pub rate: Option<Rate>,
    /// Time between two messages of one connection
    #[arg(long, value_name = "TIME", value_parser = load::parse_duration)]
    pub every: Option<Duration>,
    /// Messages of all peers together (udp), in place of an interval for each: 30000/s
    #[arg(long, value_name = "FREQUENCY", conflicts_with_all = ["every", "silent"])]
    pub send: Option<Frequency>,
    /// At most so many messages of a peer without an answer (udp); alone, each answer sends the next message
    #[arg(long, value_name = "N")]
    pub window: Option<u32>,
    /// Connections send nothing
    #[arg(long, conflicts_with_all = ["every", "payload"])]
    pub silent: bool,
    /// What a message is
    #[arg(long, value_name = "TEXT")]
    pub payload: Option<String>,
    /// What an answer must be
    #[arg(long, value_name = "echo|any|none")]
    pub expect: Option<Expect>,
    /// Close this long after the first connect
    #[arg(long = "for", value_name = "TIME", value_parser = load::parse_duration, conflicts_with = "hold")]
    pub duration: Option<Duration>,
    /// Close this long after the end of the ramp
    #[arg(long, value_name = "TIME", value_parser = load::parse_duration)]
    pub hold: Option<Duration>,
    /// A message without an answer for so long counts as timed out
    #[arg(long, value_name = "TIME", value_parser = load::parse_duration)]
    pub timeout: Option<Duration>,
    /// A connect that takes longer counts as timed out
    #[arg(long, value_name = "TIME", value_parser = load::parse_duration)]
    pub connect_timeout: Option<Duration>,
    /// How long after its end a connection comes back
    #[arg(long, value_name = "TIME", value_parser = load::parse_duration)]
    pub reconnect_delay: Option<Duration>,
    /// Random time on top of the delay
    #[arg(long, value_name = "TIME", value_parser = load::parse_duration)]
    pub reconnect_jitter: Option<Duration>,
    /// Connections that end stay away
    #[arg(long, conflicts_with_all = ["reconnect_delay", "reconnect_jitter"])]
    pub no_reconnect: bool,
    /// Ask each connection's server who it is (WHERE): auto, always, never; by default auto where the platform
    /// serves, never elsewhere
    #[arg(long, value_name = "WHEN")]
    pub identify: Option<Identify>,
    /// Worker processes; by default as many as the connections need
    #[arg(long, value_name = "N")]
    pub workers: Option<u32>,
    /// Report every connection by itself (--output jsonl)
    #[arg(long)]
    pub trace_connections: bool,
    /// At most so many connections lost; over udp, messages without an answer
    #[arg(long, value_name = "N")]
    pub expect_lost: Option<u64>,
    /// At most so many connects refused
    #[arg(long, value_name = "N")]
    pub expect_refused: Option<u64>,
    /// At least so many connected
    #[arg(long, value_name = "N")]
    pub expect_connected: Option<u64>,
    /// Message latency at the 99th percentile at most
    #[arg(long, value_name = "TIME", value_parser = load::parse_duration)]
    pub expect_p99: Option<Duration>,
}

pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    let mut request = args.shape.request();
    for what in args.what {
        if is_address(&what) {
            request.targets.push(what);
        } else if let Some(first) = &request.scenario {
            return Err(Failure::usage(format!("one scenario at a time: {} and {what}", first.name)));
        } else {
            request.scenario = Some(scenario_named(&what)?);
        }
    }
    let ours = request.targets.is_empty();
    let target = platform_source::existing(context)?;
    if ours && !target.is_running() {
        return Err(Failure::failed(format!(
            "platform {} is not running and no address was given; start it with: playctl up, or name one: \
             playctl load HOST:PORT",
            context.global.platform
        )));
    }
    if !ours && !leads_to(&target, &request.targets) {
        // A server that is not known to be ours gets the payload and nothing else, unless somebody says so.
        request.identify.get_or_insert(Identify::Never);
    }
    against(context, ours.then_some(target), request, args.svg.as_deref())
}

/// Whether one of the platform's addresses is among them.
fn leads_to(target: &LocalTarget, addresses: &[String]) -> bool {
    let Ok(snapshot) = target.snapshot() else { return false };
    let replicas = snapshot.services.iter().flat_map(|service| &service.replicas);
    let known: Vec<_> = replicas
        .map(|replica| replica.address)
        .chain(snapshot.services.iter().filter_map(|service| service.endpoint))
        .map(|address| address.to_string())
        .collect();
    addresses.iter().any(|address| known.contains(address))
}

/// Runs a built-in scenario against a platform of ours; `shape` says what differs from the scenario.
pub(crate) fn scenario(
    context: &Context,
    target: LocalTarget,
    name: &str,
    shape: Shape,
    svg: Option<&Path>,
) -> Outcome {
    let request = Request { scenario: Some(scenario_named(name)?), ..shape.request() };
    against(context, Some(target), request, svg)
}

fn against(context: &Context, target: Option<LocalTarget>, request: Request, svg: Option<&Path>) -> Outcome {
    let service = request.scenario.as_ref().map_or(request.protocol().name(), |scenario| &scenario.service);
    let endpoint = target.as_ref().map(|target| target.endpoint(service)).transpose()?;
    let plan: Plan =
        request.resolve(endpoint).map_err(|error| Failure::new(error.exit_code(), error.to_string()))?;
    let events = target.as_ref().map(|target| target.events(EventsFrom::Now)).transpose()?;
    let options = Options {
        replica_names: target.map(platform_source::replica_names),
        worker: Some(super::load_worker::command()?),
    };
    let run = Session::new(context, &plan).run(&plan, options, events)?;
    if let Some(path) = svg {
        run.write_svg(path)?;
        context.printer.note(&format!("picture: {}", path.display()));
    }
    run.outcome()
}

fn scenario_named(name: &str) -> Result<Scenario, Failure> {
    load::scenario::find(name).map_err(|error| Failure::new(error.exit_code(), error.to_string()))
}

/// Scenario names have no colon; addresses have one (`HOST:PORT`, `[::1]:PORT`, `udp://HOST:PORT`).
fn is_address(text: &str) -> bool {
    text.contains(':')
}

impl Shape {
    fn request(self) -> Request {
        let expectations = [
            self.expect_lost.map(Expectation::lost),
            self.expect_refused.map(Expectation::refused),
            self.expect_connected.map(Expectation::connected),
            self.expect_p99.map(Expectation::p99),
        ];
        let reconnect = if self.no_reconnect {
            Some(Reconnect::Never)
        } else if self.reconnect_delay.is_some() || self.reconnect_jitter.is_some() {
            Some(Reconnect::After {
                delay: self.reconnect_delay.unwrap_or(Duration::from_secs(1)),
                jitter: self.reconnect_jitter.unwrap_or_default(),
            })
        } else {
            None
        };
        Request {
            protocol: self.protocol,
            connections: self.conns,
            rate: self.rate,
            every: self.every,
            send: self.send,
            window: self.window,
            silent: self.silent,
            payload: self.payload,
            expect: self.expect,
            duration: (self.duration.map(LoadDuration::FromFirstConnect))
                .or(self.hold.map(LoadDuration::FromRampEnd)),
            message_timeout: self.timeout,
            connect_timeout: self.connect_timeout,
            reconnect,
            identify: self.identify,
            workers: self.workers,
            trace_connections: self.trace_connections,
            expectations: expectations.into_iter().flatten().collect(),
            ..Request::default()
        }
    }
}
