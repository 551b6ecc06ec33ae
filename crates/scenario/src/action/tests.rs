use super::*;

fn read(text: &str) -> Result<Action, String> {
    yaml::from_str(text).map_err(|error| error.to_string())
}

#[test]
fn actions_are_read_and_described() {
    for (text, words) in [
        ("{ at: 30s, do: stop, what: kafka, for: 30s }", "at 30s: stop kafka for 30s"),
        ("{ at: 1m, do: start, what: kafka }", "at 1m: start kafka"),
        (
            "{ at: 1s, do: send, from: 1, payload: WHO, answer: 'N: 3' }",
            "at 1s: client 1 sends WHO for `N: 3`",
        ),
        (
            r#"{ when: "tcp 1 -> 2", after: 2s, do: kill, what: tcp/fullest, restart: false }"#,
            "2s after tcp 1 → 2: kill tcp/fullest for good",
        ),
        ("{ when: ramp done, do: kill, what: tcp }", "when ramp done: kill tcp"),
        ("{ at: 60s, do: drain, what: tcp/tcp-0 }", "at 1m: drain tcp/tcp-0"),
        ("{ at: 1s, do: scale, what: tcp, to: 3 }", "at 1s: scale tcp to 3"),
        ("{ at: 1s, do: add-node }", "at 1s: add a node"),
        ("{ when: ramp done, do: remove-node, node: node-2 }", "when ramp done: remove node node-2"),
        ("{ at: 1m, do: remove-node }", "at 1m: remove the node that came last"),
        ("{ at: 20s, do: join, users: 2 }", "at 20s: 2 users join"),
        ("{ at: 20s, do: join, users: 1k, rate: 5ms }", "at 20s: 1000 users join, one per 5ms"),
        (
            "{ when: users joined, do: leave, users: 6, of: ws/fullest }",
            "when users joined: 6 users of ws/fullest leave",
        ),
        (
            "{ when: spread 7/6, after: 1s, do: leave, users: all, of: ws/ws-1 }",
            "1s after spread 7/6: all users of ws/ws-1 leave",
        ),
        ("{ at: 1s, do: leave, users: 1 }", "at 1s: 1 user leaves"),
        // Somebody else's.
        ("{ at: 1s, do: drain, what: chat-server }", "at 1s: drain chat-server"),
        ("{ at: 1s, do: kill, what: kafka-1/fullest }", "at 1s: kill kafka-1/fullest"),
        ("{ at: 1s, do: stop, what: log }", "at 1s: stop log"),
        ("{ at: 1s, do: drain, what: node/worker-1 }", "at 1s: drain node/worker-1"),
        (
            r#"{ when: "chat-server 1 → 2", do: kill, what: chat-server/chat-server-7d9f-x2 }"#,
            "when chat-server 1 → 2: kill chat-server/chat-server-7d9f-x2",
        ),
        (
            r#"{ at: 10s, do: send, from: 1, payload: "brd:{token}:hello" }"#,
            "at 10s: client 1 sends brd:{token}:hello",
        ),
    ] {
        let action = read(text).unwrap();
        assert_eq!(action.to_string(), words);
        let written = serde_json::to_string(&action).unwrap();
        assert_eq!(read(&written).unwrap(), action, "{written}");
    }
}

