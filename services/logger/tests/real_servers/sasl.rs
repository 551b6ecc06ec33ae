//! SASL/PLAIN: the right password works, and a wrong one is reported long before a message times out.

use std::time::Duration;

use crate::process::Logger;
use crate::testbed::{environment, variable};

/// Longer than a busy machine takes for anything here.
const SOON: Duration = Duration::from_mins(1);
const WRONG: &str = "not-the-password-4711";

#[test]
fn a_wrong_password_is_named_and_never_printed() {
    let sasl = environment(&["--sasl", "kafka"]);
    let url = variable("ELASTICSEARCH_URL");
    let settings = |password: &str| {
        let own = [("KAFKA_SASL_PASSWORD", password), ("ELASTICSEARCH_URL", url.as_str())];
        let kafka = ["KAFKA_BROKERS", "KAFKA_SASL_USER"].map(|name| (name, sasl[name].as_str()));
        Logger::start(&[&own[..], &kafka[..], &[("RUST_LOG", "debug"), ("KAFKA_GROUP", "sasl")]].concat())
    };

    let logger = settings(WRONG);
    logger.wait_for_line("started", SOON);
    let seen = logger.wait_for_line("refuses KAFKA_SASL_USER and KAFKA_SASL_PASSWORD", SOON);
    assert!(!seen.contains(WRONG), "{seen}");

    let right = &sasl["KAFKA_SASL_PASSWORD"];
    let logger = settings(right);
    let seen = logger.wait_for_line("partitions assigned", SOON);
    assert!(!seen.contains(right.as_str()), "the password is in the log");
}
