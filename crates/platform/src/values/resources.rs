//! What a container requests, and what it may use at most.

use std::collections::BTreeMap;

use autoscale::quantity::Quantity;

use super::{reader::Reader, rule};

/// `resources:` of a container.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resources {
    pub requests: BTreeMap<String, Quantity>,
    pub limits: BTreeMap<String, Quantity>,
}

impl Resources {
    pub(super) fn read(values: Option<Reader<'_>>) -> Self {
        let Some(mut values) = values else {
            return Self::default();
        };
        let resources = Self {
            requests: quantities(values.table("requests")),
            limits: quantities(values.table("limits")),
        };
        for (name, limit) in &resources.limits {
            if let Some(request) =
                resources.requests.get(name).filter(|request| request.milli() > limit.milli())
            {
                let key = format!("{}.{name}", values.path_of("limits"));
                values.problems().add(
                    key,
                    Some(&limit.to_string().into()),
                    &format!("at least the request, {request}"),
                );
            }
        }
        values.finish();
        resources
    }
}

/// CPU and memory as quantities.
fn quantities(values: Option<Reader<'_>>) -> BTreeMap<String, Quantity> {
    let Some(mut values) = values else {
        return BTreeMap::new();
    };
    let mut quantities = BTreeMap::new();
    for name in ["cpu", "memory"] {
        let quantity = values.optional(name, rule::quantity());
        if let Some(quantity) = quantity {
            quantities.insert(name.to_owned(), quantity);
        }
    }
    values.finish();
    quantities
}
