//! Problems with settings.

use std::fmt;

/// One variable with an invalid value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub variable: &'static str,
    pub value: String,
    /// A description of valid values.
    pub expected: String,
}

/// Values are shown up to this length: a whole file put into a variable should not fill the screen.
const SHOWN_CHARS_MAX: usize = 200;

impl Problem {
    /// Whether its value must not be logged.
    fn is_of_a_secret(&self) -> bool {
        ["_PASSWORD", "_TOKEN"].iter().any(|end| self.variable.ends_with(end))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_of_a_secret() {
            let characters = self.value.chars().count();
            return write!(
                f,
                "{}=(hidden, {characters} characters): expected {}",
                self.variable, self.expected
            );
        }
        let mut shown: String = self.value.chars().take(SHOWN_CHARS_MAX).collect();
        if shown.len() < self.value.len() {
            shown.push('…');
        }
        write!(f, "{}={shown:?}: expected {}", self.variable, self.expected)
    }
}

/// All variables that have bad values; never empty. Exit code 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid(pub Vec<Problem>);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secrets_value_is_not_shown() {
        let problem = |variable| Problem { variable, value: "hunter2".into(), expected: "more".into() };
        assert_eq!(problem("SHED_TOKEN").to_string(), "SHED_TOKEN=(hidden, 7 characters): expected more");
        assert_eq!(problem("PORT").to_string(), "PORT=\"hunter2\": expected more");
    }
}
