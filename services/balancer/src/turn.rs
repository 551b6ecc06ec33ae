//! Whose turn it is, where several balancers look after one service: two at once contradict each other.

/// Says which one may act.
pub trait Turn: Send + Sync {
    /// Whether this one may act at this moment. It is asked before every single order.
    fn is_mine(&self) -> bool;
    /// Who acts, in words, as far as that is known.
    fn whose(&self) -> String;
    /// Gives it back at the end, so that the next one need not wait. May block for a moment.
    fn give_back(&self);
}

/// There is no other.
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
