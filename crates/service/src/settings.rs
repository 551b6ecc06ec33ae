//! Environment variables as typed values.
//!
//! A service declares its variables as data ([`Variable`]: name, default, meaning), so that its documentation
//! and `--help` come from the same lines that are read at start. [`Reader`] reads them from an [`Env`], which is
//! a plain map: the process's environment is read in one place ([`Env::of_process`]), and tests and command
//! line flags put values into the map instead of changing the environment.
//!
//! Reading never stops at the first bad value: [`Reader::finish`] gives all of them at once, each with the
//! variable, the value and what was expected.

pub mod common;
mod host;
mod problem;
pub mod table;
mod value;

use std::collections::BTreeMap;
use std::time::Duration;

pub use host::Host;
pub use problem::{Invalid, Problem};
pub use value::{Setting, Workers};

/// One setting, with its documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// The environment variable.
    pub name: &'static str,
    /// The default value, written like the variable's; `None` if it has none.
    pub default: Option<&'static str>,
    /// Its effect, in one sentence, with its unit.
    pub meaning: &'static str,
}

impl Variable {
    pub const fn new(name: &'static str, default: &'static str, meaning: &'static str) -> Self {
        Self { name, default: Some(default), meaning }
    }

    /// A variable that has no value unless it is set.
    pub const fn optional(name: &'static str, meaning: &'static str) -> Self {
        Self { name, default: None, meaning }
    }
}

/// Variables and their values: a copy of the process's environment, or those of a test or a command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Env(BTreeMap<String, String>);

impl Env {
    /// The environment of this process. Names and values that are not UTF-8 are kept with replacement characters, so
    /// that a setting with them is reported as bad and not overlooked.
    pub fn of_process() -> Self {
        Self(
            std::env::vars_os()
                .map(|(name, value)| {
                    (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
                })
                .collect(),
        )
    }

    /// This environment with `name` set to `value`, as a command line flag overrides a variable.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    /// The value of `name`. An empty variable counts as not set, because that is how charts set variables without a
    /// value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// Reads settings and collects problems.
#[derive(Debug)]
pub struct Reader<'a> {
    env: &'a Env,
    /// The variables that may be read; empty: any.
    table: &'a [&'a Variable],
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub fn new(env: &'a Env) -> Self {
        Self::of_table(env, &[])
    }

