//! A run as `JUnit` XML: one test case per expectation, which is how CI servers show single results.
//!
//! The elements and attributes are those that the parsers of Jenkins and GitLab support: `testsuites`, `testsuite`,
//! `testcase` with `failure` (an expectation that was not met), `error` (the run itself went wrong) or `system-out`.
//! They merge cases with equal names, so each has a unique name.

use std::{collections::HashSet, fmt, io};

use jiff::{Timestamp, tz::TimeZone};
use platform::{
    EventKind,
    event::{ExpectationResult, LoadSummary},
};
use quick_xml::{
    Writer,
    events::{BytesDecl, BytesText, Event},
};

use crate::escape::visible;

/// Data about a run, for its test cases.
#[derive(Debug, Clone, Copy)]
pub struct Suite<'a> {
    /// The scenario's name.
    pub name: &'a str,
    pub began: Option<Timestamp>,
    pub took_ms: u64,
    pub expectations: &'a [ExpectationResult],
    /// Actions that failed or never happened; each is a failed test case.
    pub not_done: &'a [NotDone],
    /// Problems with the run itself, in words; each is a test case with an error.
    pub troubles: &'a [String],
}

/// An action of a scenario that failed or never happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotDone {
    action: String,
    outcome: String,
}

impl NotDone {
    /// `None`: the action succeeded, or the event is not about an action.
    pub fn of(kind: &EventKind) -> Option<Self> {
        match kind {
            EventKind::ActionTaken { action, because, outcome, failed: true } => {
                let gap = if because.is_empty() { "" } else { ": " };
                Some(Self { action: format!("{because}{gap}{action}"), outcome: outcome.clone() })
            }
            _ => None,
        }
    }
}

