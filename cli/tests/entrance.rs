//! HTTP behind the embedded gateway, on a whole platform.

#[path = "support/entrance.rs"]
mod entrance;
#[path = "support/services.rs"]
mod services;
mod support;

use support::Lab;

#[test]
fn paths_and_cookies_lead_through_our_own_gateways() {
    entrance::works(&Lab::new("entrance"), "playctl");
}
