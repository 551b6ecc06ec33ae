//! Readers of the event stream: a run as a time line, a picture, or JSON.
//!
//! * [`Timeline`] prints: events go in one by one, lines come out; at the end charts and a summary.
//! * [`Recording`] keeps a run, bounded however long it lasts; [`delays()`], [`json()`] and [`svg()`] read it.
//! * [`Story`] keeps what a page needs from a run; [`html()`] turns it into one file.
//! * [`junit()`] turns expectations into test cases.
//!
//! Nothing here does I/O or checks for a terminal: the caller says how wide and whether in colour ([`Style`]).

mod chart;
mod delays;
mod escape;
mod html;
mod json;
mod junit;
mod recording;
mod series;
mod style;
mod svg;
mod timeline;
mod words;

pub use delays::{Delays, delays};
pub use escape::visible;
pub use html::{Pulse, Story, data, html, live_data};
pub use json::{Document, json};
pub use junit::{NotDone, Suite, junit, troubles};
pub use recording::Recording;
pub use style::Style;
pub use svg::svg;
pub use timeline::{Timeline, wrap};
pub use words::ending;
