//! A recorded run: the controller's inputs and effects, one JSON object per line.
//!
//! The first line identifies the recording; every other line is a step:
//! `{"now": nanoseconds, "input": …, "effects": ["debug text", …]}`. Formats lines and reads them; writes no files.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Capacity, Controller, Effect, Input, Time};

/// The first line: the arguments of [`Controller::new`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    pub platform: String,
    /// Where it ran, in words.
    pub target: String,
    pub began: Timestamp,
    pub capacity: Capacity,
}

/// One step, as read from a recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    pub now: Time,
    pub input: Input,
    /// Each as formatted by `{:?}`.
    pub effects: Vec<String>,
}

/// A step to record. Begins before [`Controller::step`], which consumes the input.
#[derive(Debug)]
pub struct Recording {
    line: String,
}

impl Header {
    /// The controller at the start of the recording.
    pub fn controller(&self) -> Controller {
        Controller::new(&self.platform, &self.target, self.began, self.capacity)
    }

    /// Without a line end.
    pub fn line(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }
}

impl Recording {
    pub fn begin(now: Time, input: &Input) -> serde_json::Result<Self> {
        let (now, input) = (serde_json::to_string(&now)?, serde_json::to_string(input)?);
        Ok(Self { line: format!("{{\"now\":{now},\"input\":{input},\"effects\":") })
    }

    /// The line, without a line end.
    pub fn end(mut self, effects: &[Effect]) -> serde_json::Result<String> {
        self.line.push_str(&serde_json::to_string(&texts(effects))?);
        self.line.push('}');
        Ok(self.line)
    }
}

impl Recorded {
    /// Repeats the step; an error if its effects differ.
    pub fn replay(self, controller: &mut Controller) -> Result<(), Difference> {
        let effects = texts(&controller.step(self.now, self.input));
        let same = effects.iter().zip(&self.effects).take_while(|(now, before)| now == before).count();
        let (now, before) = (effects.get(same).cloned(), self.effects.get(same).cloned());
        if now == before { Ok(()) } else { Err(Difference { number: same + 1, before, now }) }
    }
}

/// A step's first effect that differs from the recording; `None`: there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Counted from 1.
    pub number: usize,
    pub before: Option<String>,
    pub now: Option<String>,
}

fn texts(effects: &[Effect]) -> Vec<String> {
    effects.iter().map(|effect| format!("{effect:?}")).collect()
}
