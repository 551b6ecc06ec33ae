//! `playctl dashboard`

mod browser;
mod hands;
mod present;
mod started;

use std::{
    net::TcpListener,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    time::Duration,
};

use dashboard::{Acting, Server, Stage};
use platform::{Event, Target, exit, target::EventsFrom};
use report::Story;
use uuid::Uuid;

pub(crate) use self::present::hearsay_key;
use self::{hands::OwnHands, present::Present, started::StartedLoad};
use crate::{
    context::Context,
    failure::{Failure, Outcome},
    hint,
    options::TargetKind,
    platform_source, results, run_file,
};

/// How often to check whether the page is still in use.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A process started by a platform's supervisor ends when no page has been open for this long. A hidden page reports
/// once a minute that it exists.
const UNSEEN_MAX: Duration = Duration::from_mins(3);

/// Open a live page that shows a platform and controls it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl dashboard                 print and open the page of this machine's
                                    platform, which playctl up serves
  playctl dashboard --no-open       only print the address
  playctl dashboard --target cluster -n chat    serve a page of a cluster's
                                    autoscalers until Ctrl-C
  playctl dashboard --run run.jsonl             serve a recorded run
  playctl dashboard --read-only     serve a page without controls, until Ctrl-C

The address works on this machine only. The part after # is a token that allows
changes: without it, the page is read-only.")]
pub(crate) struct Args {
    /// Show a recorded run instead of a platform
    #[arg(long, value_name = "RUN.jsonl")]
    run: Option<PathBuf>,
    /// Serve a separate page on this port until Ctrl-C; default: any free port
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// Serve a page without controls
    #[arg(long)]
    read_only: bool,
    /// Only print the address; the default without a terminal or a screen
    #[arg(long)]
    no_open: bool,
    /// Serve the platform's page at the listener that is standard input; used by the supervisor
    #[arg(long, hide = true, conflicts_with_all = ["run", "port", "read_only"])]
    inherited: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    if args.inherited {
        return for_platform(context);
    }
    if let Some(path) = &args.run {
        context.global.refuse_platform("--run")?;
        let mut story = Story::new(&run_file::name(path));
        let read = context.interrupt.ending_at_once(|| run_file::read(path, |event| story.push(event)))?;
        for note in read.notes() {
            story.note(&note);
        }
        let server = start(listen(args.port)?, &Stage::new(story), None)?;
        announce(context, args, format!("http://{}/", server.address()), None);
        while_wanted(context, || true);
        return context.ended();
    }
    let target = platform_source::target(context)?;
    let is_own = args.port.is_some() || args.read_only || context.global.target != TargetKind::Local;
    if !is_own && target.is_up()? {
        // With a hanging supervisor, a browser would wait for the page in silence.
        target.snapshot()?;
        let page = local::LocalTarget::new(&context.global.platform)?.page().ok_or_else(|| {
            let again = hint::complete("playctl down, playctl up", &context.global.selection());
            Failure::failed(format!(
                "the platform has no page; it was brought up by another version: {again}"
            ))
        })?;
        announce(context, args, page.link(), Some(&page.opener));
        return Ok(exit::DONE);
    }
    let token = (!args.read_only).then(|| Uuid::new_v4().simple().to_string());
    let show = Show::begin(context, target, listen(args.port)?, token.clone())?;
    let fragment = token.map_or(String::new(), |token| format!("#{token}"));
    announce(context, args, format!("http://{}/{fragment}", show.server.address()), None);
    while_wanted(context, || true);
    local::deafen(&hearsay_key(&context.global.selection()));
    context.ended()
}

/// Tells the pages of a platform what a load does. `selection`: the options that name the platform.
pub(crate) fn teller(selection: &str) -> impl FnMut(&Event) + use<> {
    let mut voice = local::Voice::new(&hearsay_key(selection));
    move |event| voice.tell(event)
}

/// The process behind the page of a platform on this machine.
fn for_platform(context: &Context) -> Outcome {
    local::child::bind_to_parent().map_err(Failure::failed)?;
    let stdin = std::io::stdin().as_fd().try_clone_to_owned();
    let listener = TcpListener::from(stdin.map_err(Failure::failed)?);
    let page = local::LocalTarget::new(&context.global.platform)?.page();
    let target = platform_source::target(context)?;
    let show = Show::begin(context, target, listener, page.map(|page| page.token))?;
    while_wanted(context, || show.stage.unseen_for() < UNSEEN_MAX || show.load.is_running());
    local::deafen(&hearsay_key(&context.global.selection()));
    context.ended()
}

/// A shown platform.
struct Show {
    server: Server,
    stage: Stage,
    load: StartedLoad,
}

impl Show {
    /// `token`: required to act; `None`: nobody may act.
    fn begin(
        context: &Context,
        target: Arc<dyn Target>,
        listener: TcpListener,
        token: Option<String>,
    ) -> Result<Self, Failure> {
        let events = target.events(EventsFrom::Start)?;
        let stage = Stage::new(Story::new("live"));
        let load = StartedLoad::new(context.global.selection_words());
        let selection = context.global.selection();
        let present =
            Present::keep(&stage, Arc::clone(&target), load.clone(), token.is_some(), selection.clone())?;
        let printed_by = present::printed_by(&selection);
        let hands = Arc::new(OwnHands::new(target, selection.clone(), load.clone(), present));
        let server = start(listener, &stage, Some(Acting { hands, token, printed_by }))?;
        present::tell(&stage, &selection, events)?;
        Ok(Self { server, stage, load })
    }
}

fn listen(port: Option<u16>) -> Result<TcpListener, Failure> {
    let port = port.unwrap_or(0);
    // Only for this machine: the address has no password that protects its contents.
    TcpListener::bind(("127.0.0.1", port))
        .map_err(|error| Failure::failed(format!("cannot serve the page on 127.0.0.1:{port}: {error}")))
}

fn start(listener: TcpListener, stage: &Stage, acting: Option<Acting>) -> Result<Server, Failure> {
    Server::start(listener, stage, acting)
        .map_err(|error| Failure::failed(format!("cannot serve the page: {error}")))
}

/// `opener`: a file that redirects to the page.
fn announce(context: &Context, args: &Args, url: String, opener: Option<&Path>) {
    context.printer.line(&url);
    if !args.no_open {
        browser::open(&url, opener);
    }
    context.printer.document(&results::Dashboard { url });
}

/// Waits until Ctrl-C, until the output is closed, or until the page is no longer in use.
fn while_wanted(context: &Context, is_wanted: impl Fn() -> bool) {
    let (stop, stopped) = mpsc::channel();
    context.interrupt.on_interrupt(move || {
        // A send fails only if the receiver is gone.
        let _ = stop.send(());
    });
    while stopped.recv_timeout(LOOK_EVERY) == Err(mpsc::RecvTimeoutError::Timeout)
        && !context.printer.closed()
        && is_wanted()
    {}
}
