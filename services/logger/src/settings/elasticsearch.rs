//! The address of Elasticsearch and how to use it. OpenSearch answers the same requests.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::time::Duration;

use elasticsearch::http::Url;
use service::settings::{Reader, Variable};

use super::given;

pub(crate) const ELASTICSEARCH_ENDPOINT: Variable = Variable::optional(
    "ELASTICSEARCH_ENDPOINT",
    "http://HOST:PORT or https://HOST:PORT; several, separated by commas, are used in turn. Must be set.",
);
pub(crate) const ELASTICSEARCH_URL: Variable =
    Variable::optional("ELASTICSEARCH_URL", "Another name for ELASTICSEARCH_ENDPOINT.");
pub(crate) const ELASTICSEARCH_LOGGING_INDEX: Variable = Variable::new(
    "ELASTICSEARCH_LOGGING_INDEX",
    "general-logs",
    "Prefix of the indices' names; each day has its own, such as general-logs-2026.11.21. All have the alias k8s-logs.",
);
pub(crate) const ELASTICSEARCH_INDEX: Variable =
    Variable::new("ELASTICSEARCH_INDEX", "general-logs", "Another name for ELASTICSEARCH_LOGGING_INDEX.");
pub(crate) const ELASTICSEARCH_USERNAME: Variable =
    Variable::optional("ELASTICSEARCH_USERNAME", "User name, with ELASTICSEARCH_PASSWORD.");
pub(crate) const ELASTICSEARCH_USER: Variable =
    Variable::optional("ELASTICSEARCH_USER", "Another name for ELASTICSEARCH_USERNAME.");
pub(crate) const ELASTICSEARCH_PASSWORD: Variable =
    Variable::optional("ELASTICSEARCH_PASSWORD", "Password of ELASTICSEARCH_USERNAME.");
pub(crate) const ELASTICSEARCH_API_KEY: Variable =
    Variable::optional("ELASTICSEARCH_API_KEY", "Encoded API key, instead of user name and password.");
pub(crate) const ELASTICSEARCH_CA_FILE: Variable = Variable::optional(
    "ELASTICSEARCH_CA_FILE",
    "Certificates (PEM) to trust in addition to the usual authorities.",
);
pub(crate) const ELASTICSEARCH_INSECURE: Variable = Variable::new(
    "ELASTICSEARCH_INSECURE",
    "false",
    "true: any certificate is accepted, so anybody on the path can read and change everything.",
);
pub(crate) const ELASTICSEARCH_TIMEOUT: Variable =
    Variable::new("ELASTICSEARCH_TIMEOUT", "30", "How long one request may take; seconds.");

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

/// Which certificates to accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Certificates of the usual authorities.
    Usual,
    /// Certificates of these authorities (PEM), too.
    Also(Vec<u8>),
    /// Any certificate.
    Everything,
}

/// The address of Elasticsearch and how to use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elasticsearch {
    /// Used in turn; at least one.
    pub urls: Vec<Url>,
    /// Prefix of the indices' names.
    pub index_prefix: String,
    pub credentials: Option<Credentials>,
    pub trust: Trust,
    /// How long one request may take.
    pub timeout: Duration,
}

impl Elasticsearch {
    /// Reads the settings. A missing URL is noted as a problem.
    pub fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            urls: urls(reader),
            index_prefix: index_prefix(reader),
            credentials: credentials(reader),
            trust: trust(reader),
            timeout: timeout(reader),
        }
    }
}

fn urls(reader: &mut Reader<'_>) -> Vec<Url> {
    const EXPECTED: &str = "http://HOST:PORT or https://HOST:PORT, separated by commas";
    let variable = given(reader, &ELASTICSEARCH_ENDPOINT, &ELASTICSEARCH_URL);
    let text: String = reader.optional(variable).unwrap_or_default();
    let mut urls = Vec::new();
    for part in text.split(',') {
        let Ok(url) = Url::parse(part.trim()) else {
            reader.refuse(variable, &text, EXPECTED);
            break;
        };
        if !url.username().is_empty() || url.password().is_some() {
            // The value itself is not shown: it contains a secret.
            let expected = format!(
                "{EXPECTED}, without a user; that is for {} and {}",
                ELASTICSEARCH_USERNAME.name, ELASTICSEARCH_PASSWORD.name
            );
            reader.refuse(variable, format!("{}://…", url.scheme()), expected);
            break;
        }
        if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
            reader.refuse(variable, &text, EXPECTED);
            break;
        }
        urls.push(url);
    }
    urls
}