#[test]
fn mistakes_are_named() {
    for (text, reason) in [
        ("{ at: 1s, do: stopp, what: kafka }", "did you mean `stop`?"),
        ("{ at: 1s, do: stop, what: kafak }", "did you mean `kafka`?"),
        ("{ at: 1s, do: stop }", "do: stop needs `what`"),
        ("{ at: 1s, do: stop, what: kafka, to: 3 }", "do: stop takes no `to`"),
        ("{ at: 1s, do: drain, what: tcp/tcp-0, for: 3s }", "takes no `for`"),
        ("{ at: 1s, do: add-nod }", "did you mean `add-node`?"),
        ("{ at: 1s, do: add-node, node: node-2 }", "do: add-node takes no `node`"),
        ("{ at: 1s, do: remove-node, what: tcp }", "do: remove-node takes no `what`"),
        ("{ at: 1s, do: scale, what: tcp/tcp-0, to: 3 }", "a service is scaled"),
        ("{ at: 1s, do: send, payload: x }", "do: send needs `from`"),
        ("{ at: 1s, do: send, from: 1, payload: '\\q' }", "is not an escape"),
        ("{ do: stop, what: kafka }", "an action has `at: TIME`"),
        ("{ at: 1s, when: ramp done, do: stop, what: kafka }", "an action has `at: TIME`"),
        ("{ at: 1s, after: 1s, do: stop, what: kafka }", "`after` counts from a `when`"),
        ("{ at: soon, do: stop, what: kafka }", "`soon` is not a duration"),
        ("{ at: 1s, do: kill, what: tcp/ }", "expected a service or part"),
        ("{ at: 1s, do: jion, users: 1 }", "did you mean `join`?"),
        ("{ at: 1s, do: join }", "do: join needs `users`"),
        ("{ at: 1s, do: join, users: 0 }", "`0` users do nothing"),
        ("{ at: 1s, do: join, users: many }", "`many` is not a whole number"),
        ("{ at: 1s, do: join, users: all }", "needs a number"),
        ("{ at: 1s, do: join, users: 2, of: ws }", "do: join takes no `of`"),
        ("{ at: 1s, do: leave, users: 2, rate: 5ms }", "do: leave takes no `rate`"),
        (
            "{ at: 1s, do: leave, users: 2, of: balncer/fullest }",
            "of: `balncer` is not a service or part; did you mean `balancer`?",
        ),
        ("{ at: 1s, do: leave, usr: 2 }", "did you mean users?"),
        (
            "{ at: 1s, do: leave, users: 2, of: ws/fulest }",
            "of: `ws/fulest` is not a replica; did you mean `fullest`?",
        ),
        (
            "{ at: 1s, do: kill, what: tcp/emptyest }",
            "what: `tcp/emptyest` is not a replica; did you mean `emptiest`?",
        ),
        ("{ at: 1s, do: drain, what: tcp/tpc-3 }", "did you mean `tcp-3`?"),
        (
            "{ at: 1s, do: drain, what: tcp/x }",
            "`tcp/x` is not a replica (there are: tcp/tcp-0 and so on, tcp/fullest, tcp/emptiest)",
        ),
        ("{ at: 1s, do: drain, what: Chat }", "what: `Chat` is not a service or part (there are: tcp,"),
        ("{ at: 1s, do: drain, what: chat- }", "what: `chat-` is not a service or part"),
        ("{ at: 1s, do: drain, what: chat-server/fulest }", "did you mean `fullest`?"),
        ("{ at: 1s, do: stop, what: kafka/kafka-0 }", "kafka is a part and has no replicas"),
        ("{ at: 1s, do: kill, what: gateway/fullest }", "as in gateway/node-0"),
        ("{ when: users joind, do: leave, users: 2 }", "did you mean `users joined`?"),
        ("{ at: 1s, do: drain, what: tcp, users: 2 }", "do: drain takes no `users`"),
        ("{ at: 1s, do: stop, what: gateway }", "stop `gateway`: clients come in through the gateways"),
        ("{ at: 1s, do: stop, what: gateway/node-0 }", "clients come in through the gateways"),
        ("{ at: 1s, do: stop, what: tcp/tcp-0 }", "stop `tcp/tcp-0`: only a service or a part is stopped"),
        ("{ at: 1s, do: stop, what: tcp/fullest }", "only a service or a part is stopped"),
        ("{ at: 1s, do: start, what: gateway }", "a gateway always runs"),
        ("{ at: 1s, do: start, what: tcp/fullest }", "start it by its name"),
        ("{ at: 1s, do: kill, what: gateway, restart: false }", "every node has a gateway"),
        ("{ at: 1s, do: kill, what: gateway/node-0, restart: false }", "every node has a gateway"),
        ("{ at: 1s, do: kill, what: kafka, restart: false }", "a part always starts again; stop ends it"),
        ("{ at: 1s, do: drain, what: kafka }", "drain `kafka`: only replicas and gateways drain"),
        ("{ at: 1s, do: scale, what: kafka, to: 3 }", "what: `kafka` is a part of the platform"),
        ("{ at: 1s, do: scale, what: gateway, to: 3 }", "what: `gateway` is a part of the platform"),
    ] {
        let error = read(text).expect_err(text);
        assert!(error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn what_a_platform_does_is_accepted() {
    for rest in [
        "stop, what: tcp",
        "start, what: tcp/tcp-0",
        "start, what: kafka",
        "kill, what: kafka",
        "kill, what: tcp/fullest, restart: false",
        "kill, what: gateway/node-0",
        "drain, what: gateway/node-0",
        "drain, what: gateway",
        "scale, what: balancer, to: 2",
    ] {
        let text = format!("{{ at: 1s, do: {rest} }}");
        read(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
}

#[test]
fn every_part_of_our_own_can_be_stopped_and_started() {
    for name in
        platform::PartKind::ALL.map(platform::PartKind::name).into_iter().filter(|name| *name != "etcd")
    {
        assert!(read(&format!("{{ at: 1s, do: stop, what: {name} }}")).is_ok(), "{name}");
        let back = format!("{{ when: {name} started, do: start, what: {name} }}");
        assert!(read(&back).is_ok(), "{name}");
    }
    let error = read("{ at: 1s, do: stop, what: etcd }").unwrap_err();
    assert!(error.contains("etcd01, etcd02, etcd03, cassandra, gateway"), "{error}");
}

#[test]
fn actions_that_cannot_happen_in_the_run_are_named() {
    let place = Place {
        length: Duration::from_mins(1),
        wait: Duration::from_secs(5),
        clients: 10,
        protocol: Protocol::Tcp,
        service: "tcp",
    };
    for (text, key) in [
        ("{ at: 61s, do: stop, what: kafka }", "at"),
        ("{ when: ramp done, after: 2m, do: stop, what: kafka }", "after"),
        ("{ when: load closed, after: 6s, do: stop, what: kafka }", "after"),
        (r#"{ when: "tcp 2 → 1", after: 66s, do: stop, what: kafka }"#, "after"),
        (r#"{ when: "tcp 2 → 1", after: 61s, do: send, from: 1, payload: x }"#, "after"),
        ("{ when: load closed, do: send, from: 1, payload: x }", "do"),
        ("{ when: load closed, do: join, users: 1 }", "do"),
        ("{ when: load closed, do: leave, users: 1 }", "do"),
        ("{ at: 1s, do: send, from: 11, payload: x }", "from"),
        ("{ at: 1s, do: send, from: 0, payload: x }", "from"),
        ("{ at: 1s, do: leave, users: 1, of: ws/fullest }", "of"),
        (r#"{ at: 1s, do: send, from: 1, payload: "brd:{token}:" }"#, "payload"),
        (r#"{ at: 1s, do: send, from: 1, payload: "brd:{tokn}:x" }"#, "payload"),
        (r#"{ at: 1s, do: send, from: 1, payload: WHO, answer: "servers: {conections}" }"#, "answer"),
    ] {
        assert_eq!(read(text).unwrap().check(&place).err().map(|wrong| wrong.key), Some(key), "{text}");
    }
    for text in [
        "{ at: 60s, do: stop, what: kafka }",
        "{ when: load closed, after: 5s, do: stop, what: kafka }",
        r#"{ when: "tcp 2 → 1", after: 65s, do: stop, what: kafka }"#,
    ] {
        assert!(read(text).unwrap().check(&place).is_ok(), "{text}");
    }
    let wrong = |text: &str| read(text).unwrap().check(&place).err().map(|wrong| wrong.expected);
    let expected = wrong(r#"{ at: 1s, do: send, from: 1, payload: "brd:{tokn}:x" }"#);
    assert_eq!(expected.as_deref(), Some("{token} instead of {tokn}; did you mean {token}?"));
    let braces =
        r#"{ at: 1s, do: send, from: 1, payload: '{"a": {}} \x7btokn}', answer: '{"n": {connections}}' }"#;
    assert_eq!(wrong(braces), None);
    let datagrams = Place { protocol: Protocol::Udp, ..place };
    for text in [
        "{ at: 1s, do: send, from: 1, payload: x }",
        "{ at: 1s, do: join, users: 1 }",
        "{ at: 1s, do: leave, users: 1 }",
    ] {
        let key = read(text).unwrap().check(&datagrams).err().map(|wrong| wrong.key);
        assert_eq!(key, Some("do"), "{text}");
    }
}
