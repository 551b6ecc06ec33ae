//! The metrics and their names.
//!
//! | metric | meaning |
//! |---|---|
//! | `page_views_total` | times that the page was opened |
//! | `page_log_lines_total`, `page_log_lines_shipped_total`, `page_log_lines_dropped_total`, `page_log_lines_unwritten_total` | as for every service |

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use service::metrics::counter;

/// Registers all, and returns the times that the page was opened.
pub(crate) fn register(registry: &mut Registry) -> Counter {
    let registry = registry.sub_registry_with_prefix("page");
    service::logs::register(registry);
    counter(registry, "views", "Times that the page was opened")
}
