//! `socketz`: the same commands, with a greeting and line ends.

use protocol::Dialect;

use crate::support::{Connect as _, settings, start};

fn socketz() -> tcp::Settings {
    tcp::Settings { dialect: Dialect::Socketz, ..settings() }
}

const USE: &str = "use 'WHY', 'WHO', 'WHERE', 'QUIT'";

#[test]
fn greets_and_ends_every_reply() {
    let server = start(socketz());
    let mut client = server.client();
    client.expect(format!("{USE}\n"));
    assert_eq!(client.ask("WHY"), "42\n");
    assert_eq!(client.ask("WHERE"), format!("{}\n", server.id()));
    assert_eq!(client.ask("WHO"), format!("client list: {{'{}'}}\nconnected clients: 1\n", client.address()));
    assert_eq!(client.ask("msg:hi"), "hi\n");
    assert_eq!(client.ask("msg"), "error: missing field\n");
    assert_eq!(client.ask("x".repeat(600)), "error: packet too long\n");
    client.send("QUIT");
    client.expect_closed();
}

#[test]
fn line_ends_are_not_doubled_in_line_mode() {
    let server = start(socketz());
    let mut client = server.client();
    client.expect(format!("{USE}\n"));
    client.send("WHY\nmsg:hi\n");
    client.expect("42\nhi\n");
    client.send("nonsense\nWHY\n");
    client.expect(format!("invalid command:\n {USE}\n42\n"));
}

#[test]
fn unknown_commands_are_answered() {
    let server = start(socketz());
    let mut client = server.client();
    client.expect(format!("{USE}\n"));
    assert_eq!(client.ask("HOW"), format!("invalid command:\n {USE}\n"));
}
