//! Counters that services register and increment.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Registers a counter; `_total` is added to its name.
pub fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

/// Registers a counter for each value of one label, in order. All exist from the start, with 0.
pub fn by_label<const N: usize>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    label: &'static str,
    values: [&'static str; N],
) -> [Counter; N] {
    let family: Family<[(&'static str, &'static str); 1], Counter> = Family::default();
    registry.register(name, help, family.clone());
    values.map(|value| family.get_or_create_owned(&[(label, value)]))
}

/// Registers the commands that failed because one of `backends` was down.
pub fn backend_failures<const N: usize>(
    registry: &mut Registry,
    backends: [&'static str; N],
) -> [Counter; N] {
    let help = "Commands that failed because a backend was down";
    by_label(registry, "backend_failures", help, "backend", backends)
}

/// Adds counts kept in plain integers; zeros cost nothing.
pub fn add_all<'a>(counts: impl IntoIterator<Item = (&'a Counter, u64)>) {
    for (counter, count) in counts {
        if count > 0 {
            counter.inc_by(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labelled_counters_are_there_from_the_start() {
        let mut registry = Registry::default();
        let [first, second] = by_label(&mut registry, "things", "Things", "kind", ["a", "b"]);
        add_all([(&first, 2), (&second, 0)]);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in ["things_total{kind=\"a\"} 2\n", "things_total{kind=\"b\"} 0\n"] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