/// Follows the rules of Elasticsearch, with room for the day.
fn index_prefix(reader: &mut Reader<'_>) -> String {
    const BYTES_MAX: usize = 200;
    let variable = given(reader, &ELASTICSEARCH_LOGGING_INDEX, &ELASTICSEARCH_INDEX);
    let prefix: String = reader.get(variable);
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    let begins = prefix.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit());
    if prefix.len() > BYTES_MAX || !begins || !prefix.bytes().all(allowed) {
        let expected = format!(
            "at most {BYTES_MAX} lower-case letters, digits, `.`, `_` or `-`, a letter or digit first"
        );
        reader.refuse(variable, &prefix, expected);
    }
    prefix
}

fn credentials(reader: &mut Reader<'_>) -> Option<Credentials> {
    let variable = given(reader, &ELASTICSEARCH_USERNAME, &ELASTICSEARCH_USER);
    let user: Option<String> = reader.optional(variable);
    let password: Option<String> = reader.optional(&ELASTICSEARCH_PASSWORD);
    let key: Option<String> = reader.optional(&ELASTICSEARCH_API_KEY);
    match (user, password, key) {
        (Some(_), _, Some(_)) => {
            reader.refuse(&ELASTICSEARCH_API_KEY, "…", format!("nothing, because {} is set", variable.name));
            None
        }
        (Some(user), Some(password), None) => Some(Credentials::Basic { user, password }),
        (Some(_), None, None) => {
            reader.refuse(
                &ELASTICSEARCH_PASSWORD,
                "",
                format!("a password, because {} is set", variable.name),
            );
            None
        }
        (None, Some(_), _) => {
            let expected = "a user name, because ELASTICSEARCH_PASSWORD is set";
            reader.refuse(variable, "", expected);
            None
        }
        // It is sent as a header.
        (None, None, Some(key)) if !key.bytes().all(|byte| byte.is_ascii_graphic()) => {
            reader.refuse(&ELASTICSEARCH_API_KEY, "…", "a key without blanks and control characters");
            None
        }
        (None, None, Some(key)) => Some(Credentials::ApiKey(key)),
        (None, None, None) => None,
    }
}

fn trust(reader: &mut Reader<'_>) -> Trust {
    let file: Option<String> = reader.optional(&ELASTICSEARCH_CA_FILE);
    match (file, reader.get(&ELASTICSEARCH_INSECURE)) {
        (None, false) => Trust::Usual,
        (None, true) => Trust::Everything,
        (Some(_), true) => {
            let expected = "false, because ELASTICSEARCH_CA_FILE is set";
            reader.refuse(&ELASTICSEARCH_INSECURE, "true", expected);
            Trust::Usual
        }
        (Some(file), false) => match certificates(&file) {
            Ok(pem) => Trust::Also(pem),
            Err(error) => {
                reader.refuse(&ELASTICSEARCH_CA_FILE, file, format!("a file that can be read: {error}"));
                Trust::Usual
            }
        },
    }
}

/// The file, which must be a regular one: a pipe would keep the service from starting.
fn certificates(file: &str) -> io::Result<Vec<u8>> {
    const BYTES_MAX: u64 = 4 << 20;
    if !fs::metadata(file)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut pem = Vec::new();
    File::open(file)?.take(BYTES_MAX).read_to_end(&mut pem)?;
    Ok(pem)
}

fn timeout(reader: &mut Reader<'_>) -> Duration {
    let timeout = reader.duration(&ELASTICSEARCH_TIMEOUT);
    if timeout < Duration::from_millis(1) {
        reader.refuse_given(&ELASTICSEARCH_TIMEOUT, "a duration of at least 1ms");
    }
    timeout
}
