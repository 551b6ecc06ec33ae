//! `playctl dashboard`

use std::{path::PathBuf, sync::mpsc};

use dashboard::{Server, Stage};
use platform::target::EventsFrom;
use report::Story;

use super::{Context, Failure, Outcome};
use crate::{platform_source, results, run_file};

/// Show a platform as it lives, in a browser
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl dashboard                 the platform of this machine; the address is
                                    printed, Ctrl-C ends it
  playctl dashboard --port 8490     at an address that stays the same
  playctl dashboard --run run.jsonl             a recorded run
  playctl dashboard --target cluster -n chat    autoscalers of a cluster

The page can be opened on this machine alone, and only shows: it changes
nothing.")]
pub(crate) struct Args {
    /// A recorded run in place of a platform
    #[arg(long, value_name = "RUN.jsonl")]
    run: Option<PathBuf>,
    /// The port of the page; default: any free one
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    port: u16,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let (stop, stopped) = mpsc::channel();
    context.interrupt.on_interrupt(move || {
        // A send fails only when nobody waits any more.
        let _ = stop.send(());
    });
    if let Some(path) = &args.run {
        let mut story = Story::new(&path.to_string_lossy());
        for note in run_file::read(path, |event| story.push(event))?.notes() {
            story.note(&note);
        }
        let _server = serve(context, args.port, &Stage::new(story))?;
        let _ = stopped.recv();
        return context.ended();
    }
    let target = platform_source::target(context)?;
    let events = target.events(EventsFrom::Start)?;
    let stage = Stage::new(Story::new("live"));
    let _server = serve(context, args.port, &stage)?;
    for event in platform_source::while_wanted(context, events) {
        match event {
            Ok(event) => stage.push(&event),
            Err(error) => {
                context.printer.error(&format!("playctl: the platform's events ended: {error}"));
                stage.note(&format!("the platform's events ended: {error}"));
            }
        }
    }
    if !context.interrupt.is_set() && !context.printer.closed() {
        stage.note("The platform is gone; this is what was seen of it.");
        let _ = stopped.recv();
    }
    context.ended()
}

fn serve(context: &Context, port: u16, stage: &Stage) -> Result<Server, Failure> {
    let server = Server::start(port, stage)
        .map_err(|error| Failure::failed(format!("cannot serve the page on 127.0.0.1:{port}: {error}")))?;
    let url = format!("http://{}/", server.address());
    context.printer.line(&url);
    context.printer.document(&results::Dashboard { url });
    Ok(server)
}
