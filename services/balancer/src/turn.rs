//! Which of several balancers of one service may act: two at once would contradict each other.

/// Decides which balancer may act.
pub trait Turn: Send + Sync {
    /// Whether this one may act at this moment. Checked before every single order.
    fn is_mine(&self) -> bool;
    /// Who acts, in words, as far as known.
    fn whose(&self) -> String;
    /// Gives the turn back at the end, so that the next one need not wait. May block briefly.
    fn give_back(&self);
}

/// There is only one balancer.
#[derive(Debug, Clone, Copy)]
pub struct Alone;

impl Turn for Alone {
    fn is_mine(&self) -> bool {
        true
    }

    fn whose(&self) -> String {
        "this one".into()
    }

    fn give_back(&self) {}
}