impl fmt::Display for NotDone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` was not done: {}", self.action, self.outcome)
    }
}

/// Problems with a load itself, in words, for [`Suite::troubles`].
pub fn troubles(summary: &LoadSummary) -> Vec<String> {
    let interrupted = summary.interrupted.then(|| "the run was interrupted".to_owned());
    let ended_early = summary.ended_early.as_ref().map(|why| format!("the load ended early: {why}"));
    interrupted.into_iter().chain(ended_early).collect()
}

/// The result of a test case.
enum Verdict<'a> {
    Met(&'a str),
    NotMet(&'a str),
    Error(&'a str),
}

/// # Errors
/// Only errors of an allocation.
pub fn junit(suite: &Suite<'_>) -> io::Result<String> {
    let Suite { name, began, took_ms, expectations, not_done, troubles } = *suite;
    let name = legal(name);
    let seconds = format!("{:.3}", took_ms as f64 / 1000.0);
    let verdicts = expectations.len() + not_done.len() + troubles.len();
    let tests = verdicts.max(1).to_string();
    let failures = expectations.iter().filter(|result| !result.met).count() + not_done.len();
    let (failures, errors) = (failures.to_string(), troubles.len().to_string());
    let counts =
        [("tests", tests.as_str()), ("failures", &failures), ("errors", &errors), ("time", &seconds)];
    // Without a zone, as the parsers' schema requires: UTC.
    let began = began.map(|began| began.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S").to_string());
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let suites =
        writer.create_element("testsuites").with_attribute(("name", "playctl")).with_attributes(counts);
    suites.write_inner_content(|writer| {
        let suite = writer.create_element("testsuite").with_attribute(("name", name.as_str()));
        let suite = suite.with_attributes(counts).with_attribute(("skipped", "0"));
        let suite = suite.with_attributes(began.iter().map(|began| ("timestamp", began.as_str())));
        suite.write_inner_content(|writer| {
            let mut cases = Cases { writer, suite: &name, names: HashSet::new() };
            for ExpectationResult { expectation, seen, met } in expectations {
                cases.write(expectation, &if *met { Verdict::Met(seen) } else { Verdict::NotMet(seen) })?;
            }
            for NotDone { action, outcome } in not_done {
                cases
                    .write(&format!("action {action}"), &Verdict::NotMet(&format!("not done: {outcome}")))?;
            }
            for trouble in troubles {
                cases.write("the run", &Verdict::Error(trouble))?;
            }
            // CI servers take a file without a test case for a mistake.
            if verdicts == 0 {
                cases.write("the run", &Verdict::Met("no trouble, and nothing else was expected"))?;
            }
            Ok(())
        })?;
        Ok(())
    })?;
    let mut xml = String::from_utf8(writer.into_inner()).map_err(io::Error::other)?;
    xml.push('\n');
    Ok(xml)
}

struct Cases<'a> {
    writer: &'a mut Writer<Vec<u8>>,
    suite: &'a str,
    names: HashSet<String>,
}

impl Cases<'_> {
    fn write(&mut self, name: &str, verdict: &Verdict<'_>) -> io::Result<()> {
        let name = self.own(&legal(name));
        let case = self.writer.create_element("testcase").with_attribute(("classname", self.suite));
        case.with_attribute(("name", name.as_str())).write_inner_content(|writer| {
            let (element, kind, seen) = match verdict {
                Verdict::Met(seen) => {
                    let seen = legal(&format!("seen: {seen}"));
                    writer.create_element("system-out").write_text_content(BytesText::new(&seen))?;
                    return Ok(());
                }
                Verdict::NotMet(seen) => ("failure", "not met", legal(&format!("seen: {seen}"))),
                Verdict::Error(trouble) => ("error", "run", legal(trouble)),
            };
            // Some parsers show the attribute, others the text.
            let result = writer.create_element(element);
            let result = result.with_attributes([("message", seen.as_str()), ("type", kind)]);
            result.write_text_content(BytesText::new(&format!("{name}\n{seen}")))?;
            Ok(())
        })?;
        Ok(())
    }

    /// Makes a name unique.
    fn own(&mut self, name: &str) -> String {
        let numbered = (2_u32..).map(|number| format!("{name} ({number})"));
        let mut names = std::iter::once(name.to_owned()).chain(numbered);
        names.find(|name| self.names.insert(name.clone())).unwrap_or_default()
    }
}

/// Removes characters that XML does not allow, even escaped.
fn legal(text: &str) -> String {
    visible(text).replace('\t', " ").replace(['\u{fffe}', '\u{ffff}'], "?")
}

#[cfg(test)]
mod tests {
    use quick_xml::{Reader, events::BytesStart};

    use super::*;

    /// Rules of Jenkins' schema (junit-10.xsd): an element, its parent, its attributes, and the required ones.
    const SCHEMA: [(&str, &str, &[&str], &[&str]); 6] = [
        ("testsuites", "", &["name", "time", "tests", "failures", "disabled", "errors"], &[]),
        (
            "testsuite",
            "testsuites",
            &[
                "name",
                "tests",
                "failures",
                "errors",
                "group",
                "time",
                "skipped",
                "timestamp",
                "hostname",
                "id",
                "package",
                "file",
                "log",
                "url",
                "version",
            ],
            &["name"],
        ),
        (
            "testcase",
            "testsuite",
            &["name", "classname", "time", "group", "file", "line", "status", "assertions"],
            &["name"],
        ),
        ("failure", "testcase", &["type", "message"], &[]),
        ("error", "testcase", &["type", "message"], &[]),
        ("system-out", "testcase", &[], &[]),
    ];

    #[derive(Debug, PartialEq, Eq)]
    struct Case {
        name: String,
        element: String,
        message: String,
        text: String,
    }

    fn attribute(element: &BytesStart<'_>, name: &str) -> Option<String> {
        let attribute = element.try_get_attribute(name).unwrap()?;
        Some(attribute.normalized_value(quick_xml::XmlVersion::Explicit1_0).unwrap().into_owned())
    }

    /// The cases of a document that follows the schema and has correct counts.
    fn read(xml: &str) -> Vec<Case> {
        let is_legal =
            |char: char| (!char.is_control() || char == '\n') && !matches!(char, '\u{fffe}' | '\u{ffff}');
        assert!(xml.chars().all(is_legal), "{xml:?}");
        let (mut reader, mut open) = (Reader::from_str(xml), Vec::<String>::new());
        let (mut cases, mut counts) = (Vec::<Case>::new(), Vec::new());
        loop {
            match reader.read_event().unwrap() {
                Event::Eof => break,
                Event::Start(element) => {
                    let name = element.name().into_inner().to_owned();
                    let (_, parent, allowed, required) =
                        SCHEMA.iter().find(|(known, ..)| *known == name).expect("a known element");
                    assert_eq!(open.last().map_or("", String::as_str), *parent, "{xml}");
                    for attribute in element.attributes() {
                        let key = attribute.unwrap().key.into_inner().to_owned();
                        assert!(allowed.contains(&key.as_str()), "{name} {key}");
                    }
                    assert!(required.iter().all(|key| attribute(&element, key).is_some()), "{name}");
                    match name.as_str() {
                        "testsuites" | "testsuite" => {
                            let number = |key| attribute(&element, key).unwrap().parse::<usize>().unwrap();
                            counts.push([number("tests"), number("failures"), number("errors")]);
                        }
                        "testcase" => {
                            let name = attribute(&element, "name").unwrap();
                            let (element, message, text) = (String::new(), String::new(), String::new());
                            cases.push(Case { name, element, message, text });
                        }
                        _ => {
                            let case = cases.last_mut().unwrap();
                            assert!(case.element.is_empty(), "one result each");
                            case.element.clone_from(&name);
                            case.message = attribute(&element, "message").unwrap_or_default();
                        }
                    }
                    open.push(name);
                }
                Event::End(_) => drop(open.pop()),
                Event::Text(text) if open.len() == 4 => cases.last_mut().unwrap().text.push_str(&text),
                Event::Text(text) => assert!(text.trim().is_empty(), "{text:?}"),
                Event::GeneralRef(entity) => {
                    let entity = format!("&{};", &*entity);
                    cases.last_mut().unwrap().text.push_str(&quick_xml::escape::unescape(&entity).unwrap());
                }
                _ => {}
            }
        }
        let of = |element: &str| cases.iter().filter(|case| case.element == element).count();
        assert_eq!(counts, [[cases.len(), of("failure"), of("error")]; 2], "{xml}");
        cases
    }

    fn suite<'a>(name: &'a str, expectations: &'a [ExpectationResult]) -> Suite<'a> {
        let began = Some("2026-11-21T06:43:21.7Z".parse().unwrap());
        Suite { name, began, took_ms: 1_500, expectations, not_done: &[], troubles: &[] }
    }

    fn result(text: &str, met: bool) -> ExpectationResult {
        ExpectationResult { expectation: text.to_owned(), seen: text.to_owned(), met }
    }

    #[test]
    fn a_run_without_expectations_is_a_test_case_too() {
        let cases = read(&junit(&suite("load", &[])).unwrap());
        assert_eq!(
            cases.iter().map(|case| (&*case.name, &*case.element)).collect::<Vec<_>>(),
            [("the run", "system-out")]
        );
    }

    #[test]
    fn any_texts_survive_writing_and_reading() {
        for text in
            ["a \"<b>\" & 'c'", "\u{1b}[2J\n1 → 2", "]]>\t\u{fffe}\u{ffff}\u{0}", "<!-- x --><?y?>", ""]
        {
            for met in [true, false] {
                let cases = read(&junit(&suite(text, &[result(text, met)])).unwrap());
                let (name, seen) = (legal(text), format!("seen: {}", legal(text)));
                let [case] = cases.as_slice() else { panic!("{cases:?}") };
                assert_eq!(
                    (&case.name, case.element.as_str()),
                    (&name, if met { "system-out" } else { "failure" })
                );
                assert_eq!(if met { &case.text } else { &case.message }, &seen);
                assert!(case.text.contains(&seen), "{case:?}");
            }
        }
    }

    #[test]
    fn each_case_has_a_name_of_its_own() {
        let action = |because: &str, action: &str| {
            let (because, action, outcome) =
                (because.to_owned(), action.to_owned(), "no such service".to_owned());
            NotDone::of(&EventKind::ActionTaken { action, because, outcome, failed: true }).unwrap()
        };
        let not_done = [action("at 5s", "kill tcp"), action("at 9s", "kill tcp"), action("", "kill tcp")];
        let (troubles, results) =
            (["a".to_owned(), "b".to_owned()], [result("lost = 0", true), result("lost = 0", false)]);
        let suite = Suite { not_done: &not_done, troubles: &troubles, ..suite("twice", &results) };
        let xml = junit(&suite).unwrap();
        assert!(
            xml.contains(r#"timestamp="2026-11-21T06:43:21""#) && xml.contains(r#"time="1.500""#),
            "{xml}"
        );
        let cases = read(&xml);
        let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "lost = 0",
                "lost = 0 (2)",
                "action at 5s: kill tcp",
                "action at 9s: kill tcp",
                "action kill tcp",
                "the run",
                "the run (2)"
            ]
        );
        assert_eq!(cases[2].message, "seen: not done: no such service");
        assert_eq!((cases[5].element.as_str(), cases[5].message.as_str()), ("error", "a"));
    }
}
