//! The metrics and their names.
//!
//! | metric | meaning |
//! |---|---|
//! | `page_views_total` | times that the page was opened |

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use service::metrics::counter;

/// Times that the page was opened.
pub(crate) fn views(registry: &mut Registry) -> Counter {
    counter(registry.sub_registry_with_prefix("page"), "views", "Times that the page was opened")
}
