use serde_json::json;

use super::*;

fn values(text: &str) -> Value {
    Value::Object(parse(text).unwrap().values)
}

fn refused(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn plain_scalars_follow_yaml_1_1() {
    let text =
        "{a: yes, b: Off, c: n, d: 0755, e: 0x1F, f: 1_000, g: 0b101, h: ~, i: 08, j: -0x10, k: .5, l: 1e3}";
    assert_eq!(
        values(text),
        json!({"a": true, "b": false, "c": false, "d": 493, "e": 31, "f": 1000, "g": 5, "h": null, "i": 8.0,
               "j": -16, "k": 0.5, "l": 1000.0})
    );
}

#[test]
fn what_only_looks_like_a_number_or_a_boolean_stays_text() {
    let text = "{a: 'yes', b: \"0755\", c: 2026-11-21, d: 1.2.3, e: 10m, f: 5k, g: yEs, h: '', i: +, k: 0x}";
    assert_eq!(
        values(text),
        json!({"a": "yes", "b": "0755", "c": "2026-11-21", "d": "1.2.3", "e": "10m", "f": "5k", "g": "yEs",
               "h": "", "i": "+", "k": "0x"})
    );
}

#[test]
fn keys_are_texts() {
    assert_eq!(values("{1: a, yes: b, 'no': c}"), json!({"1": "a", "true": "b", "no": "c"}));
}

#[test]
fn tags_decide() {
    assert_eq!(values("{a: !!str 12, b: !!float 12, c: !mine 12}"), json!({"a": "12", "b": 12, "c": "12"}));
    assert_eq!(refused("a: !!int x"), "1:4: x is not a !!int");
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
    let values = values(text);
    assert_eq!(values["copy"], json!({"x": 1, "z": 2}));
    assert_eq!(values["under"], json!({"x": 1, "z": 3}));
    assert_eq!(values["over"], json!({"x": 1, "z": 2}), "go-yaml 2 lets a later << win");
    assert_eq!(values["both"], json!({"x": 7, "z": 2}));
}

#[test]
fn lines_are_known() {
    let document = parse("a:\n  b: 1\n  c:\n    - x\n    - d: 2\n").unwrap();
    assert_eq!(document.lines["a.b"], 2);
    assert_eq!(document.lines["a.c[1].d"], 5);
}

#[test]
fn nothing_is_an_empty_mapping() {
    for text in ["", "# only a comment\n", "---\n", "null", "{}"] {
        assert_eq!(parse(text).unwrap().values, Map::new(), "{text:?}");
    }
}

#[test]
fn what_helm_would_misread_silently_is_refused() {
    assert_eq!(refused("a: 1\na: 2\n"), "2:1: the key a is given twice");
    assert!(refused("a: 1\n---\nb: 2\n").contains("a second document"));
    assert!(refused("- a\n").contains("expected a mapping of keys to values at the top, got a list"));
    assert!(refused("a: .inf").contains("is no number"));
    assert!(refused("? [a]\n: 1\n").contains("expected a name as key"));
}

#[test]
fn rubbish_and_bombs_are_errors() {
    assert!(refused("a: [1, 2").starts_with("2:1:") || refused("a: [1, 2").starts_with("1:"));
    assert!(refused(&format!("a: {}1{}", "[".repeat(200), "]".repeat(200))).contains("nested deeper"));
    let mut bomb = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n".to_owned();
    for level in 1..9 {
        let below = format!("*a{},", level - 1).repeat(10);
        bomb = format!("{bomb}a{level}: &a{level} [{below}]\n");
    }
    assert!(refused(&bomb).contains("with those that aliases repeat"));
}
