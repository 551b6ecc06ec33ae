//! Changes of replicas as a balancer orders them.

/// Of the lines of a decision, those that are a change: `1 → 6`.
pub(crate) fn ordered(orders: &[String]) -> impl Iterator<Item = (u32, u32)> {
    orders.iter().filter_map(|order| {
        let (from, to) = order.split_once(" → ")?;
        Some((from.parse().ok()?, to.parse().ok()?))
    })
}
