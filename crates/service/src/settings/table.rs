//! A service's variables as text: for `--help` and for the documentation.

use std::fmt::Write as _;

use super::Variable;

/// For a terminal: each variable with its default, followed by its effect.
pub fn help(variables: &[&Variable]) -> String {
    let mut text = String::from("Environment variables (an empty variable counts as not set):\n");
    for Variable { name, default, meaning } in variables {
        let default = default.map_or(String::new(), |default| format!("={default}"));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name}{default}\n          {meaning}");
    }
    text.truncate(text.trim_end().len());
    text
}

/// As a Markdown table.
pub fn markdown(variables: &[&Variable]) -> String {
    let mut text = String::from("| variable | default | meaning |\n|---|---|---|\n");
    for Variable { name, default, meaning } in variables {
        let default = default.map_or(String::new(), |default| format!("`{default}`"));
        let meaning = meaning.replace('|', "\\|");
        let _ = writeln!(text, "| `{name}` | {default} | {meaning} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: Variable = Variable::new("PORT", "40000", "TCP port.");
    const POD: Variable = Variable::optional("POD_NAME", "Name; a|b.");

    #[test]
    fn variables_are_listed_with_their_defaults() {
        let text = help(&[&PORT, &POD]);
        assert!(
            text.ends_with("  PORT=40000\n          TCP port.\n  POD_NAME\n          Name; a|b."),
            "{text}"
        );
        let table = markdown(&[&PORT, &POD]);
        assert!(
            table.ends_with("| `PORT` | `40000` | TCP port. |\n| `POD_NAME` |  | Name; a\\|b. |\n"),
            "{table}"
        );
    }
}
