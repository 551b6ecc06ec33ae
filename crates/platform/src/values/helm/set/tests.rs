use serde_json::json;

use super::*;

fn typed_into(before: Value, text: &str) -> Result<Value, String> {
    let Value::Object(mut values) = before else { panic!("a table") };
    set(&mut values, text, Reading::Typed).map_err(|error| error.to_string())?;
    Ok(Value::Object(values))
}

fn made(text: &str) -> Value {
    typed_into(json!({}), text).unwrap()
}

fn refused(text: &str) -> String {
    typed_into(json!({}), text).unwrap_err()
}

#[test]
fn values_have_types() {
    assert_eq!(
        made("a=1,b=-5,c=TRUE,d=null,e=007,f=0,g=1.5,h=x y,i=5k"),
        json!({"a": 1, "b": -5, "c": true, "d": null, "e": "007", "f": 0, "g": "1.5", "h": "x y", "i": "5k"})
    );
}

#[test]
fn names_nest_and_keep_what_is_there() {
    assert_eq!(typed_into(json!({"a": {"x": 1}}), "a.b.c=2").unwrap(), json!({"a": {"x": 1, "b": {"c": 2}}}));
}

#[test]
fn escapes() {
    assert_eq!(made(r"a\.b=x\,y,c\=d=e\\f"), json!({"a.b": "x,y", "c=d": r"e\f"}));
}

#[test]
fn lists_and_indices() {
    assert_eq!(made("a={1,x,}"), json!({"a": [1, "x", ""]}));
    assert_eq!(made("a={1}b=2"), json!({"a": [1], "b": 2}), "Helm needs no comma after a list");
    assert_eq!(made("a[2]=x"), json!({"a": [null, null, "x"]}));
    assert_eq!(made("a[0].b=1,a[0].c=2,a[1][1]=3"), json!({"a": [{"b": 1, "c": 2}, [null, 3]]}));
    assert_eq!(typed_into(json!({"a": [1, 2]}), "a[1]=x").unwrap(), json!({"a": [1, "x"]}));
}

#[test]
fn a_text_that_ends_early_does_what_helm_does() {
    assert_eq!(made("a="), json!({"a": ""}));
    assert_eq!(made("a.b="), json!({"a": {"b": ""}}));
    assert_eq!(made("a[0]="), json!({"a": [""]}));
    assert_eq!(made("a[0].b="), json!({"a": []}));
    assert_eq!(typed_into(json!({"a": [{"x": 1}]}), "a[0].b=").unwrap(), json!({"a": [{"x": 1, "b": ""}]}));
    assert_eq!(made("a."), json!({}));
    assert_eq!(made("a[0]"), json!({"a": []}));
    assert_eq!(made(""), json!({}));
    assert_eq!(made("=x"), json!({}));
}

#[test]
fn what_cannot_be_is_refused() {
    assert_eq!(refused("a"), "key \"a\" has no value");
    assert_eq!(refused("a,b=1"), "key \"a\" has no value (cannot end with ,)");
    assert_eq!(refused("a={1,2"), "a list must end with }");
    assert_eq!(refused("a[-1]=x"), "expected an index from 0 to 65536, got \"-1\"");
    assert_eq!(refused("a[99999999]=x"), "expected an index from 0 to 65536, got \"99999999\"");
    assert_eq!(refused("a[0=x"), "index \"0=x\" has no ]");
    assert_eq!(refused("a[0]b=x"), "unexpected text after an index: \"b\"");
    assert_eq!(refused("a=1,a.b=2"), "a: expected a table to write into, got 1");
    assert_eq!(refused("a=1,a[0]=2"), "a: expected a list to write into, got 1");
    assert_eq!(refused(&format!("{}=1", vec!["a"; 40].join("."))), "names nested deeper than 30 levels");
}

#[test]
fn the_other_flags() {
    let mut values = Table::new();
    set(&mut values, "a=1,b=true,c={1,x}", Reading::Text).unwrap();
    set(&mut values, r#"d={"x":[1,2]} ,e=3,f="#, Reading::Json).unwrap();
    set(&mut values, r"g.h=a,b\.c={1}", Reading::Literal).unwrap();
    let mut content = |name: &str| Ok(format!("content of {name}"));
    set(&mut values, "i=one,j=two", Reading::File(&mut content)).unwrap();
    assert_eq!(
        Value::Object(values),
        json!({"a": "1", "b": "true", "c": ["1", "x"], "d": {"x": [1, 2]}, "e": 3, "f": null,
               "g": {"h": r"a,b\.c={1}"}, "i": "content of one", "j": "content of two"})
    );
    assert!(set(&mut Table::new(), "a={", Reading::Json).unwrap_err().to_string().starts_with("not JSON"));
    let mut missing = |name: &str| Err(format!("no file {name}"));
    let error = set(&mut Table::new(), "a=x", Reading::File(&mut missing)).unwrap_err();
    assert_eq!(error.to_string(), "no file x");
}

proptest::proptest! {
    #[test]
    fn any_text_is_taken_or_refused(text in r"[a-c0-9.,=\\\[\]{} \n\u{e9}-]{0,40}") {
        let mut values = Table::new();
        let _ = set(&mut values, &text, Reading::Typed);
        let _ = set(&mut values, &text, Reading::Json);
        let _ = set(&mut values, &text, Reading::Literal);
    }

    #[test]
    fn a_pair_is_found_where_it_was_put(
        path in proptest::collection::vec("[a-z]{1,4}", 1..6),
        value in "[a-z0-9,.=]{1,8}",
    ) {
        let escaped = value.replace(',', r"\,");
        let mut values = Table::new();
        set(&mut values, &format!("{}={escaped}", path.join(".")), Reading::Text).unwrap();
        let found = values.get(&path[0]).unwrap();
        let found = path[1..].iter().fold(found, |found, name| &found[name]);
        proptest::prop_assert_eq!(found, &Value::String(value));
    }
}