    /// Reads only the variables of a table, so that exactly the documented ones are read.
    pub fn of_table(env: &'a Env, table: &'a [&'a Variable]) -> Self {
        Self { env, table, problems: Vec::new() }
    }

    /// The variable's value or its default. A bad value is noted and replaced by the default, so that reading continues
    /// with the next variable; [`Reader::finish`] then fails.
    ///
    /// # Panics
    /// The variable has no default, or an invalid one: both are mistakes in the program, which the first test that
    /// reads the settings shows.
    pub fn get<T: Setting>(&mut self, variable: &Variable) -> T {
        self.value(variable, T::parse)
    }

    /// The same for a duration: numbers with units, or a bare number of seconds if the default is a bare number.
    ///
    /// # Panics
    /// Like [`Reader::get`].
    pub fn duration(&mut self, variable: &Variable) -> Duration {
        self.value(variable, value::duration(variable))
    }

    fn value<T>(&mut self, variable: &Variable, parse: fn(&str) -> Result<T, String>) -> T {
        self.set(variable, parse).unwrap_or_else(|| {
            let default = variable.default.expect("a variable that always has a value declares a default");
            parse(default).expect("a declared default is a value of its type")
        })
    }

    /// The variable's value, or `None` if it is not set or bad (which is noted).
    ///
    /// # Panics
    /// In debug builds, if the reader has a table without the variable.
    pub fn optional<T: Setting>(&mut self, variable: &Variable) -> Option<T> {
        self.set(variable, T::parse)
    }

    fn set<T>(&mut self, variable: &Variable, parse: fn(&str) -> Result<T, String>) -> Option<T> {
        debug_assert!(
            self.table.is_empty() || self.table.contains(&variable),
            "{} is read but not in the table",
            variable.name
        );
        let text = self.env.get(variable.name)?;
        match parse(text.trim()) {
            Ok(value) => Some(value),
            Err(expected) => {
                self.refuse(variable, text, expected);
                None
            }
        }
    }

    /// Whether the variable is set, for defaults that depend on another variable.
    pub fn is_set(&self, variable: &Variable) -> bool {
        self.env.get(variable.name).is_some()
    }

    /// Notes that a variable's value cannot be used, for rules that involve several variables.
    pub fn refuse(&mut self, variable: &Variable, value: impl Into<String>, expected: impl Into<String>) {
        self.problems.push(Problem {
            variable: variable.name,
            value: value.into(),
            expected: expected.into(),
        });
    }

    /// The same for the variable's own value, shown as it was given.
    pub fn refuse_given(&mut self, variable: &Variable, expected: impl Into<String>) {
        let given = self.env.get(variable.name).or(variable.default).unwrap_or_default();
        self.refuse(variable, given, expected);
    }

    /// `value` if nothing was wrong, else all problems.
    pub fn finish<T>(self, value: T) -> Result<T, Invalid> {
        if self.problems.is_empty() { Ok(value) } else { Err(Invalid(self.problems)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: Variable = Variable::new("PORT", "40000", "TCP port.");
    const TIMEOUT: Variable = Variable::new("TIMEOUT", "20", "Seconds.");
    const POD: Variable = Variable::optional("POD_NAME", "Name.");

    #[test]
    fn unset_and_empty_variables_take_their_defaults() {
        let env: Env = [("PORT", "")].into_iter().collect();
        let mut reader = Reader::new(&env);
        assert_eq!(reader.get::<u16>(&PORT), 40_000);
        assert_eq!(reader.duration(&TIMEOUT), Duration::from_secs(20));
        assert_eq!(reader.optional::<String>(&POD), None);
        assert!(reader.finish(()).is_ok());
    }

    #[test]
    fn every_bad_value_is_reported_with_what_was_expected() {
        let env: Env = [("PORT", "ninety"), ("TIMEOUT", "-3"), ("POD_NAME", "tcp-0")].into_iter().collect();
        let mut reader = Reader::new(&env);
        let _: u16 = reader.get(&PORT);
        let _ = reader.duration(&TIMEOUT);
        assert_eq!(reader.optional::<String>(&POD).as_deref(), Some("tcp-0"));
        let invalid = reader.finish(()).unwrap_err();
        assert_eq!(invalid.0.len(), 2);
        let text = invalid.to_string();
        assert!(text.contains("PORT=\"ninety\": expected a whole number from 0 to 65535"), "{text}");
        assert!(text.contains("TIMEOUT=\"-3\": expected a duration"), "{text}");
    }

    #[test]
    fn a_refused_value_is_shown_as_it_was_given() {
        let env: Env = [("TIMEOUT", "1m")].into_iter().collect();
        let mut reader = Reader::new(&env);
        assert_eq!(reader.duration(&TIMEOUT), Duration::from_mins(1));
        reader.refuse_given(&TIMEOUT, "at most 30s");
        // Its default, if it is another variable that does not go with it.
        reader.refuse_given(&PORT, "another port");
        let text = reader.finish(()).unwrap_err().to_string();
        for part in [r#"TIMEOUT="1m": expected at most 30s"#, r#"PORT="40000": expected another port"#] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    #[should_panic(expected = "TIMEOUT is read but not in the table")]
    fn a_variable_that_is_read_must_be_in_the_table() {
        let env = Env::default();
        let mut reader = Reader::of_table(&env, &[&PORT]);
        let _: u16 = reader.get(&PORT);
        let _ = reader.duration(&TIMEOUT);
    }

    #[test]
    fn a_flag_overrides_the_environment() {
        let env: Env = [("PORT", "1")].into_iter().collect();
        let env = env.with("PORT", "2");
        assert_eq!(Reader::new(&env).get::<u16>(&PORT), 2);
    }
}
