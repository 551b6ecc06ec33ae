//! Turns events into lines for Kafka.

use std::fmt::{self, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::PIPELINE;
use super::shipping::Queue;
use crate::kafka::TARGET;

/// The layer that fills the queue.
pub(super) struct ShippingLayer {
    queue: &'static Queue,
}

impl ShippingLayer {
    pub(super) fn new(queue: &'static Queue) -> Self {
        Self { queue }
    }
}

impl<S: Subscriber> Layer<S> for ShippingLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let metadata = event.metadata();
        // Shipping a line about shipping would cause more of them.
        if [TARGET, PIPELINE].contains(&metadata.target()) {
            return;
        }
        let mut line = Line::default();
        event.record(&mut line);
        self.queue.push(format!("{} {}: {}", metadata.level(), metadata.target(), line.finish()));
    }
}

/// The message, then the fields as `name=value`.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Line {
    fn finish(mut self) -> String {
        self.message.push_str(&self.fields);
        self.message
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn events_become_lines_except_those_about_shipping() {
        let queue: &'static Queue = Box::leak(Box::new(Queue::new()));
        let subscriber = tracing_subscriber::registry().with(ShippingLayer::new(queue));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "tcp", connections = 3, client = "a b", "draining");
            tracing::warn!(target: TARGET, "broker down");
            tracing::warn!(target: PIPELINE, "a record was refused");
        });
        let mut lines = queue.take_receiver().unwrap();
        assert_eq!(lines.try_recv().unwrap().text, "INFO tcp: draining connections=3 client=\"a b\"");
        assert!(lines.try_recv().is_err());
    }
}
