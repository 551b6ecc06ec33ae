//! Changes of replicas that a balancer orders.

/// The lines of a decision that are a change: `1 → 6`.
pub(crate) fn ordered(orders: &[String]) -> impl Iterator<Item = (u32, u32)> {
    orders.iter().filter_map(|order| {
        let (from, to) = order.split_once(" → ")?;
        Some((from.parse().ok()?, to.parse().ok()?))
    })
}
