//! Names of images.

use std::{fmt, str::FromStr};

/// A name and a tag, such as `playctl:0.1.0` or `registry.example:5000/lab/playctl:0.1.0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    name: String,
    tag: String,
}

/// What is wrong with a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no image reference: {why}; expected NAME[:TAG], as in playctl:0.1.0 or registry.example:5000/lab/playctl:0.1.0"
)]
pub struct BadReference {
    text: String,
    why: &'static str,
}

impl Reference {
    /// The tag, without the colon.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// With the default registry and folder that `docker` adds: the name that containerd stores.
    pub fn full(&self) -> String {
        let Self { name, tag } = self;
        match name.split_once('/') {
            Some((host, _)) if is_host(host) => format!("{name}:{tag}"),
            Some(_) => format!("docker.io/{name}:{tag}"),
            None => format!("docker.io/library/{name}:{tag}"),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.tag)
    }
}

impl FromStr for Reference {
    type Err = BadReference;

    fn from_str(text: &str) -> Result<Self, BadReference> {
        let bad = |why| BadReference { text: text.to_owned(), why };
        if text.contains('@') {
            return Err(bad("a digest is what the image has, and cannot be given to it"));
        }
        // A colon before the last slash belongs to a port.
        let (name, tag) = match text.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (text, "latest"),
        };
        let is_tag = tag.len() <= 128
            && !tag.starts_with(['.', '-'])
            && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
            && !tag.is_empty();
        if !is_tag {
            return Err(bad("a tag has 1 to 128 letters, digits, or _ . - (not first)"));
        }
        let path = match name.split_once('/') {
            Some((host, path)) if is_host(host) => {
                if !is_host_and_port(host) {
                    return Err(bad("the registry is no HOST[:PORT]"));
                }
                path
            }
            _ => name,
        };
        if name.len() > 255 {
            return Err(bad("a name has at most 255 characters"));
        }
        if !path.split('/').all(is_component) {
            return Err(bad(
                "a name has lower-case letters and digits, separated by single . or _ or by - or __",
            ));
        }
        Ok(Self { name: name.to_owned(), tag: tag.to_owned() })
    }
}

/// The first part of a name is a registry if it looks like a host.
fn is_host(part: &str) -> bool {
    part.contains(['.', ':']) || part == "localhost"
}

fn is_host_and_port(host: &str) -> bool {
    let (host, port) = host.split_once(':').unwrap_or((host, "443"));
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    host.split('.').all(is_label) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Runs of letters and digits with separators between them: `.`, `_`, `__` or any number of `-`.
fn is_component(part: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_separator = |separator: &str| {
        matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
    };
    let ends = |byte: Option<u8>| byte.is_some_and(is_word);
    ends(part.bytes().next())
        && ends(part.bytes().last())
        && part.split(|character: char| u8::try_from(character).is_ok_and(is_word)).all(is_separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_names_follow_docker() {
        for (text, shown, full) in [
            ("playctl", "playctl:latest", "docker.io/library/playctl:latest"),
            ("playctl:0.1.0", "playctl:0.1.0", "docker.io/library/playctl:0.1.0"),
            ("lab/playctl:a", "lab/playctl:a", "docker.io/lab/playctl:a"),
            ("localhost/playctl:a", "localhost/playctl:a", "localhost/playctl:a"),
            ("registry:5000/playctl", "registry:5000/playctl:latest", "registry:5000/playctl:latest"),
            ("r.example/a/b__c-d.e:V_1", "r.example/a/b__c-d.e:V_1", "r.example/a/b__c-d.e:V_1"),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!((reference.to_string().as_str(), reference.full().as_str()), (shown, full));
        }
    }

    #[test]
    fn references_that_no_engine_accepts_are_refused() {
        for text in [
            "",
            ":",
            "a:",
            ":tag",
            "/a",
            "a//b",
            "a/",
            "A",
            "a b",
            "a:b:c",
            "a:.b",
            "a:-b",
            "a._b",
            "a___b",
            "-a",
            "a-",
            "r.example:x/a",
            "r.example:0/a",
            "-r.example/a",
            "a@sha256:00",
            "a:ü",
            "ä",
        ] {
            let error = text.parse::<Reference>().map(|reference| reference.to_string());
            let error = error.expect_err(text).to_string();
            assert!(error.contains(&format!("{text:?}")) && error.contains("expected NAME[:TAG]"), "{error}");
        }
        assert!(format!("a:{}", "b".repeat(129)).parse::<Reference>().is_err());
        assert!("a".repeat(256).parse::<Reference>().is_err());
    }
}
