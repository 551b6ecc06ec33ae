//! Runs the programs that load an image: finds the one to use, lets it load the image, and checks the result.

use std::{io, path::Path, process::ExitStatus, time::Duration};

use image::{
    Reference, Saved,
    engine::{Call, Engine},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Command,
    runtime::Runtime,
};

use crate::{context::Context, failure::Failure, results};

/// A program without an answer by then counts as not answering.
const PROBE_TIME: Duration = Duration::from_secs(20);
/// How much of a program's output to keep: enough for messages, and for a list of a thousand images.
const MAX_OUTPUT_BYTES: u64 = 1 << 20;

pub(super) struct Loader<'a> {
    context: &'a Context,
    runtime: Runtime,
}

/// How a program ended.
struct Ended {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

/// Why a program failed.
enum Trouble {
    NotOnPath,
    Silent,
    Interrupted,
    Io(io::Error),
}

impl<'a> Loader<'a> {
    pub(super) fn new(context: &'a Context) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::failed(format!("could not start: {error}")))?;
        Ok(Self { context, runtime })
    }

    fn profile(&self) -> &str {
        self.context.global.minikube_profile()
    }

    /// The requested engine, or the first that answers.
    pub(super) fn choose(&self, wanted: Option<Engine>) -> Result<Engine, Failure> {
        if let Some(engine) = wanted {
            return self.probe(engine)?.map_or(Ok(engine), |why| Err(Failure::failed(why)));
        }
        let mut reasons = Vec::new();
        for engine in Engine::ALL {
            match self.probe(engine)? {
                None => return Ok(engine),
                Some(why) => reasons.push(why),
            }
        }
        Err(Failure::failed(format!("there is nothing to load the image into:\n{}", reasons.join("\n"))))
    }

    /// `None` if the engine answers, otherwise why not and what to do.
    fn probe(&self, engine: Engine) -> Result<Option<String>, Failure> {
        self.context.printer.progress().show("engine", &format!("asking {engine}"));
        let ended = self.run(&engine.probe(self.profile()), Some(PROBE_TIME));
        self.context.printer.progress().clear();
        let (program, start) = (engine.program(), engine.start_remedy(self.profile()));
        Ok(match ended {
            Ok(ended) if ended.status.success() => None,
            Ok(ended) => Some(format!("{program} does not answer: {}; {start}", ended.last_words())),
            Err(Trouble::NotOnPath) => Some(format!("{program} is not on PATH; {}", engine.remedy())),
            Err(Trouble::Silent) => {
                Some(format!("{program} has not answered for {} s; {start}", PROBE_TIME.as_secs()))
            }
            Err(Trouble::Interrupted) => return Err(Failure::interrupted()),
            Err(Trouble::Io(error)) => Some(format!("{program} could not be run: {error}")),
        })
    }

    pub(super) fn load(
        &self,
        engine: Engine,
        file: &Path,
        saved: &Saved,
        built: Option<results::ImageBuilt>,
    ) -> Result<results::ImageLoaded, Failure> {
        let detail = format!("{engine} loads {} (minutes, if it has many nodes)", file.display());
        self.context.printer.progress().show("load", &detail);
        let call = engine.load(file, self.profile());
        self.ok(&call)?;
        let list = engine.list(self.profile());
        let listed = self.ok(&list)?;
        self.context.printer.progress().clear();
        let is_missing = |reference: &&Reference| !engine.finds(&listed, reference, &saved.digests);
        if let Some(missing) = saved.references.iter().find(is_missing) {
            return Err(Failure::failed(format!(
                "{call} succeeded, but {engine} does not have this {missing}; list what it has: {list}"
            )));
        }
        let references = saved.references.iter().map(ToString::to_string).collect();
        Ok(results::ImageLoaded { references, into: engine.to_string(), built })
    }

    /// Runs a program of an engine that answers; returns its output.
    fn ok(&self, call: &Call) -> Result<String, Failure> {
        match self.run(call, None) {
            Ok(ended) if ended.status.success() => Ok(ended.stdout),
            Ok(ended) => {
                Err(Failure::failed(format!("{call} failed ({}): {}", ended.status, ended.last_words())))
            }
            Err(Trouble::Interrupted) => Err(Failure::interrupted()),
            Err(Trouble::NotOnPath) => Err(Failure::failed(format!("{} is not on PATH", call.program))),
            Err(Trouble::Silent) => Err(Failure::failed(format!("{call} does not answer"))),
            Err(Trouble::Io(error)) => Err(Failure::failed(format!("{call} could not be run: {error}"))),
        }
    }

    /// Runs a program to its end, which is early if this invocation is interrupted.
    fn run(&self, call: &Call, limit: Option<Duration>) -> Result<Ended, Trouble> {
        let (interrupted, interruption) = tokio::sync::oneshot::channel();
        self.context.interrupt.on_interrupt(move || {
            // The receiver is gone if the program has ended.
            let _ = interrupted.send(());
        });
        let ended = async {
            let mut child = Command::new(call.program)
                .args(&call.arguments)
                .stdin(std::process::Stdio::null())
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .kill_on_drop(true)
                .spawn()?;
            let (out, err) = (child.stdout.take(), child.stderr.take());
            let (status, stdout, stderr) = tokio::try_join!(child.wait(), kept(out), kept(err))?;
            Ok::<_, io::Error>(Ended { status, stdout, stderr })
        };
        let forever = Duration::from_secs(u64::from(u32::MAX));
        self.runtime.block_on(async {
            tokio::select! {
                ended = tokio::time::timeout(limit.unwrap_or(forever), ended) => match ended {
                    Ok(Ok(ended)) => Ok(ended),
                    Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Err(Trouble::NotOnPath),
                    Ok(Err(error)) => Err(Trouble::Io(error)),
                    Err(_) => Err(Trouble::Silent),
                },
                Ok(()) = interruption => Err(Trouble::Interrupted),
            }
        })
    }
}

impl Ended {
    /// The last line of its output: of stderr, if there is any.
    fn last_words(&self) -> &str {
        let said = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        said.trim().lines().next_back().unwrap_or("it said nothing")
    }
}

/// Reads a pipe: keeps the beginning and discards the rest, so that the writer does not block.
async fn kept(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<String> {
    let Some(mut pipe) = pipe else { return Ok(String::new()) };
    let mut bytes = Vec::new();
    (&mut pipe).take(MAX_OUTPUT_BYTES).read_to_end(&mut bytes).await?;
    tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
