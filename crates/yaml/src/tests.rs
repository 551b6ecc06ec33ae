use serde::Deserialize;
use serde_json::json;

use super::*;

fn values(text: &str) -> Value {
    read("", text).unwrap().value
}

fn refused(text: &str) -> String {
    read("f.yaml", text).unwrap_err().to_string()
}

#[test]
fn aliases_and_merges() {
    let text = "
base: &base {x: 1, z: 2}
copy: *base
under: {<<: *base, z: 3}
over:
  z: 3
  <<: *base
both: {<<: [{x: 7}, *base]}
";
    let document = read("f.yaml", text).unwrap();
    let values = &document.value;
    assert_eq!(values["copy"], json!({"x": 1, "z": 2}));
    assert_eq!(values["under"], json!({"x": 1, "z": 3}));
    assert_eq!(values["over"], json!({"x": 1, "z": 2}), "go-yaml 2 lets a later << win");
    assert_eq!(values["both"], json!({"x": 7, "z": 2}));
    // Merged values have the position of the merge.
    assert_eq!(document.position("over.z"), Some(Position { line: 5, column: 1 }));
    assert_eq!(document.position("under.z"), Some(Position { line: 4, column: 20 }));
}

#[test]
fn keys_and_items_have_positions() {
    let document = read("f.yaml", "a:\n  b: 1\n  c:\n    - x\n    - d: 2\n  e.f:\n    g[0]: 3\n").unwrap();
    for (path, line, column) in [
        ("a.b", 2, 3),
        ("a.c[0]", 4, 7),
        ("a.c[1].d", 5, 7),
        ("a.c[1].nowhere", 5, 7),
        ("a.e.f.g[0]", 7, 5),
        ("nowhere", 1, 1),
    ] {
        assert_eq!(document.position(path), Some(Position { line, column }), "{path}");
    }
    assert_eq!(document.marks.get("a.nowhere"), None);
    assert!(document.marks.get("a.c[1]").is_some());
    let anywhere = Marks::of(&json!({"a": [{"b": 1}]}));
    assert!(anywhere.get("a[0].b").is_some_and(|marks| marks.position().is_none()));
}

#[test]
fn long_keys_and_deep_nesting_take_little_memory() {
    // With a path per value this would be 10^10 bytes.
    let key = "k".repeat(900);
    let mut lines: Vec<String> = (0..90).map(|depth| " ".repeat(depth) + &key + ":").collect();
    lines.push(format!("{}[{}]", " ".repeat(90), "1,".repeat(100_000)));
    let text = lines.join("\n");
    let document = read("", &text).unwrap();
    let path = vec![key; 90].join(".");
    assert_eq!(document.position(&format!("{path}[5]")).unwrap().line, 91);
}

#[test]
fn several_documents() {
    let documents = read_all("f.yaml", "a: 1\n---\n# nothing\n---\nb: &b 2\nc: *b\n...\n").unwrap();
    assert_eq!(
        documents.iter().map(|one| &one.value).collect::<Vec<_>>(),
        [&json!({"a": 1}), &json!({"b": 2, "c": 2})]
    );
    assert!(read_all("", "a: &a 1\n---\nb: *a").is_err(), "an anchor lives as long as its document");
    assert_eq!(refused("a: 1\n---\nb: 2"), "f.yaml:3:1: a second document begins here; this file holds one");
}

#[test]
fn mistakes_are_named_where_they_are() {
    for (text, expected) in [
        ("a: 1\na: 2\n", "f.yaml:2:1: the key a is given twice"),
        ("a: .inf", "f.yaml:1:4: .inf is not a number that JSON can hold; quote it if it is text"),
        ("a: !!int x", "f.yaml:1:4: x is not a !!int"),
        (
            "a: {{ .Values.x }}\n",
            "f.yaml:1:5: expected a name as key, got a mapping; quote it, or render the file first if this is a template \
             (helm template)",
        ),
        ("? [a]\n: 1\n", "f.yaml:1:3: expected a name as key, got a list; quote it"),
        ("a:\n\tb: 1", "f.yaml:2:1: a tab indents this line; YAML takes spaces only"),
        ("a:\n  b: 1\n  \tc: 1", "f.yaml:3:3: a tab indents this line; YAML takes spaces only"),
        ("# x\n\ta: 1", "f.yaml:2:1: a tab indents this line; YAML takes spaces only"),
        ("a: \"x\u{7}\"", "f.yaml:1:6: the character U+0007 is not allowed in YAML"),
        ("a: &a [*a]", "f.yaml:1:8: "),
        ("<<: 5", "f.yaml:1:5: << merges mappings, got 5"),
    ] {
        let error = refused(text);
        assert!(error.starts_with(expected), "{text:?}: {error}");
    }
    assert!(refused("a: [1, 2").contains(": not YAML: "));
}

#[test]
fn tabs_outside_indentation_are_blanks() {
    assert_eq!(values("a:\tx\nb:\t \tw # c\nc: z\t\n"), json!({"a": "x", "b": "w", "c": "z"}));
    assert_eq!(values("{\n\t\"a\": \"x\\ty\",\n\t\"b\": [\n\t\t1]\n}"), json!({"a": "x\ty", "b": [1]}));
}

