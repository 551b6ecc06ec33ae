//! What actions and events can name, as far as that is known without a platform.

use platform::{
    PartKind,
    services::ServiceKind,
    target::{Pick, Subject},
};

use crate::hint;

const GATEWAY: &str = "gateway";
/// Any replica, of an event.
pub(super) const ANY: &str = "any";
const FULLEST: &str = "fullest";
const EMPTIEST: &str = "emptiest";

fn services() -> impl Iterator<Item = &'static str> {
    ServiceKind::ALL.into_iter().map(ServiceKind::name)
}

/// What can be stopped and started. Of etcd that is each member, since a given one is somebody else's.
fn parts() -> impl Iterator<Item = &'static str> {
    let own = PartKind::ALL.into_iter().filter(|kind| *kind != PartKind::Etcd);
    own.map(PartKind::name).chain([GATEWAY])
}

pub(super) fn is_part(name: &str) -> bool {
    parts().any(|known| known == name)
}

/// A name that some platform has: of a service, or of a part.
pub(super) fn named(name: &str) -> Result<(), String> {
    let names = || services().chain(parts());
    if names().any(|known| known == name) {
        return Ok(());
    }
    let all: Vec<&str> = names().collect();
    Err(format!("`{name}` is not a service or part{} (there are: {})", hint(name, names()), all.join(", ")))
}

/// A name that a service has.
pub(crate) fn service(name: &str) -> Result<(), String> {
    named(name)?;
    if services().any(|known| known == name) {
        return Ok(());
    }
    Err(format!("`{name}` is a part of the platform, and this is about a service"))
}

/// What something is done to.
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

/// Whose users. A server that is not ours says itself what it is called (`Host-Id`), so a name may be any that is no
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

/// The replica that an event is about: absent, if it is about any.
pub(super) fn pod(service: &str, replica: &str) -> Result<Option<String>, String> {
    self::service(service)?;
    if replica == ANY {
        return Ok(None);
    }
    replica_of(service, replica, [ANY]).map(|()| Some(replica.to_owned()))
}

/// Replicas are named after their service on every platform. `others`: what stands for one, too.
fn replica_of<const N: usize>(service: &str, replica: &str, others: [&str; N]) -> Result<(), String> {
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
