//! A run as `JUnit` XML: one test case per expectation, which is how CI servers show single results.

use std::io;

use platform::{EventKind, event::LoadSummary};
use quick_xml::{
    Writer,
    events::{BytesDecl, BytesText, Event},
};

use crate::escape::visible;

/// `not_done`: actions of the scenario that failed or never happened; each is a test case that failed.
///
/// # Errors
/// Only those of an allocation.
pub fn junit(summary: &LoadSummary, not_done: &[String]) -> io::Result<String> {
    let name = legal(&summary.plan.name);
    let seconds = format!("{:.3}", summary.took_ms as f64 / 1000.0);
    let tests = (summary.expectations.len() + not_done.len()).to_string();
    let failures = summary.expectations.iter().filter(|result| !result.met).count() + not_done.len();
    let failures = failures.to_string();
    let counts = [("tests", tests.as_str()), ("failures", &failures), ("errors", "0"), ("time", &seconds)];
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let suites =
        writer.create_element("testsuites").with_attribute(("name", "playctl")).with_attributes(counts);
    suites.write_inner_content(|writer| {
        let suite = writer.create_element("testsuite").with_attribute(("name", name.as_str()));
        let suite = suite.with_attributes(counts).with_attribute(("skipped", "0"));
        suite.write_inner_content(|writer| {
            for result in &summary.expectations {
                case(writer, &name, &result.expectation, &result.seen, result.met)?;
            }
            for action in not_done {
                case(writer, &name, "action", action, false)?;
            }
            Ok(())
        })?;
        Ok(())
    })?;
    let mut xml = String::from_utf8(writer.into_inner()).map_err(io::Error::other)?;
    xml.push('\n');
    Ok(xml)
}

/// Why an action counts as not done; `None` if it was, or if the event is none of an action.
pub fn not_done(kind: &EventKind) -> Option<String> {
    match kind {
        EventKind::ActionTaken { action, because, outcome, failed: true } => {
            let gap = if because.is_empty() { "" } else { ": " };
            Some(format!("`{because}{gap}{action}` was not done: {outcome}"))
        }
        _ => None,
    }
}

fn case(writer: &mut Writer<Vec<u8>>, class: &str, name: &str, seen: &str, met: bool) -> io::Result<()> {
    let (name, seen) = (legal(name), legal(&format!("seen: {seen}")));
    let case = writer.create_element("testcase").with_attribute(("classname", class));
    case.with_attribute(("name", name.as_str())).write_inner_content(|writer| {
        if met {
            writer.create_element("system-out").write_text_content(BytesText::new(&seen))?;
        } else {
            writer.create_element("failure").with_attribute(("message", seen.as_str())).write_empty()?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Without the characters that XML does not allow, even escaped.
fn legal(text: &str) -> String {
    visible(text).replace('\t', " ").replace(['\u{fffe}', '\u{ffff}'], "?")
}

#[cfg(test)]
mod tests {
    use quick_xml::{Reader, events::BytesStart};

    use super::*;

    fn attribute(element: &BytesStart<'_>, name: &str) -> String {
        let attribute = element.try_get_attribute(name).unwrap().unwrap();
        attribute.normalized_value(quick_xml::XmlVersion::Explicit1_0).unwrap().into_owned()
    }

    #[test]
    fn what_is_written_reads_back_whatever_the_texts_are() {
        for text in
            ["a \"<b>\" & 'c'", "\u{1b}[2J\n1 → 2", "]]>\t\u{fffe}\u{ffff}\u{0}", "<!-- x --><?y?>", ""]
        {
            for met in [true, false] {
                let mut writer = Writer::new(Vec::new());
                case(&mut writer, &legal(text), text, text, met).unwrap();
                let xml = String::from_utf8(writer.into_inner()).unwrap();
                let is_legal = |char: char| !char.is_control() && !matches!(char, '\u{fffe}' | '\u{ffff}');
                assert!(xml.chars().all(is_legal), "{xml:?}");
                let mut reader = Reader::from_str(&xml);
                let (mut elements, mut seen) = (Vec::new(), String::new());
                loop {
                    match reader.read_event().unwrap() {
                        Event::Eof => break,
                        Event::Start(element) | Event::Empty(element) => {
                            elements.push(element.name().into_inner().to_owned());
                            match elements.len() {
                                1 => assert_eq!(
                                    (attribute(&element, "classname"), attribute(&element, "name")),
                                    (legal(text), legal(text))
                                ),
                                _ if !met => seen = attribute(&element, "message"),
                                _ => {}
                            }
                        }
                        Event::Text(text) => seen.push_str(&text),
                        Event::GeneralRef(entity) => {
                            seen.push_str(&quick_xml::escape::unescape(&format!("&{};", &*entity)).unwrap());
                        }
                        _ => {}
                    }
                }
                assert_eq!(elements, ["testcase", if met { "system-out" } else { "failure" }]);
                assert_eq!(seen, format!("seen: {}", legal(text)));
            }
        }
    }
}
