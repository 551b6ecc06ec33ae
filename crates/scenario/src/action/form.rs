//! The format of actions.

use std::time::Duration;

use platform::target::{Pick, Subject};
use serde::{Deserialize, Serialize};

use super::{Action, Happening, Trigger, Users, VERBS, Verb, known};
use crate::{Payload, Rate, hint};

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Form {
    #[serde(default, with = "platform::duration::optional_text")]
    at: Option<Duration>,
    when: Option<Happening>,
    #[serde(default, with = "platform::duration::optional_text")]
    after: Option<Duration>,
    #[serde(rename = "do")]
    verb: String,
    what: Option<String>,
    #[serde(default, rename = "for", with = "platform::duration::optional_text")]
    length: Option<Duration>,
    restart: Option<bool>,
    to: Option<u32>,
    node: Option<String>,
    from: Option<u64>,
    payload: Option<String>,
    answer: Option<String>,
    users: Option<Users>,
    rate: Option<Rate>,
    of: Option<String>,
}

impl TryFrom<Form> for Action {
    type Error = String;

    fn try_from(mut form: Form) -> Result<Self, String> {
        let trigger = match (form.at.take(), form.when.take(), form.after.take()) {
            (Some(at), None, None) => Trigger::At(at),
            (None, Some(event), after) => Trigger::When { event, after: after.unwrap_or_default() },
            (Some(_), None, Some(_)) => return Err("`after` counts from a `when`; `at` has none".to_owned()),
            _ => {
                return Err(
                    "an action has `at: TIME`, or `when: EVENT` with or without `after: TIME`".to_owned()
                );
            }
        };
        let verb = form.verb.clone();
        let missing = |key: &str| format!("do: {verb} needs `{key}`");
        let mut subject = || {
            let what = form.what.take().ok_or_else(|| missing("what"))?;
            known::subject(&what).map_err(|error| format!("what: {error}"))
        };
        let verb = match verb.as_str() {
            "stop" => Verb::Stop { what: subject()?, length: form.length.take() },
            "start" => Verb::Start { what: subject()? },
            "kill" => Verb::Kill { what: subject()?, restart: form.restart.take().unwrap_or(true) },
            "drain" => Verb::Drain { what: subject()? },
            "scale" => {
                let what = subject()?;
                if what.replica != Pick::Unnamed {
                    return Err(format!("what: `{what}`: a service is scaled, not one replica of it"));
                }
                Verb::Scale { service: what.name, to: form.to.take().ok_or_else(|| missing("to"))? }
            }
            "add-node" => Verb::AddNode,
            "remove-node" => Verb::RemoveNode { node: form.node.take() },
            "send" => {
                let payload = form.payload.take().ok_or_else(|| missing("payload"))?;
                payload.parse::<Payload>().map_err(|error| format!("payload: {error}"))?;
                let from = form.from.take().ok_or_else(|| missing("from"))?;
                Verb::Send { from, payload, answer: form.answer.take() }
            }
            "join" => match form.users.take().ok_or_else(|| missing("users"))? {
                Users::Number(users) => Verb::Join { users, rate: form.rate.take() },
                Users::All => return Err("users: all of whom? `join` needs a number".to_owned()),
            },
            "leave" => {
                let users = form.users.take().ok_or_else(|| missing("users"))?;
                let of = form.of.take().map(|of| known::users_of(&of)).transpose();
                Verb::Leave { users, of: of.map_err(|error| format!("of: {error}"))? }
            }
            other => {
                let all = VERBS.join(", ");
                return Err(format!("do: `{other}` is not one of {all}{}", hint(other, VERBS)));
            }
        };
        let left = [
            ("what", form.what.is_some()),
            ("for", form.length.is_some()),
            ("restart", form.restart.is_some()),
            ("to", form.to.is_some()),
            ("node", form.node.is_some()),
            ("from", form.from.is_some()),
            ("payload", form.payload.is_some()),
            ("answer", form.answer.is_some()),
            ("users", form.users.is_some()),
            ("rate", form.rate.is_some()),
            ("of", form.of.is_some()),
        ];
        if let Some((key, _)) = left.iter().find(|(_, is_left)| *is_left) {
            return Err(format!("do: {} takes no `{key}`", form.verb));
        }
        possible(&verb).map(|()| Self { trigger, verb })
    }
}

/// Rejects what no platform does, whatever its values are.
fn possible(verb: &Verb) -> Result<(), String> {
    let is_gateway = |what: &Subject| what.name == known::GATEWAY;
    let (what, why) = match verb {
        Verb::Stop { what, .. } if is_gateway(what) => {
            (what, "clients come in through the gateways; kill and drain work on one of them")
        }
        Verb::Stop { what, .. } if what.replica != Pick::Unnamed && what.name != known::NODE => {
            (what, "only a service or a part is stopped; kill or drain one of its replicas")
        }
        Verb::Start { what } if is_gateway(what) => (what, "a gateway always runs: nothing stops it"),
        Verb::Start { what } if what.replica.is_by_load() => {
            (what, "a replica that does not run has no load: start it by its name")
        }
        Verb::Kill { what, restart: false } if is_gateway(what) => {
            (what, "it always starts again, as every node has a gateway; remove-node removes a node")
        }
        Verb::Kill { what, restart: false } if known::is_part(&what.name) => {
            (what, "a part always starts again; stop ends it for good")
        }
        Verb::Drain { what } if known::is_part(&what.name) && !is_gateway(what) => {
            (what, "only replicas and gateways drain; a part is stopped")
        }
        Verb::Scale { service, .. } => {
            return known::service(service).map_err(|error| format!("what: {error}"));
        }
        _ => return Ok(()),
    };
    Err(format!("what: {} `{what}`: {why}", verb.name()))
}

impl From<Action> for Form {
    fn from(action: Action) -> Self {
        let mut form = Self::default();
        match action.trigger {
            Trigger::At(at) => form.at = Some(at),
            Trigger::When { event, after } => (form.when, form.after) = (Some(event), Some(after)),
        }
        action.verb.name().clone_into(&mut form.verb);
        match action.verb {
            Verb::Stop { what, length } => (form.what, form.length) = (Some(what.to_string()), length),
            Verb::Start { what } | Verb::Drain { what } => form.what = Some(what.to_string()),
            Verb::Kill { what, restart } => {
                (form.what, form.restart) = (Some(what.to_string()), Some(restart));
            }
            Verb::Scale { service, to } => (form.what, form.to) = (Some(service), Some(to)),
            Verb::AddNode => {}
            Verb::RemoveNode { node } => form.node = node,
            Verb::Send { from, payload, answer } => {
                (form.from, form.payload, form.answer) = (Some(from), Some(payload), answer);
            }
            Verb::Join { users, rate } => (form.users, form.rate) = (Some(Users::Number(users)), rate),
            Verb::Leave { users, of } => {
                (form.users, form.of) = (Some(users), of.map(|of| of.to_string()));
            }
        }
        form
    }
}
