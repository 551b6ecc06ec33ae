//! `playctl report RUN.jsonl`

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use platform::{
    Event, EventKind,
    event::{ExpectationResult, LoadSummary},
    exit,
};
use report::{NotDone, Recording, Story, Suite};

use crate::{
    context::Context,
    failure::{Failure, Outcome},
    options::Output,
    output_files, platform_source, run_file,
};

/// Show a recorded run, as a time line or as a self-contained page
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  playctl load tcp-10k --output jsonl > run.jsonl    record a run
  playctl report run.jsonl                     its time line and its summary
  playctl report run.jsonl --html run.html     one file that needs no network
  playctl report run.jsonl --compare before.jsonl --html both.html
  playctl report run.jsonl --junit junit.xml --svg run.svg
  playctl load tcp-10k --output jsonl | playctl report - --html - > run.html
                                               `-` is standard input or output
  playctl watch --from-start --output jsonl > watched.jsonl
                                               a platform's history is a run, too

Lines that are not events are skipped, and their number is reported. If a run
was cut off, its known test cases are written, and one more with an error. The
exit status is 0 if the report could be made, whatever the run's result.")]
pub(crate) struct Args {
    /// The run: output of load, demo or watch with `--output jsonl`; `-` reads standard input
    #[arg(value_name = "RUN.jsonl")]
    run: PathBuf,
    /// Write a self-contained HTML page; `-` is standard output, here and below
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// A second run to show beside the first
    #[arg(long, value_name = "OTHER.jsonl", requires = "html")]
    compare: Option<PathBuf>,
    /// Write an SVG picture of the run
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write the expectations as XML test cases for CI
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

/// The parts of a run to keep while reading it.
struct Run {
    recording: Recording,
    story: Story,
    began: Option<Timestamp>,
    /// The scenario, once its load has begun.
    load: Option<String>,
    checked: Vec<ExpectationResult>,
    not_done: Vec<NotDone>,
    summary: Option<Box<LoadSummary>>,
    end_ms: u64,
    /// How the command that recorded the run failed.
    failure: Option<String>,
}

/// Maximum number of actions reported as not done, and of expectations of a run without a summary.
const NOT_DONE_MAX: usize = 1_000;

const CUT_OFF: &str = "the recording ends before the load did: the remaining expectations are unknown";

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    context.global.refuse_platform("RUN.jsonl")?;
    let is_file = |path: &&Path| !is_standard(path);
    output_files::check(args.inputs().filter(is_file), args.outputs().filter(is_file))?;
    let mut prints = context.printer.output() != Output::Human;
    let to_stdout = args.outputs().filter(|path| is_standard(path)).count();
    if to_stdout > 1 || (to_stdout > 0 && prints) {
        let other = if prints { "--output" } else { "another of these options" };
        return Err(Failure::usage(format!("`-` is standard output, to which {other} writes; name a file")));
    }
    if args.inputs().filter(|path| is_standard(path)).count() > 1 {
        return Err(Failure::usage("only one of the two runs can be read from standard input (`-`)"));
    }
    // Text output prints the run unless files were requested; JSON output always prints it.
    prints |= args.outputs().next().is_none();
    let mut timeline =
        (prints && context.printer.output() == Output::Human).then(|| platform_source::timeline(context));
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
        keep(context, path, &run.junit(&args.run)?)?;
    }
    if context.printer.output() == Output::Json {
        context.printer.document(&report::json(&run.recording, run.summary(&args.run)?));
    }
    Ok(exit::DONE)
}

fn read(context: &Context, path: &Path, mut also: impl FnMut(&Event)) -> Result<Run, Failure> {
    let name = match path.file_name() {
        _ if is_standard(path) => "standard input".into(),
        Some(name) => name.to_string_lossy(),
        None => path.to_string_lossy(),
    };
    let mut run = Run {
        recording: Recording::default(),
        story: Story::new(&name),
        began: None,
        load: None,
        checked: Vec::new(),
        not_done: Vec::new(),
        summary: None,
        end_ms: 0,
        failure: None,
    };
    // A pipe may be silent for ever, and there is nothing to clean up.
    let read = context.interrupt.ending_at_once(|| {
        run_file::read(path, |event| {
            run.observe(event);
            also(event);
        })
    })?;
    for note in read.notes() {
        run.story.note(&note);
        // This is not progress, which --quiet omits: the report is incomplete.
        context.printer.error(&format!("playctl: {}: {note}", run_file::name(path)));
    }
    run.failure = read.failure;
    Ok(run)
}

impl Run {
    fn observe(&mut self, event: &Event) {
        self.recording.push(event);
        self.story.push(event);
        self.began.get_or_insert_with(|| event.run_began());
        self.end_ms = self.end_ms.max(event.t_ms);
        if self.not_done.len() < NOT_DONE_MAX {
            self.not_done.extend(NotDone::of(&event.kind));
        }
        match &event.kind {
            EventKind::LoadStarted { plan } => self.load = Some(plan.name.clone()),
            EventKind::ExpectationChecked(result) if self.checked.len() < NOT_DONE_MAX => {
                self.checked.push(result.clone());
            }
            EventKind::LoadFinished { summary } => self.summary = Some(summary.clone()),
            _ => {}
        }
    }

    fn summary(&self, path: &Path) -> Result<&LoadSummary, Failure> {
        self.summary.as_deref().ok_or_else(|| {
            Failure::failed(format!(
                "{} has no result: it ends before the load did, or had none. Its time line and --html show what there is",
                run_file::name(path)
            ))
        })
    }

    /// The known test cases. A cut-off run has one that says so.
    fn junit(&self, path: &Path) -> Result<String, Failure> {
        let Some(name) = self.summary.as_ref().map(|summary| &summary.plan.name).or(self.load.as_ref())
        else {
            return Err(Failure::failed(format!(
                "{} has no load, so it has no expectations to write as test cases",
                run_file::name(path)
            )));
        };
        let (took_ms, expectations, mut troubles) = match &self.summary {
            Some(summary) => (summary.took_ms, &summary.expectations, report::troubles(summary)),
            None => (self.end_ms, &self.checked, vec![CUT_OFF.to_owned()]),
        };
        let (began, not_done) = (self.began, &self.not_done);
        troubles.extend(self.failure.as_deref().and_then(|failure| {
            // Failures with their own test case are reported once.
            let is_known = |part: &&str| not_done.iter().any(|action| action.to_string() == *part);
            let other: Vec<&str> = failure.split("; ").filter(|part| !is_known(part)).collect();
            (!other.is_empty()).then(|| other.join("; "))
        }));
        let suite = Suite { name, began, took_ms, expectations, not_done, troubles: &troubles };
        report::junit(&suite).map_err(Failure::failed)
    }
}

fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
}

fn keep(context: &Context, path: &Path, text: &str) -> Result<(), Failure> {
    if is_standard(path) {
        context.printer.file(text);
        return Ok(());
    }
    output_files::write(path, text)?;
    context.printer.note(&format!("wrote {} ({} KiB)", path.display(), text.len().div_ceil(1024)));
    Ok(())
}
