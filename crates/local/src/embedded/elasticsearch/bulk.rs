//! The body of a bulk request: pairs of lines, an action and its document. `create` is the only action, because log
//! lines are never replaced.

use serde::Deserialize;

/// One document to write.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Action<'a> {
    pub(super) index: String,
    pub(super) id: String,
    /// The original document: one line.
    pub(super) source: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    create: Target,
}

#[derive(Deserialize)]
struct Target {
    #[serde(rename = "_index")]
    index: String,
    #[serde(rename = "_id")]
    id: String,
}

/// Maximum number of documents in one bulk. The answer has an item for each.
const DOCUMENTS_MAX: usize = 10_000;

/// Why a body is not a valid bulk.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BulkError {
    #[error("{0}")]
    Malformed(String),
    #[error("a bulk request may have at most {DOCUMENTS_MAX} documents here")]
    TooMany,
}

impl From<String> for BulkError {
    fn from(reason: String) -> Self {
        Self::Malformed(reason)
    }
}

/// Parses a body; an error names the line.
pub(super) fn parse(body: &str) -> Result<Vec<Action<'_>>, BulkError> {
    if !body.ends_with('\n') {
        return Err("The bulk request must be terminated by a newline [\\n]".to_owned().into());
    }
    let mut actions = Vec::new();
    let mut lines = (1..).zip(body.lines());
    while let Some((number, line)) = lines.next() {
        if line.trim().is_empty() {
            continue;
        }
        let expected = r#"expected {"create":{"_index":…,"_id":…}}"#;
        let Line { create } =
            serde_json::from_str(line).map_err(|error| format!("line {number}: {error}; {expected}"))?;
        let (_, source) = lines.next().ok_or_else(|| format!("line {number}: its document is missing"))?;
        if actions.len() == DOCUMENTS_MAX {
            return Err(BulkError::TooMany);
        }
        actions.push(Action { index: create.index, id: create.id, source });
    }
    Ok(actions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_lines_are_actions() {
        let body = concat!(
            r#"{"create":{"_index":"i","_id":"1"}}"#,
            "\n{\"a\":1}\n\n",
            r#"{"create":{"_index":"i","_id":"2","pipeline":"x"}}"#,
            "\r\n{}\n"
        );
        let actions = parse(body).unwrap();
        assert_eq!(actions.len(), 2);
        assert_eq!((actions[0].index.as_str(), actions[0].source), ("i", "{\"a\":1}"));
        assert_eq!((actions[1].id.as_str(), actions[1].source), ("2", "{}"));
    }

    #[test]
    fn mistakes_name_their_line() {
        let mistake = |body: &str| parse(body).unwrap_err().to_string();
        assert!(mistake("{}").contains("terminated by a newline"));
        assert!(
            mistake("{\"delete\":{\"_index\":\"i\",\"_id\":\"1\"}}\n")
                .starts_with("line 1: unknown field `delete`")
        );
        assert!(
            mistake("{\"create\":{\"_index\":\"i\",\"_id\":\"1\"}}\n").contains("its document is missing")
        );
        assert!(mistake("rubbish\n").starts_with("line 1: "));
    }

    #[test]
    fn a_bulk_is_bounded_in_documents() {
        let of = |documents| "{\"create\":{\"_index\":\"i\",\"_id\":\"1\"}}\n{}\n".repeat(documents);
        assert_eq!(parse(&of(DOCUMENTS_MAX)).unwrap().len(), DOCUMENTS_MAX);
        assert_eq!(parse(&of(DOCUMENTS_MAX + 1)), Err(BulkError::TooMany));
    }
}
