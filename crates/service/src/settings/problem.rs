//! What is wrong with settings.

use std::fmt;

/// One variable with a value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub variable: &'static str,
    pub value: String,
    /// What a valid value would be, in words.
    pub expected: String,
}

/// Values are shown up to this length: a whole file put into a variable should not fill the screen.
const SHOWN_CHARS_MAX: usize = 200;

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
