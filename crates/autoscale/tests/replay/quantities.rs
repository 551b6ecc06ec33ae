//! Family Q: parsing of quantities.

use autoscale::Quantity;
use serde::Deserialize;

use super::Differences;

#[derive(Deserialize)]
pub(super) struct Line {
    s: String,
    ok: bool,
    milli: Option<i64>,
    float: Option<f64>,
}

pub(super) fn check(line: &Line) -> Vec<String> {
    let mut differences = Differences::default();
    let parsed: Option<Quantity> = line.s.parse().ok();
    differences.compare("ok", &line.ok, &parsed.is_some());
    if let (true, Some(quantity)) = (line.ok, parsed) {
        differences.compare("milli", &line.milli, &Some(quantity.milli()));
        // Bit by bit, except for the sign of zero.
        differences.compare("float", &line.float, &Some(quantity.as_f64()));
    }
    differences.found
}
