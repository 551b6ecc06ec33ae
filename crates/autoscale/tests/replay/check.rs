//! Replays recorded behaviour of the upstream controller and compares every field. The format is the one of the vectors
//! in `tests/vectors`: one JSON object per line, in three families that are recognised by their content.

mod calls;
mod inputs;
mod quantities;
mod trajectories;

use std::{
    collections::BTreeMap,
    fmt::Debug,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use serde_json::Value;

/// The outcome of one line.
pub(crate) struct Outcome {
    pub(crate) category: String,
    /// The line's `id`, or its file and number if it has none.
    pub(crate) id: String,
    /// Empty: the line agrees.
    pub(crate) differences: Vec<String>,
}

/// Collects the differences within one line.
#[derive(Default)]
pub(crate) struct Differences {
    pub(crate) found: Vec<String>,
    /// Put before each difference, such as the tick.
    pub(crate) place: String,
}

impl Differences {
    pub(crate) fn compare<T: PartialEq + Debug>(&mut self, field: &str, expected: &T, got: &T) {
        if expected != got {
            self.found.push(format!("{}{field}: expected {expected:?}, got {got:?}", self.place));
        }
    }
}

/// Replays all lines of a file, plain or compressed. Every line has an outcome; if the file becomes unreadable, such as
/// a truncated compressed file, the rest counts as one line that disagrees.
pub(crate) fn check_file(path: &Path) -> io::Result<Vec<Outcome>> {
    let mut file = File::open(path)?;
    let mut magic = [0_u8; 2];
    let compressed = file.read(&mut magic)? == 2 && magic == [0x1f, 0x8b];
    let file = File::open(path)?;
    let reader: Box<dyn Read> =
        if compressed { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut outcomes = Vec::new();
    for (index, line) in BufReader::new(reader).split(b'\n').enumerate() {
        let place = format!("{}:{}", path.display(), index + 1);
        let line = match line {
            Ok(line) => line,
            Err(error) => {
                outcomes.push(unreadable(place, &error.to_string()));
                break;
            }
        };
        // Bytes that are not UTF-8 make a line unreadable, not the file.
        match String::from_utf8(line) {
            Ok(line) => outcomes.push(check_line(&line, &place)),
            Err(error) => outcomes.push(unreadable(place, &error.to_string())),
        }
    }
    Ok(outcomes)
}

/// Replays one line.
pub(crate) fn check_line(line: &str, place: &str) -> Outcome {
    let value: Value = match serde_json::from_str(line) {
        Ok(value) => value,
        Err(error) => return unreadable(place.to_owned(), &error.to_string()),
    };
    let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
    let id = text(&value["id"]).unwrap_or_else(|| place.to_owned());
    let (category, result) = if value.get("call").is_some() {
        let category = text(&value["call"]["fn"]).unwrap_or_default();
        (category, serde_json::from_str(line).map(|call| calls::check(&call)))
    } else if value.get("ticks").is_some() {
        let category = text(&value["tags"][0]).unwrap_or_default();
        (category, serde_json::from_str(line).map(|trajectory| trajectories::check(&trajectory)))
    } else if value.get("s").is_some() {
        ("quantities".to_owned(), serde_json::from_str(line).map(|quantity| Ok(quantities::check(&quantity))))
    } else {
        return Outcome { id, ..unreadable(place.to_owned(), "of no known family") };
    };
    let differences = match result {
        Ok(Ok(differences)) => differences,
        Ok(Err(error)) => vec![error],
        Err(error) => vec![format!("unreadable: {error}")],
    };
    Outcome { category, id, differences }
}

fn unreadable(id: String, error: &str) -> Outcome {
    Outcome { category: "unreadable".to_owned(), id, differences: vec![format!("unreadable: {error}")] }
}

/// The number of agreeing lines and of all lines, by category.
pub(crate) fn tally(outcomes: &[Outcome]) -> BTreeMap<&str, (usize, usize)> {
    let mut tally: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for outcome in outcomes {
        let entry = tally.entry(&outcome.category).or_default();
        entry.0 += usize::from(outcome.differences.is_empty());
        entry.1 += 1;
    }
    tally
}
