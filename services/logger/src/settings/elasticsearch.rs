//! Where Elasticsearch is and how it is used. OpenSearch answers the same requests.

use std::fmt;
use std::time::Duration;

use elasticsearch::http::Url;
use service::settings::{Reader, Seconds, Variable};

pub(crate) const ELASTICSEARCH_URL: Variable = Variable::optional(
    "ELASTICSEARCH_URL",
    "http://HOST:PORT or https://HOST:PORT; several, separated by commas, are used in turn. Must be set.",
);
pub(crate) const ELASTICSEARCH_INDEX: Variable = Variable::new(
    "ELASTICSEARCH_INDEX",
    "general-logs",
    "Beginning of the indices' names; each day has its own, such as general-logs-2026.11.21.",
);
pub(crate) const ELASTICSEARCH_USER: Variable =
    Variable::optional("ELASTICSEARCH_USER", "User name, with ELASTICSEARCH_PASSWORD.");
pub(crate) const ELASTICSEARCH_PASSWORD: Variable =
    Variable::optional("ELASTICSEARCH_PASSWORD", "Password of ELASTICSEARCH_USER.");
pub(crate) const ELASTICSEARCH_API_KEY: Variable =
    Variable::optional("ELASTICSEARCH_API_KEY", "Encoded API key, instead of user name and password.");
pub(crate) const ELASTICSEARCH_CA_FILE: Variable = Variable::optional(
    "ELASTICSEARCH_CA_FILE",
    "Certificates (PEM) that are trusted beside the usual authorities.",
);
pub(crate) const ELASTICSEARCH_TIMEOUT: Variable =
    Variable::new("ELASTICSEARCH_TIMEOUT", "30", "What one request may take; seconds.");

/// How to authenticate.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    Basic { user: String, password: String },
    ApiKey(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic { user, .. } => f.debug_struct("Basic").field("user", user).finish_non_exhaustive(),
            Self::ApiKey(_) => f.debug_struct("ApiKey").finish_non_exhaustive(),
        }
    }
}

/// Where Elasticsearch is and how it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elasticsearch {
    /// Used in turn; at least one.
    pub urls: Vec<Url>,
    /// Beginning of the indices' names.
    pub index_prefix: String,
    pub credentials: Option<Credentials>,
    /// Certificates (PEM) that are trusted beside the usual authorities.
    pub authorities: Option<Vec<u8>>,
    /// What one request may take.
    pub timeout: Duration,
}

impl Elasticsearch {
    /// Reads the settings. If there is no URL that is noted as a problem.
    pub fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            urls: urls(reader),
            index_prefix: index_prefix(reader),
            credentials: credentials(reader),
            authorities: authorities(reader),
            timeout: timeout(reader),
        }
    }
}

fn urls(reader: &mut Reader<'_>) -> Vec<Url> {
    const EXPECTED: &str = "http://HOST:PORT or https://HOST:PORT, separated by commas";
    let text: String = reader.optional(&ELASTICSEARCH_URL).unwrap_or_default();
    let mut urls = Vec::new();
    for part in text.split(',') {
        let Ok(url) = Url::parse(part.trim()) else {
            reader.refuse(&ELASTICSEARCH_URL, &text, EXPECTED);
            break;
        };
        if !url.username().is_empty() || url.password().is_some() {
            // The value itself is not shown: it holds a secret.
            let expected = format!(
                "{EXPECTED}, without a user; that is for {} and {}",
                ELASTICSEARCH_USER.name, ELASTICSEARCH_PASSWORD.name
            );
            reader.refuse(&ELASTICSEARCH_URL, format!("{}://…", url.scheme()), expected);
            break;
        }
        if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
            reader.refuse(&ELASTICSEARCH_URL, &text, EXPECTED);
            break;
        }
        urls.push(url);
    }
    urls
}

/// The rules of Elasticsearch, with room for the day.
fn index_prefix(reader: &mut Reader<'_>) -> String {
    const BYTES_MAX: usize = 200;
    let prefix: String = reader.get(&ELASTICSEARCH_INDEX);
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    let begins = prefix.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit());
    if prefix.len() > BYTES_MAX || !begins || !prefix.bytes().all(allowed) {
        let expected = format!(
            "at most {BYTES_MAX} lower-case letters, digits, `.`, `_` or `-`, a letter or digit first"
        );
        reader.refuse(&ELASTICSEARCH_INDEX, &prefix, expected);
    }
    prefix
}

fn credentials(reader: &mut Reader<'_>) -> Option<Credentials> {
    let user: Option<String> = reader.optional(&ELASTICSEARCH_USER);
    let password: Option<String> = reader.optional(&ELASTICSEARCH_PASSWORD);
    let key: Option<String> = reader.optional(&ELASTICSEARCH_API_KEY);
    match (user, password, key) {
        (Some(_), _, Some(_)) => {
            reader.refuse(&ELASTICSEARCH_API_KEY, "…", "nothing, because ELASTICSEARCH_USER is set");
            None
        }
        (Some(user), Some(password), None) => Some(Credentials::Basic { user, password }),
        (Some(_), None, None) => {
            reader.refuse(&ELASTICSEARCH_PASSWORD, "", "a password, because ELASTICSEARCH_USER is set");
            None
        }
        (None, Some(_), _) => {
            let expected = "a user name, because ELASTICSEARCH_PASSWORD is set";
            reader.refuse(&ELASTICSEARCH_USER, "", expected);
            None
        }
        // It becomes a header.
        (None, None, Some(key)) if !key.bytes().all(|byte| byte.is_ascii_graphic()) => {
            reader.refuse(&ELASTICSEARCH_API_KEY, "…", "a key without blanks and control characters");
            None
        }
        (None, None, Some(key)) => Some(Credentials::ApiKey(key)),
        (None, None, None) => None,
    }
}

fn authorities(reader: &mut Reader<'_>) -> Option<Vec<u8>> {
    let file: String = reader.optional(&ELASTICSEARCH_CA_FILE)?;
    match std::fs::read(&file) {
        Ok(pem) => Some(pem),
        Err(error) => {
            reader.refuse(&ELASTICSEARCH_CA_FILE, file, format!("a file that can be read: {error}"));
            None
        }
    }
}

fn timeout(reader: &mut Reader<'_>) -> Duration {
    let Seconds(timeout) = reader.get(&ELASTICSEARCH_TIMEOUT);
    if timeout < Duration::from_millis(1) {
        reader.refuse(&ELASTICSEARCH_TIMEOUT, format!("{timeout:?}"), "a duration of at least 1ms");
    }
    timeout
}
