//! `profiles` without a database: its replica keeps the data in memory, so there is only one, and the data are lost
//! when it ends.

use platform::{
    ServiceKind, TargetError,
    values::{Service, Values},
};

use crate::Controller;

/// The remark in `status`.
pub(crate) const REMARK: &str = "its data are in memory: for one replica only, and lost when it ends";

impl Controller {
    /// Whether the replicas of a service keep data in their memory.
    pub(crate) fn is_in_memory(&self, kind: ServiceKind) -> bool {
        kind == ServiceKind::Profiles
            && self.spec.as_ref().is_some_and(|spec| spec.values.profiles_are_in_memory())
    }

    /// Refuses values with several replicas, each of which would have its own data.
    pub(crate) fn check_memory(&self, values: &Values) -> Result<(), TargetError> {
        let name = ServiceKind::Profiles.name();
        let Some(profiles) =
            values.service(name).filter(|one| one.enabled && values.profiles_are_in_memory())
        else {
            return Ok(());
        };
        let by_values =
            |service: &Service| service.autoscaled().map_or(service.initial_replicas(), |[_, max]| max);
        // A number that was set by hand stays unless the values change the number.
        let before = self.spec.as_ref().and_then(|spec| spec.values.service(name));
        let stays = before.is_some_and(|before| before.enabled && before.replicas == profiles.replicas);
        let present =
            self.services.get(&ServiceKind::Profiles).filter(|_| stays).map(|service| service.desired);
        one_at_most(by_values(profiles).max(present.unwrap_or(0)))
    }
}

/// Refuses more than one replica.
pub(crate) fn one_at_most(replicas: u32) -> Result<(), TargetError> {
    if replicas <= 1 {
        return Ok(());
    }
    let what = "more than one replica of profiles".to_owned();
    let why = format!("the data are in memory, so each would have its own; expected 1, got {replicas}");
    Err(TargetError::Unsupported { what, why })
}
