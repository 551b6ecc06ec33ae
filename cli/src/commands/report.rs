//! `playctl report RUN.jsonl`

use std::path::{Path, PathBuf};

use platform::{Event, EventKind, event::LoadSummary, exit};
use report::{Recording, Story};

use super::{Context, Failure, Outcome};
use crate::{args::Output, output_files, platform_source, run_file};

/// Show a recorded run: its time line, or a page that can be sent
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl load tcp-10k --output jsonl > run.jsonl    record a run
  playctl report run.jsonl                     its time line and its summary
  playctl report run.jsonl --html run.html     one file that needs no network
  playctl report run.jsonl --compare before.jsonl --html both.html
  playctl report run.jsonl --junit junit.xml --svg run.svg
  playctl watch --from-start --output jsonl > watched.jsonl
                                               a platform's life is a run, too

Lines that are no events are left out, counted and said. The exit status is 0 if
the report could be made, whatever the run came to.")]
pub(crate) struct Args {
    /// The run: what `--output jsonl` of load, demo or watch printed
    #[arg(value_name = "RUN.jsonl")]
    run: PathBuf,
    /// Write it as a page: one file, with everything in it
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// A second run, shown beside the first
    #[arg(long, value_name = "OTHER.jsonl", requires = "html")]
    compare: Option<PathBuf>,
    /// Write a picture of the run
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write the expectations as test cases
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

impl Args {
    fn inputs(&self) -> impl Iterator<Item = &Path> {
        [Some(&self.run), self.compare.as_ref()].into_iter().flatten().map(PathBuf::as_path)
    }

    fn outputs(&self) -> impl Iterator<Item = &Path> {
        [&self.html, &self.svg, &self.junit].into_iter().flatten().map(PathBuf::as_path)
    }
}

/// What is kept of a run while it is read.
struct Run {
    recording: Recording,
    story: Story,
    not_done: Vec<String>,
    summary: Option<Box<LoadSummary>>,
}

/// The most actions that are told as not done.
const NOT_DONE_MAX: usize = 1_000;

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    output_files::check(args.inputs(), args.outputs())?;
    // For people the run is printed, unless they want files of it; for programs it always is.
    let prints = args.outputs().next().is_none() && context.printer.output() == Output::Human;
    let mut timeline = prints.then(|| platform_source::timeline(context));
    let run = read(context, &args.run, |event| {
        if let Some(timeline) = &mut timeline {
            timeline.feed(event).iter().for_each(|line| context.printer.painted(line));
        }
        context.printer.json_line(event);
    })?;
    if let Some(timeline) = timeline {
        context.printer.painted(&timeline.finish());
    }
    if let Some(path) = &args.html {
        let other = args.compare.as_deref().map(|other| read(context, other, |_| {})).transpose()?;
        let page =
            report::html(&run.story, other.as_ref().map(|other| &other.story)).map_err(Failure::failed)?;
        keep(context, path, &page)?;
    }
    if let Some(path) = &args.svg {
        keep(context, path, &report::svg(&run.recording))?;
    }
    if let Some(path) = &args.junit {
        let summary = run.summary(&args.run)?;
        keep(context, path, &report::junit(summary, &run.not_done).map_err(Failure::failed)?)?;
    }
    if context.printer.output() == Output::Json {
        context.printer.document(&report::json(&run.recording, run.summary(&args.run)?));
    }
    Ok(exit::DONE)
}

fn read(context: &Context, path: &Path, mut also: impl FnMut(&Event)) -> Result<Run, Failure> {
    let name = path.file_name().map_or_else(|| path.to_string_lossy(), |name| name.to_string_lossy());
    let (story, recording) = (Story::new(&name), Recording::default());
    let mut run = Run { recording, story, not_done: Vec::new(), summary: None };
    let read = run_file::read(path, |event| {
        run.recording.push(event);
        run.story.push(event);
        if run.not_done.len() < NOT_DONE_MAX {
            run.not_done.extend(report::not_done(&event.kind));
        }
        if let EventKind::LoadFinished { summary } = &event.kind {
            run.summary = Some(summary.clone());
        }
        also(event);
    })?;
    for note in read.notes() {
        run.story.note(&note);
        context.printer.note(&format!("{}: {note}", path.display()));
    }
    Ok(run)
}

impl Run {
    fn summary(&self, path: &Path) -> Result<&LoadSummary, Failure> {
        self.summary.as_deref().ok_or_else(|| {
            Failure::failed(format!(
                "{} has no result: it ends before the load did, or had none. Its time line and --html show what there is",
                path.display()
            ))
        })
    }
}

fn keep(context: &Context, path: &Path, text: &str) -> Result<(), Failure> {
    output_files::write(path, text)?;
    context.printer.note(&format!("wrote {} ({} KiB)", path.display(), text.len().div_ceil(1024)));
    Ok(())
}
