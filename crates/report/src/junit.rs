//! A run as `JUnit` XML: one test case per expectation, which is how CI servers show single results.

use std::fmt::Write as _;

use platform::event::LoadSummary;

/// `not_done`: actions of the scenario that failed or never happened; each is a test case that failed.
pub fn junit(summary: &LoadSummary, not_done: &[String]) -> String {
    let name = escape(&summary.plan.name);
    let seconds = summary.took_ms as f64 / 1000.0;
    let tests = summary.expectations.len() + not_done.len();
    let failures = summary.expectations.iter().filter(|result| !result.met).count() + not_done.len();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a String cannot fail.
    let _ = writeln!(
        xml,
        "<testsuites name=\"playctl\" tests=\"{tests}\" failures=\"{failures}\" time=\"{seconds:.3}\">\n  \
         <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" skipped=\"0\" \
         time=\"{seconds:.3}\">"
    );
    for result in &summary.expectations {
        case(&mut xml, &name, &result.expectation, (!result.met).then_some(&result.seen));
    }
    for action in not_done {
        case(&mut xml, &name, "action", Some(action));
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    xml
}

fn case(xml: &mut String, class: &str, name: &str, failure: Option<&String>) {
    let _ = write!(xml, "    <testcase classname=\"{class}\" name=\"{}\"", escape(name));
    let _ = match failure {
        None => writeln!(xml, "/>"),
        Some(seen) => {
            writeln!(xml, ">\n      <failure message=\"seen: {}\"/>\n    </testcase>", escape(seen))
        }
    };
}

/// Text within an attribute. Characters that XML does not allow become question marks.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(' '),
            character if character.is_control() || matches!(character, '\u{fffe}' | '\u{ffff}') => {
                escaped.push('?');
            }
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_attribute() {
        let mut xml = String::new();
        case(&mut xml, "x", "a \"<b>\" & c", Some(&"\u{1b}[2J\n1 → 2".to_owned()));
        let expected = "    <testcase classname=\"x\" name=\"a &quot;&lt;b&gt;&quot; &amp; c\">\n      \
                        <failure message=\"seen: ?[2J 1 → 2\"/>\n    </testcase>\n";
        assert_eq!(xml, expected);
    }
}
