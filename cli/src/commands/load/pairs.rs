//! The users and profiles that a load over SSE requests.

use platform::target::{Endpoint, Target};
use scenario::{Protocol, Scenario};

use super::resolve;
use crate::failure::Failure;

/// The service that stores them.
const KEEPER: &str = "profiles";

/// Creates them on one of our platforms, unless the load itself says where its streams are.
pub(super) fn make(target: &dyn Target, scenario: &Scenario) -> Result<(), Failure> {
    if scenario.protocol != Protocol::Sse || scenario.path.is_some() {
        return Ok(());
    }
    let endpoint = match target.endpoint(KEEPER)? {
        Endpoint::At(endpoint) => endpoint,
        Endpoint::NoneYet { why } => {
            return Err(Failure::failed(format!(
                "the load's users and profiles cannot be made, since {KEEPER} has no address yet: {why}"
            )));
        }
    };
    let profiles = resolve(&endpoint.to_string(), &Scenario::default())?;
    load::bind_pairs(profiles, scenario).map_err(|error| Failure::new(error.exit_code(), error.to_string()))
}
