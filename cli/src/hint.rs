//! Commands in messages, completed so that they can be copied unchanged.
//!
//! Engines name the command (`start it with: playctl up`) but do not know which options selected the platform for this
//! invocation. Those are added here, for all of them.

/// The commands that act on a platform.
const COMMANDS: [&str; 18] = [
    "argocd",
    "dashboard",
    "demo",
    "down",
    "drain",
    "explain",
    "image",
    "kill",
    "load",
    "logs",
    "node",
    "scale",
    "start",
    "status",
    "stop",
    "up",
    "watch",
    "diagnose",
];

const PROGRAM: &str = "playctl ";

/// Puts `selection` ([`crate::options::Global::selection`]) before every command in `text` that does not select a
/// platform.
pub(crate) fn complete(text: &str, selection: &str) -> String {
    if selection.is_empty() {
        return text.to_owned();
    }
    let mut completed = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(PROGRAM) {
        let (before, after) = rest.split_at(at + PROGRAM.len());
        let is_word =
            !rest[..at].ends_with(|character: char| character.is_alphanumeric() || character == '/');
        let command =
            after.split(|character: char| !character.is_ascii_lowercase()).next().unwrap_or_default();
        completed.push_str(before);
        if is_word && COMMANDS.contains(&command) {
            completed.push_str(selection);
        }
        rest = after;
    }
    completed.push_str(rest);
    completed
}

/// Splits a message from its hint: the last clause, if that names one of our commands.
pub(crate) fn split(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once("; ") {
        Some((message, hint)) if hint.contains(PROGRAM) => (message, Some(hint)),
        _ => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_commands_in_a_hint_get_the_platform() {
        for (text, completed) in [
            ("start it with: playctl up", "start it with: playctl --platform blue up"),
            (
                "next: playctl status · playctl down",
                "next: playctl --platform blue status · playctl --platform blue down",
            ),
            ("end it: playctl --platform blue down", "end it: playctl --platform blue down"),
            ("another: playctl --platform NAME up", "another: playctl --platform NAME up"),
            ("playctl is up", "playctl is up"),
            ("cannot start /usr/bin/playctl up", "cannot start /usr/bin/playctl up"),
            ("playctl upgrade", "playctl upgrade"),
            (
                "(stopped; start it with: playctl start tcp)",
                "(stopped; start it with: playctl --platform blue start tcp)",
            ),
        ] {
            assert_eq!(complete(text, "--platform blue "), completed);
            assert_eq!(complete(text, ""), text);
        }
    }

    #[test]
    fn the_hint_is_the_last_clause_with_a_command() {
        let (message, hint) = split("platform x is not running; start it with: playctl up");
        assert_eq!((message, hint), ("platform x is not running", Some("start it with: playctl up")));
        assert_eq!(split("no; such file").1, None);
    }
}