#[test]
fn encodings_are_named() {
    let decoded = |bytes: &[u8]| decode("f.yaml", bytes.to_vec()).map_err(|error| error.to_string());
    assert_eq!(decoded(b"a: 1"), Ok("a: 1".to_owned()));
    let utf_16 = Err("f.yaml: the text is UTF-16; save it as UTF-8".to_owned());
    assert_eq!(decoded(b"\xff\xfea\0:\0 \x001\0"), utf_16);
    assert_eq!(decoded(b"\xfe\xff\0a\0:\0 \x001"), utf_16);
    assert_eq!(decoded(b"a\0:\0 \x001\0"), utf_16);
    assert_eq!(decoded(b"\0a\0:\0 \x001"), utf_16);
    let latin = decoded(b"a: 1\n# caf\xe9").unwrap_err();
    assert!(latin.starts_with("f.yaml:2:6: the byte 0xe9 is not UTF-8 (the text may be Latin-1"), "{latin}");
    assert_eq!(values(&decoded(b"\xef\xbb\xbfa: 1").unwrap()), json!({"a": 1}));
}

#[test]
fn bombs_and_depth_are_bounded() {
    assert!(refused(&format!("a: {}1{}", "[".repeat(200), "]".repeat(200))).contains("nested deeper"));
    let mut bomb = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n".to_owned();
    for level in 1..9 {
        let below = format!("*a{},", level - 1).repeat(10);
        bomb = format!("{bomb}a{level}: &a{level} [{below}]\n");
    }
    assert!(refused(&bomb).contains("aliases repeat more than"));
    // Long texts count more than short ones.
    let texts = format!("a: &a {}\nb: [{}]", "x".repeat(100_000), "*a,".repeat(10_000));
    assert!(refused(&texts).contains("aliases repeat more than"));
    // Nested anchors keep a copy each.
    let nested = format!("a: {}[{}]{}", "&a [".repeat(90), "1,".repeat(10_000), "]".repeat(90));
    assert!(refused(&nested).contains("aliases repeat more than"));
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Outer {
    name: String,
    #[serde(default)]
    max_replicas: i32,
    #[serde(default)]
    ports: Vec<u16>,
    #[serde(default)]
    kind: Kind,
    inner: Option<Inner>,
    #[serde(default)]
    ratio: f64,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
enum Kind {
    #[default]
    First,
    Second,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Inner {
    open: bool,
}

#[test]
fn null_is_absent() {
    let outer: Outer =
        from_str("name: a\nmaxReplicas:\nports: ~\nkind: null\ninner:\nratio: 1\nx-anchors: {any: thing}")
            .unwrap();
    assert_eq!(
        outer,
        Outer {
            name: "a".to_owned(),
            max_replicas: 0,
            ports: Vec::new(),
            kind: Kind::First,
            inner: None,
            ratio: 1.0
        }
    );
    assert_eq!(from_str::<Outer>("{name: a, kind: Second, inner: {open: on}}").unwrap().kind, Kind::Second);
}

#[test]
fn type_errors_are_explained_with_their_position() {
    let error = |text: &str| read("f.yaml", text).unwrap().typed::<Outer>().unwrap_err().to_string();
    for (text, expected) in [
        ("nam: 1", "f.yaml:1:1: nam: unknown key; did you mean name?"),
        ("name: x\nmaxReplica: 1", "f.yaml:2:1: maxReplica: unknown key; did you mean maxReplicas?"),
        (
            "name: x\nzzz:",
            "f.yaml:2:1: zzz: unknown key; known here: inner, kind, maxReplicas, name, ports, ratio",
        ),
        ("name: x\ninner: {x-a: 1}", "f.yaml:2:9: inner.x-a: unknown key; known here: open"),
        ("kind: First", "f.yaml:1:1: the key name is missing"),
        ("", "f.yaml: the key name is missing"),
        ("name: x\ninner: {}", "f.yaml:2:1: inner: the key open is missing"),
        (
            "name: x\ninner: [{open: yes}]",
            "f.yaml:2:1: inner: expected a mapping of keys to values, got a list",
        ),
        ("name: 5", "f.yaml:1:1: name: expected text in quotes, got 5"),
        ("name: yes", "f.yaml:1:1: name: expected text in quotes, got true"),
        ("name: [x]", "f.yaml:1:1: name: expected text, got a list"),
        (
            "name: x\nports:\n- 1\n- 70000",
            "f.yaml:4:3: ports[1]: expected a whole number from 0 to 65535, got 70000",
        ),
        ("name: x\nports: 1", "f.yaml:2:1: ports: expected a list, got 1"),
        (
            "name: x\nmaxReplicas: 1.5",
            "f.yaml:2:1: maxReplicas: expected a whole number from -2147483648 to 2147483647, got 1.5",
        ),
        (
            "name: x\nmaxReplicas: 1e12",
            "maxReplicas: expected a whole number from -2147483648 to 2147483647, got 1000000000000",
        ),
        (
            "name: x\nmaxReplicas: '3'",
            "maxReplicas: expected a whole number from -2147483648 to 2147483647, got \"3\"",
        ),
        ("name: x\nkind: Third", "f.yaml:2:1: kind: expected one of First, Second, got \"Third\""),
        ("name: x\nkind: {a: b}", "kind: expected one of First, Second, got a mapping"),
        ("name: x\ninner: {open: 1}", "f.yaml:2:9: inner.open: expected true or false, got 1"),
        ("name: x\nratio: much", "ratio: expected a number, got \"much\""),
        ("[1]", "expected a mapping of keys to values, got a list"),
        ("5", "expected a mapping of keys to values, got 5"),
    ] {
        let error = error(text);
        assert!(error.ends_with(expected), "{text:?}: {error}");
        for rust in ["struct ", "enum ", "i32", "u16", "f64", "variant", "invalid type", "Option"] {
            assert!(!error.contains(rust), "{error}");
        }
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[-a-c1 \\n\\t:{}\\[\\],&*'\"<|>#?!.]{0,60}") {
        if let Ok(documents) = read_all("f", &text) {
            for document in documents {
                let _ = document.typed::<Outer>();
            }
        }
    }
}
