use proptest::prelude::*;

use super::*;

const TOKEN: &str = "123e4567-e89b-12d3-a456-426614174000";

fn token() -> Token {
    Token::parse(TOKEN.as_bytes()).unwrap()
}

fn parse(packet: &str) -> Result<Command<'_>, Rejection> {
    Command::parse(packet.as_bytes())
}

#[test]
fn messages_give_their_second_field() {
    assert_eq!(parse("msg:123"), Ok(Command::Message(b"123")));
    assert_eq!(parse("msg:a:b"), Ok(Command::Message(b"a")));
    assert_eq!(parse("msgx:hi"), Ok(Command::Message(b"hi")));
    assert_eq!(parse("msg:hi \t\r\n"), Ok(Command::Message(b"hi")));
    assert_eq!(parse("msg: hi"), Ok(Command::Message(b" hi")));
    assert_eq!(parse("msg:"), Ok(Command::Message(b"")));
    assert_eq!(parse("msg"), Err(Rejection::MissingField));
}

#[test]
fn brief_errors_are_brief() {
    for rejection in [
        Rejection::MissingField,
        Rejection::TokenLength,
        Rejection::TokenBytes,
        Rejection::TokenPrefix,
        Rejection::KeyTooLong,
        Rejection::KeyBytes,
        Rejection::ValueTooLong,
    ] {
        let brief = rejection.brief();
        assert!(brief.starts_with("error: ") && brief.len() <= crate::limits::BRIEF_BYTES_MAX, "{brief}");
    }
}

#[test]
fn names_are_matched_by_start_and_in_order() {
    assert_eq!(parse("login"), Ok(Command::Login));
    assert_eq!(parse("token"), Ok(Command::Login));
    assert_eq!(parse("tokens please"), Ok(Command::Login));
    assert_eq!(parse("brdmsg"), Err(Rejection::MissingField));
    assert_eq!(parse("mcsetter:x"), Err(Rejection::MissingField));
    assert_eq!(parse("MSG:hi"), Ok(Command::Unknown));
}

#[test]
fn short_commands_must_match_exactly() {
    assert_eq!(parse("WHO"), Ok(Command::Who));
    assert_eq!(parse("WHERE\n"), Ok(Command::Where));
    assert_eq!(parse("WHY "), Ok(Command::Why));
    assert_eq!(parse("QUIT"), Ok(Command::Quit));
    for other in ["WHOM", " WHO", "who", "WHY?", "QUIT:", "", "x"] {
        assert_eq!(parse(other), Ok(Command::Unknown), "{other}");
    }
}

#[test]
fn values_may_contain_separators_and_keys_may_not() {
    let store = format!("mcset:{TOKEN}:k:a:b");
    assert_eq!(parse(&store), Ok(Command::Store { token: token(), key: b"k", value: b"a:b" }));
    let broadcast = format!("brd:{TOKEN}:10:30");
    assert_eq!(parse(&broadcast), Ok(Command::Broadcast { token: token(), value: b"10:30" }));
    let fetch = format!("mcget:{TOKEN}:k:a");
    assert_eq!(parse(&fetch), Ok(Command::Fetch { token: token(), key: b"k" }));
}

#[test]
fn missing_fields_are_refused() {
    for packet in ["brd", "mcset", "mcget", "mcset:", "mcget:", "brd:"] {
        assert_eq!(parse(packet), Err(Rejection::MissingField), "{packet}");
    }
    for name in ["brd", "mcset", "mcget"] {
        assert_eq!(parse(&format!("{name}:{TOKEN}")), Err(Rejection::MissingField), "{name}");
    }
    assert_eq!(parse(&format!("mcset:{TOKEN}:key")), Err(Rejection::MissingField));
    assert_eq!(parse(&format!("mcget:{TOKEN}:")), Err(Rejection::MissingField));
    assert_eq!(parse(&format!("mcset:{TOKEN}::v")), Err(Rejection::MissingField));
}

#[test]
fn tokens_keys_and_values_have_limits() {
    assert_eq!(parse("mcget:short:k"), Err(Rejection::TokenLength));
    assert_eq!(parse(&format!("mcget:{TOKEN}x:k")), Err(Rejection::TokenLength));
    let spaced = TOKEN.replace('-', " ");
    assert_eq!(parse(&format!("brd:{spaced}:v")), Err(Rejection::TokenBytes));

    let key = "k".repeat(64);
    assert!(parse(&format!("mcget:{TOKEN}:{key}")).is_ok());
    assert_eq!(parse(&format!("mcget:{TOKEN}:{key}k")), Err(Rejection::KeyTooLong));
    let value = "v".repeat(256);
    assert!(parse(&format!("mcset:{TOKEN}:{key}:{value}")).is_ok());
    assert_eq!(parse(&format!("mcset:{TOKEN}:{key}:{value}v")), Err(Rejection::ValueTooLong));
}

#[test]
fn keys_cannot_carry_a_second_command() {
    for key in ["k 0 0 1", "k\r\nset x 0 0 1\r\n1", "k\0", "k\x7f", "k\tx"] {
        assert_eq!(parse(&format!("mcget:{TOKEN}:{key}:")), Err(Rejection::KeyBytes), "{key:?}");
        assert_eq!(parse(&format!("mcset:{TOKEN}:{key}:v")), Err(Rejection::KeyBytes), "{key:?}");
    }
    assert!(
        Command::parse(format!("mcget:{TOKEN}:schlüssel").as_bytes()).is_ok(),
        "other alphabets are fine"
    );
}

proptest! {
    #[test]
    fn any_bytes_parse_or_are_refused(packet in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Command::parse(&packet);
    }

    #[test]
    fn accepted_commands_are_within_the_limits(
        name in "(mcset|mcget|brd)",
        token in "[0-9A-Za-z-]{34,38}|.{36}",
        key in proptest::collection::vec(any::<u8>(), 0..70),
        value in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let packet = [name.as_bytes(), b":", token.as_bytes(), b":", &key, b":", &value].concat();
        match Command::parse(&packet) {
            Ok(Command::Store { token, key, value }) => {
                prop_assert_eq!(token.as_bytes().len(), 36);
                prop_assert!(!key.is_empty() && key.len() <= 64 && value.len() <= 256);
                prop_assert!(key.iter().all(|byte| *byte > 0x20 && *byte != 0x7f && *byte != b':'));
            }
            Ok(Command::Fetch { key, .. }) => {
                prop_assert!(!key.is_empty() && key.len() <= 64);
                prop_assert!(key.iter().all(|byte| *byte > 0x20 && *byte != 0x7f && *byte != b':'));
            }
            Ok(Command::Broadcast { .. }) | Err(_) => {}
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn message_content_comes_back_as_sent(content in "[^:]{0,80}") {
        let packet = format!("msg:{content}");
        let expected = packet.as_bytes().trim_ascii_end()[4.min(packet.trim_ascii_end().len())..].to_vec();
        prop_assert_eq!(Command::parse(packet.as_bytes()), Ok(Command::Message(&expected)));
    }
}
