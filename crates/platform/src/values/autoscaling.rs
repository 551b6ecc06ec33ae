//! `autoscaling:` of a service: an `autoscaling/v2` spec word for word, without `scaleTargetRef`.

use autoscale::spec::HpaSpec;

use super::reader::Reader;

/// Reads and checks the spec; what the API server would refuse is a problem here.
pub(super) fn read(service: &mut Reader<'_>) -> Option<HpaSpec> {
    let value = service.get("autoscaling")?;
    let path = service.path_of("autoscaling");
    let problems = service.problems();
    let spec: HpaSpec = match yaml::typed(value) {
        Ok(spec) => spec,
        Err(error) => {
            let separator = if error.path.is_empty() || error.path.starts_with('[') { "" } else { "." };
            let key = format!("{path}{separator}{}", error.path);
            problems.message_got(key, error.got, error.message);
            return None;
        }
    };
    let errors = spec.defaulted().validate(false);
    let is_valid = errors.is_empty();
    for error in errors {
        problems.message_inside(&path, format!("{path}.{}", error.path), error.value, error.reason);
    }
    is_valid.then_some(spec)
}
