//! The data for pages: events of the platform and of loads, and the current state.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use dashboard::Stage;
use jiff::Timestamp;
use local::Ear;
use parking_lot::Mutex;
use platform::{
    Event, EventKind, Target, TargetError,
    target::{EventStream, Snapshot},
};
use serde::Serialize;

use super::started::{StartedLoad, Told};
use crate::{failure::Failure, hint, platform_source::spawn};

/// How often to update the current state while a page is open, and to check whether one is.
const LOOK_EVERY: Duration = Duration::from_secs(2);
const IS_WATCHED_EVERY: Duration = Duration::from_millis(200);
/// After this many consecutive unreadable events of loads, the rest will not be readable either.
const NONSENSE_MAX: u32 = 1_000;

/// Keeps the stage's current state up to date. Clones share it.
#[derive(Clone)]
pub(super) struct Present(mpsc::SyncSender<()>);

/// The part for pages.
#[derive(Serialize)]
struct Seen<'a> {
    /// Whether a page with the token may act.
    acts: bool,
    now_ms: i64,
    scenarios: &'a [Known],
    load: Option<Told>,
    platform: Option<Snapshot>,
    /// Why the platform cannot be seen.
    trouble: Option<String>,
    /// The command that prints the page's address with the token.
    printed_by: String,
}

#[derive(Serialize)]
struct Known {
    name: &'static str,
    about: String,
}

impl Present {
    /// Updates whenever a page is open, until the process ends.
    pub(super) fn keep(
        stage: &Stage,
        target: Arc<dyn Target>,
        load: StartedLoad,
        acts: bool,
        selection: String,
    ) -> Result<Self, Failure> {
        let (look, asked) = mpsc::sync_channel(1);
        let stage = stage.clone();
        let scenarios: Vec<Known> = scenario::names().map(|(name, about)| Known { name, about }).collect();
        spawn("present", move || {
            let mut wait = Duration::ZERO;
            loop {
                let was_asked = match asked.recv_timeout(wait) {
                    Ok(()) => true,
                    Err(mpsc::RecvTimeoutError::Timeout) => false,
                    Err(mpsc::RecvTimeoutError::Disconnected) => return,
                };
                if !stage.is_watched() && !was_asked {
                    wait = IS_WATCHED_EVERY;
                    continue;
                }
                wait = LOOK_EVERY;
                let (platform, trouble) = match target.snapshot() {
                    Ok(snapshot) => (Some(complete(snapshot, &selection)), None),
                    Err(error) => (None, Some(hint::complete(&error.to_string(), &selection))),
                };
                let printed_by = printed_by(&selection);
                let now_ms = clock::wall().as_millisecond();
                let load = load.told();
                let seen = Seen { acts, now_ms, scenarios: &scenarios, load, platform, trouble, printed_by };
                // It consists of maps with text keys, and numbers.
                let _ = stage.set_present(&seen);
            }
        })?;
        Ok(Self(look))
    }

    /// Something may have changed.
    pub(super) fn look(&self) {
        // An update that is already requested will include it.
        let _ = self.0.try_send(());
    }
}

/// Feeds all events to the stage, on separate threads. `selection`: the options by which loads select this platform.
pub(super) fn tell(stage: &Stage, selection: &str, events: EventStream) -> Result<(), Failure> {
    let began: Arc<Mutex<Option<Timestamp>>> = Arc::default();
    // Without it, pages work but show no loads.
    match Ear::open(&hearsay_key(selection)) {
        Ok(ear) => {
            let (stage, began) = (stage.clone(), Arc::clone(&began));
            spawn("loads", move || hear(&ear, &stage, &began))?;
        }
        Err(error) => stage.note(&format!("loads are not shown: {error}")),
    }
    let (stage, selection) = (stage.clone(), selection.to_owned());
    spawn("platform", move || {
        for event in events {
            match event {
                Ok(event) => {
                    began.lock().get_or_insert_with(|| event.run_began());
                    stage.push(&event);
                }
                Err(TargetError::Interrupted) => return,
                Err(error) => {
                    let why = hint::complete(&error.to_string(), &selection);
                    stage.note(&format!("the platform's events ended: {why}"));
                    return;
                }
            }
        }
        stage.note("The platform is gone; this is its history.");
    })
}

/// The command that prints the page's address with the token.
pub(super) fn printed_by(selection: &str) -> String {
    hint::complete("playctl dashboard", selection)
}

/// Completes commands in the platform's texts, so that they can be copied unchanged.
fn complete(mut snapshot: Snapshot, selection: &str) -> Snapshot {
    let remarks = snapshot.services.iter_mut().filter_map(|service| service.remark.as_mut());
    for text in remarks.chain(&mut snapshot.problems) {
        *text = hint::complete(text, selection);
    }
    snapshot
}

fn hear(ear: &Ear, stage: &Stage, began: &Mutex<Option<Timestamp>>) {
    let mut nonsense = 0;
    while nonsense < NONSENSE_MAX {
        match ear.next() {
            Ok(event) => {
                nonsense = 0;
                let began = *began.lock().get_or_insert_with(|| event.run_began());
                if is_of_load(&event.kind) {
                    stage.push(&dated(event, began));
                }
            }
            Err(_) => nonsense += 1,
        }
    }
}

/// By the wall clock, because both are dated by it.
fn dated(event: Event, began: Timestamp) -> Event {
    let t_ms = u64::try_from(event.wall.duration_since(began).as_millis()).unwrap_or(0);
    Event { t_ms, ..event }
}

/// Skips a load's events about the platform, which reports them itself.
fn is_of_load(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::LoadStarted { .. }
            | EventKind::PhaseStarted { .. }
            | EventKind::LoadTick(_)
            | EventKind::RampDone { .. }
            | EventKind::LoadClosed { .. }
            | EventKind::LoadFinished { .. }
            | EventKind::ExpectationChecked(_)
            | EventKind::ActionTaken { .. }
    )
}

/// The key by which loads and pages of the same platform find each other, valid as a file name with any options.
pub(crate) fn hearsay_key(selection: &str) -> String {
    use std::hash::{DefaultHasher, Hasher as _};

    let mut hasher = DefaultHasher::new();
    hasher.write(selection.as_bytes());
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use platform::event::{Source, Stamper};

    use super::*;

    #[test]
    fn events_of_a_load_are_dated_from_the_platforms_start() {
        let hour = SignedDuration::from_hours(1);
        let mut platform = Stamper::new(Uuid::nil(), Source::Local, Timestamp::UNIX_EPOCH);
        let mut load = Stamper::new(Uuid::max(), Source::Load, Timestamp::UNIX_EPOCH + hour);
        let warning = || EventKind::Warning { message: String::new() };
        let began = platform.stamp(90_000, warning()).run_began();
        assert_eq!(began, Timestamp::UNIX_EPOCH);
        assert_eq!(dated(load.stamp(7, warning()), began).t_ms, 3_600_007);
        // The clock was set back.
        assert_eq!(dated(load.stamp(0, warning()), began + hour + hour).t_ms, 0);
    }

    use uuid::Uuid;
}
