//! The progress that `minikube --output json` reports: one `CloudEvent` per line
//! (<https://minikube.sigs.k8s.io/docs/contrib/json_output/>).

use std::collections::BTreeMap;

use serde::Deserialize;

/// A message of minikube.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// A step of its work.
    Step {
        /// The steps are numbered from 0; not all of them happen.
        number: Option<u32>,
        of: Option<u32>,
        name: String,
        message: String,
    },
    /// A download; `progress` from 0 to 1, once known.
    Download {
        artifact: String,
        progress: Option<String>,
    },
    Warning(String),
    Info(String),
    /// Why it is about to exit.
    Error(Reason),
}

/// Why minikube failed, in its own words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reason {
    /// One of <https://minikube.sigs.k8s.io/docs/contrib/errorcodes/>, such as `PROVIDER_DOCKER_NOT_RUNNING`; may be
    /// empty.
    pub id: String,
    pub message: String,
    /// minikube's advice; may be empty.
    pub advice: String,
    /// A page with more information; may be empty.
    pub url: String,
}

#[derive(Deserialize)]
struct CloudEvent {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    data: BTreeMap<String, String>,
}

const PREFIX: &str = "io.k8s.sigs.minikube.";
/// The prefixes of its error codes.
const CODES: [&str; 14] = [
    "MK_",
    "RSRC_",
    "HOST_",
    "PROVIDER_",
    "DRV_",
    "GUEST_",
    "IF_",
    "INET_",
    "RUNTIME_",
    "SVC_",
    "ENV_",
    "K8S_",
    "SSH_",
    "TUNNEL_",
];

/// Parses a line of `--output json`; `None` if it is something else.
pub(crate) fn event(line: &str) -> Option<Told> {
    let event: CloudEvent = serde_json::from_str(line).ok()?;
    let field = |name: &str| event.data.get(name).map(|text| text.trim().to_owned()).unwrap_or_default();
    let number = |name: &str| field(name).parse().ok();
    Some(match event.kind.strip_prefix(PREFIX)? {
        "step" => Told::Step {
            number: number("currentstep"),
            of: number("totalsteps"),
            name: field("name"),
            message: field("message"),
        },
        "download" => Told::Download { artifact: field("artifact"), progress: None },
        "download.progress" => {
            Told::Download { artifact: field("artifact"), progress: Some(field("progress")) }
        }
        "warning" => Told::Warning(field("message")),
        "info" => Told::Info(field("message")),
        "error" => Told::Error(Reason {
            id: field("name"),
            message: field("message"),
            advice: field("advice"),
            url: field("url"),
        }),
        _ => return None,
    })
}

/// Parses the reason in a line for people, such as `X Exiting due to DRV_NOT_FOUND: …`, in any language.
pub(crate) fn reason(line: &str) -> Option<Reason> {
    let is_code = |word: &&str| {
        let code = word.trim_end_matches(':');
        let allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        code.bytes().all(allowed) && CODES.iter().any(|prefix| code.starts_with(prefix))
    };
    let word = line.split_whitespace().find(is_code)?;
    let (_, rest) = line.split_once(word)?;
    let message = rest.trim_start_matches([' ', '\u{a0}', ':']).trim();
    Some(Reason {
        id: word.trim_end_matches(':').to_owned(),
        message: message.to_owned(),
        ..Reason::default()
    })
}

impl Told {
    /// As one line of text.
    pub fn words(&self) -> String {
        match self {
            Self::Step { number: Some(number), of: Some(of), name, message } => {
                format!("{number} of {of}, {}", if message.is_empty() { name } else { message })
            }
            Self::Step { name, message, .. } => {
                if message.is_empty() {
                    name.clone()
                } else {
                    message.clone()
                }
            }
            Self::Download { artifact, progress } => {
                let progress = progress.as_deref().and_then(|share| share.parse::<f64>().ok());
                let share =
                    progress.map_or(String::new(), |share| format!(", {} %", (share * 100.0).round()));
                format!("downloading {artifact}{share}")
            }
            Self::Warning(text) | Self::Info(text) => text.clone(),
            Self::Error(reason) => reason.message.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From <https://minikube.sigs.k8s.io/docs/contrib/json_output/>.
    const STEP: &str = r#"{"data":{"currentstep":"3","message":"Starting control plane node minikube in cluster minikube\n","name":"Starting Node","totalsteps":"10"},"datacontenttype":"application/json","id":"7c80bc53-3ac4-4a42-a493-92e269cc56c9","source":"https://minikube.sigs.k8s.io/","specversion":"1.0","type":"io.k8s.sigs.minikube.step"}"#;
    /// From minikube's own test of it, pkg/minikube/out/… (`TestDisplayJSON`).
    const ERROR: &str = r#"{"data":{"advice":"fix me!","exitcode":"4","issues":"https://github.com/kubernetes/minikube/issues/1,https://github.com/kubernetes/minikube/issues/2,","message":"my error","name":"BUG","url":"url"},"datacontenttype":"application/json","id":"random-id","source":"https://minikube.sigs.k8s.io/","specversion":"1.0","type":"io.k8s.sigs.minikube.error"}"#;

    #[test]
    fn cloud_events_are_read() {
        let step = event(STEP).unwrap();
        assert_eq!(step.words(), "3 of 10, Starting control plane node minikube in cluster minikube");
        let Some(Told::Error(reason)) = event(ERROR) else { panic!() };
        assert_eq!((reason.id.as_str(), reason.message.as_str()), ("BUG", "my error"));
        assert_eq!((reason.advice.as_str(), reason.url.as_str()), ("fix me!", "url"));
        assert_eq!(event("* a line for people"), None);
        assert_eq!(event(r#"{"type":"com.example","data":{}}"#), None);
    }

    #[test]
    fn the_reason_is_found_in_lines_for_people() {
        // https://github.com/kubernetes/minikube/issues/15475
        let line = "❌  Exiting due to GUEST_NODE_DELETE: nodes \"minikube-m02\" not found";
        let found = reason(line).unwrap();
        assert_eq!(
            (found.id.as_str(), found.message.as_str()),
            ("GUEST_NODE_DELETE", "nodes \"minikube-m02\" not found")
        );
        // https://github.com/kubernetes/minikube/issues/18093
        let french = "❌  Fermeture en raison de GUEST_NODE_ADD : failed to add node: update node: downloading binaries";
        let found = reason(french).unwrap();
        assert_eq!(
            (found.id.as_str(), found.message.as_str()),
            ("GUEST_NODE_ADD", "failed to add node: update node: downloading binaries")
        );
        assert_eq!(reason("X Exiting due to a whim: nothing"), None);
    }
}
