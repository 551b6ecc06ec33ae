//! Names of objects and namespaces, with the API server's objections.
//!
//! Source: `k8s.io/apimachinery` v0.34, `pkg/util/validation` and `pkg/api/validation`.

/// `DNS1123SubdomainMaxLength`
const MAX_SUBDOMAIN: usize = 253;
/// `DNS1123LabelMaxLength`
const MAX_LABEL: usize = 63;

const SUBDOMAIN_REASON: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' \
    or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_REASON: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and \
    must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

const NAME_REASON: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
    alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE_REASON: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', \
    and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for \
    validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// Everything wrong with an object's name (`IsDNS1123Subdomain`).
pub(crate) fn against_name(name: &str) -> Vec<String> {
    let mut reasons = too_long(name, MAX_SUBDOMAIN);
    if !is_subdomain(name) {
        reasons.push(SUBDOMAIN_REASON.to_owned());
    }
    reasons
}

/// Everything wrong with a `generateName`, to which the API server appends letters and digits; so it may end in a dash.
pub(crate) fn against_prefix(prefix: &str) -> Vec<String> {
    if prefix.ends_with('-') { against_name(&format!("{prefix}a")) } else { against_name(prefix) }
}

/// Everything wrong with a namespace or the name of a container (`IsDNS1123Label`).
pub(crate) fn against_label(namespace: &str) -> Vec<String> {
    let mut reasons = too_long(namespace, MAX_LABEL);
    if !is_label(namespace) {
        let reason = if is_subdomain(namespace) { "must not contain dots" } else { LABEL_REASON };
        reasons.push(reason.to_owned());
    }
    reasons
}

/// Everything wrong with the key of a label or an annotation (`IsQualifiedName`).
pub(crate) fn against_key(key: &str) -> Vec<String> {
    let (prefix, name) = match key.split_once('/') {
        None => (None, key),
        Some((_, name)) if name.contains('/') => {
            return vec![format!(
                "a qualified name {NAME_REASON} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
        Some((prefix, name)) => (Some(prefix), name),
    };
    let mut reasons = match prefix {
        None => Vec::new(),
        Some("") => vec!["prefix part must be non-empty".to_owned()],
        Some(prefix) => {
            against_name(prefix).into_iter().map(|reason| format!("prefix part {reason}")).collect()
        }
    };
    if name.is_empty() {
        reasons.push("name part must be non-empty".to_owned());
    }
    reasons.extend(too_long(name, MAX_LABEL).into_iter().map(|reason| format!("name part {reason}")));
    if !is_mixed_name(name) {
        reasons.push(format!("name part {NAME_REASON}"));
    }
    reasons
}

/// Everything wrong with the value of a label (`IsValidLabelValue`).
pub(crate) fn against_label_value(value: &str) -> Vec<String> {
    let mut reasons = too_long(value, MAX_LABEL);
    if !value.is_empty() && !is_mixed_name(value) {
        reasons.push(VALUE_REASON.to_owned());
    }
    reasons
}

/// Letters of both cases and digits, with `-`, `_` and `.` inside.
fn is_mixed_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let outer = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = name.as_bytes();
    outer(bytes.first()) && outer(bytes.last()) && bytes.iter().copied().all(inner)
}

fn too_long(name: &str, most: usize) -> Vec<String> {
    let reason = || format!("must be no more than {most} characters");
    if name.len() > most { vec![reason()] } else { Vec::new() }
}

fn is_subdomain(name: &str) -> bool {
    name.split('.').all(is_label)
}

/// Of any length.
fn is_label(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty() && !name.starts_with('-') && !name.ends_with('-') && name.bytes().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_subdomains() {
        for good in ["tcp", "a", "0", "tcp-0.a-b", "a.b.c", &"a".repeat(253)] {
            assert_eq!(against_name(good), [""; 0], "{good}");
        }
        for bad in ["", "Tcp", "tcp_0", "-tcp", "tcp-", "a..b", ".a", "a.", "a.-b", "é", "a b", "a/b"] {
            assert_eq!(against_name(bad), [SUBDOMAIN_REASON], "{bad}");
        }
        assert_eq!(against_name(&"a".repeat(254)), ["must be no more than 253 characters"]);
        assert_eq!(against_name(&"-".repeat(254)).len(), 2);
    }

    #[test]
    fn name_prefixes_may_end_with_a_dash() {
        for good in ["tcp-", "tcp", "a.b-", "t-", "tcp--"] {
            assert_eq!(against_prefix(good), [""; 0], "{good}");
        }
        for bad in ["-", "Tcp-", "-tcp", "tcp.", "tcp.-", "_-"] {
            assert_eq!(against_prefix(bad), [SUBDOMAIN_REASON], "{bad}");
        }
    }

    #[test]
    fn labels_have_keys_and_values() {
        for good in ["app", "example.com/App_1", "a.b/c", "A"] {
            assert_eq!(against_key(good), [""; 0], "{good}");
        }
        for bad in ["", "a/b/c", "/a", "a/", "Example.com/a", "-a", "a b", "é"] {
            assert!(!against_key(bad).is_empty(), "{bad}");
        }
        for good in ["", "1.0", "a_b", &"a".repeat(63)] {
            assert_eq!(against_label_value(good), [""; 0], "{good}");
        }
        for bad in ["a b", "a/b", ".a", "-", &"a".repeat(64)] {
            assert_eq!(against_label_value(bad).len(), 1, "{bad}");
        }
    }

    #[test]
    fn namespaces_are_labels() {
        for good in ["playground", "123-abc", &"a".repeat(63)] {
            assert_eq!(against_label(good), [""; 0], "{good}");
        }
        assert_eq!(against_label("a.b"), ["must not contain dots"]);
        assert_eq!(against_label("Play"), [LABEL_REASON]);
        assert_eq!(against_label(&"a".repeat(64)), ["must be no more than 63 characters"]);
    }
}
