//! Names that actions and events can use, as far as they are known without a platform.
//!
//! A cluster also has other people's workloads, so any name that Kubernetes takes may be one, unless it looks like a
//! misspelling. Whether there is such a one is checked against the platform before the run ([`crate::fit`]).

use platform::{
    PartKind,
    services::ServiceKind,
    target::{Pick, Subject},
};

use crate::hint;

pub(crate) const GATEWAY: &str = "gateway";
/// In a cluster, `node/NAME` is a node.
pub(crate) const NODE: &str = "node";
/// Any replica, in an event.
pub(super) const ANY: &str = "any";
const FULLEST: &str = "fullest";
const EMPTIEST: &str = "emptiest";
/// A misspelling lacks this many letters at most.
const LEFT_OUT_MAX: usize = 2;
const OBJECT_NAME_BYTES_MAX: usize = 253;

fn services() -> impl Iterator<Item = &'static str> {
    ServiceKind::ALL.into_iter().map(ServiceKind::name)
}

/// Parts that can be stopped and started. For etcd these are the members, since a given one is not ours.
fn parts() -> impl Iterator<Item = &'static str> {
    let own = PartKind::ALL.into_iter().filter(|kind| *kind != PartKind::Etcd);
    own.map(PartKind::name).chain([GATEWAY])
}

pub(super) fn is_part(name: &str) -> bool {
    parts().any(|known| known == name)
}

/// Whether it is the name of one of our services or parts.
pub(super) fn is_ours(name: &str) -> bool {
    services().chain(parts()).any(|known| known == name)
}

/// Whether Kubernetes takes it as the name of a workload: a DNS subdomain.
fn is_object_name(name: &str) -> bool {
    let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_label = |label: &str| {
        let ends = label.as_bytes().first().into_iter().chain(label.as_bytes().last());
        !label.is_empty()
            && ends.copied().all(is_alphanumeric)
            && label.bytes().all(|byte| is_alphanumeric(byte) || byte == b'-')
    };
    name.len() <= OBJECT_NAME_BYTES_MAX && name.split('.').all(is_label)
}

/// The name of a service or part that some platform may have.
pub(super) fn named(name: &str) -> Result<(), String> {
    let names = || services().chain(parts());
    // Neither a longer name (`redis-cache`, `kafka-1`) nor a much shorter one (`log`) is a misspelling.
    let is_longer = names().any(|known| name.len() > known.len() && name.starts_with(known));
    let meant = yaml::nearest(name, names()).filter(|meant| meant.len() <= name.len() + LEFT_OUT_MAX);
    let is_other = is_object_name(name) && (is_longer || meant.is_none());
    if is_ours(name) || is_other {
        return Ok(());
    }
    let all: Vec<&str> = names().collect();
    Err(format!("`{name}` is not a service or part{} (there are: {})", hint(name, names()), all.join(", ")))
}

/// The name of a service.
pub(crate) fn service(name: &str) -> Result<(), String> {
    named(name)?;
    if is_part(name) {
        return Err(format!("`{name}` is a part of the platform, and this is about a service"));
    }
    Ok(())
}

/// The subject of an action.
pub(super) fn subject(text: &str) -> Result<Subject, String> {
    let subject: Subject = text.parse().map_err(|error| format!("{error}"))?;
    named(&subject.name)?;
    match &subject.replica {
        Pick::Unnamed => Ok(subject),
        Pick::Named(_) if subject.name == GATEWAY => Ok(subject),
        _ if subject.name == GATEWAY => {
            Err(format!("`{subject}`: a gateway is named by its node, as in {GATEWAY}/node-0"))
        }
        _ if is_part(&subject.name) => {
            Err(format!("`{subject}`: {} is a part and has no replicas", subject.name))
        }
        Pick::Named(replica) => replica_of(&subject.name, replica, [FULLEST, EMPTIEST]).map(|()| subject),
        Pick::Fullest | Pick::Emptiest => Ok(subject),
    }
}

/// The replica whose users are meant. A foreign server names itself (`Host-Id`), so any name is valid that is not a
/// misspelling.
pub(super) fn users_of(text: &str) -> Result<Subject, String> {
    let subject: Subject = text.parse().map_err(|error| format!("{error}"))?;
    named(&subject.name)?;
    match &subject.replica {
        Pick::Named(replica) if !hint(replica, [FULLEST, EMPTIEST]).is_empty() => {
            replica_of(&subject.name, replica, [FULLEST, EMPTIEST]).map(|()| subject)
        }
        _ => Ok(subject),
    }
}

/// The replica that an event is about; `None`: any.
pub(super) fn pod(service: &str, replica: &str) -> Result<Option<String>, String> {
    self::service(service)?;
    if replica == ANY {
        return Ok(None);
    }
    replica_of(service, replica, [ANY]).map(|()| Some(replica.to_owned()))
}

/// Replicas are named after their service on every platform, other people's by their own rules. `others`: further valid
/// names.
fn replica_of<const N: usize>(service: &str, replica: &str, others: [&str; N]) -> Result<(), String> {
    let is_misspelt = !hint(replica, others).is_empty() || [FULLEST, EMPTIEST].contains(&replica);
    if !is_ours(service) && is_object_name(replica) && !is_misspelt {
        return Ok(());
    }
    if replica.strip_prefix(service).is_some_and(|rest| rest.len() > 1 && rest.starts_with('-')) {
        return Ok(());
    }
    let digits = replica.trim_start_matches(|letter: char| !letter.is_ascii_digit());
    let like = format!("{service}-{}", if digits.is_empty() { "0" } else { digits });
    let hint = hint(replica, others.into_iter().chain([like.as_str()]));
    Err(format!(
        "`{service}/{replica}` is not a replica{hint} (there are: {service}/{service}-0 and so on, {service}/{})",
        others.join(&format!(", {service}/"))
    ))
}
