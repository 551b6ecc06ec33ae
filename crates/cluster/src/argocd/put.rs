//! Writes objects that only we own by server-side apply, so that nothing is written if nothing differs, and nobody
//! else's fields are lost.

use kube::{
    Api,
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use platform::TargetError;
use serde_json::Value;

use super::{
    kinds,
    results::{Outcome, Put},
    step::{Step, Tell},
};
use crate::{connect::Cluster, error::Call};

/// Applies the desired object. Unless forced, fields that someone else set differently are a conflict (409).
pub(super) async fn try_put(
    cluster: &Cluster,
    api: &Api<DynamicObject>,
    wanted: &Value,
    how: &PatchParams,
) -> Result<Put, Call> {
    let object = kinds::name_of(wanted);
    let before = cluster.try_ask(api.get_opt(&object.name)).await?;
    let after = cluster.try_ask(api.patch(&object.name, how, &Patch::Apply(wanted))).await?;
    // An apply that changes nothing keeps the object's version.
    let outcome = match before {
        None => Outcome::Created,
        Some(before) if before.metadata.resource_version == after.metadata.resource_version => {
            Outcome::Unchanged
        }
        Some(_) => Outcome::Changed,
    };
    Ok(Put { object, outcome })
}

/// Applies an object that is required, and reports it. Fields that `manager` applied before and no longer wants are
/// removed.
pub(super) async fn put(
    cluster: &Cluster,
    api: &Api<DynamicObject>,
    wanted: &Value,
    manager: &str,
    tell: &Tell,
) -> Result<Put, TargetError> {
    let name = kinds::name_of(wanted);
    let put = try_put(cluster, api, wanted, &PatchParams::apply(manager).force()).await;
    let put = put.map_err(|call| call.error(&format!("applying {name}"), cluster))?;
    tell.step(Step::Put(put.clone())).await;
    Ok(put)
}
