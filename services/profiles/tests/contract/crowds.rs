//! Clients that come and go without finishing anything.

use fixtures::half_requests;
use serde_json::json;

use crate::support::{create, get, ids, start};

#[test]
fn ten_thousand_half_requests_leave_nothing_behind() {
    let server = start(&[]);
    let user = create(&server, "/users", &json!({"name": "x"}));
    half_requests(server.address);
    assert_eq!(ids(&get(&server, "/users").ok()), [user]);
}
