//! What a scalar means: resolved as in go-yaml 2 (`resolve.go`), then turned into the JSON that Go writes.

use saphyr_parser::Tag;
use serde_json::{Number, Value};

/// The value of a scalar. `plain`: written without quotes and not as a block.
pub(crate) fn resolve(text: &str, plain: bool, tag: Option<&Tag>) -> Result<Value, String> {
    match tag {
        None if plain => implicit(text),
        Some(tag) if tag.is_yaml_core_schema() => tagged(text, &tag.suffix),
        // Go ignores tags that YAML does not define: the scalar stays text.
        None | Some(_) => Ok(Value::String(text.to_owned())),
    }
}

fn tagged(text: &str, tag: &str) -> Result<Value, String> {
    let value = match tag {
        "bool" | "int" | "float" | "null" | "timestamp" => implicit(text)?,
        "binary" => return Err("!!binary is not read; write the base64 as text".to_owned()),
        _ => return Ok(Value::String(text.to_owned())),
    };
    let fits = match (&value, tag) {
        (Value::Bool(_), "bool") | (Value::Null, "null") | (Value::Number(_), "float") => true,
        (Value::Number(number), "int") => !number.is_f64(),
        (Value::String(text), "timestamp") => looks_like_a_date(text),
        _ => false,
    };
    if fits { Ok(value) } else { Err(format!("{text} is not a !!{tag}")) }
}

fn implicit(text: &str) -> Result<Value, String> {
    Ok(match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Value::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Value::Bool(false)
        }
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf"
        | "-.Inf" | "-.INF" => {
            return Err(format!("{text} is not a number that JSON can hold; quote it if it is text"));
        }
        _ => number(text).unwrap_or_else(|| Value::String(text.to_owned())),
    })
}

fn number(text: &str) -> Option<Value> {
    if text.starts_with('.') {
        // Go's `ParseFloat`, which only allows underscores between digits.
        let is_digit = |piece: Option<char>| piece.is_some_and(|end| end.is_ascii_digit());
        let pieces: Vec<&str> = text.split('_').collect();
        let separates = pieces
            .windows(2)
            .all(|pair| is_digit(pair[0].chars().last()) && is_digit(pair[1].chars().next()));
        return if separates { float(&pieces.concat()) } else { None };
    }
    if !text.starts_with(|first: char| first.is_ascii_digit() || first == '+' || first == '-') {
        return None;
    }
    if looks_like_a_date(text) {
        return None;
    }
    let digits = text.replace('_', "");
    integer(&digits).or_else(|| float(&digits))
}

/// Go's `strconv.ParseInt(text, 0, 64)`, then `ParseUint`: the prefix names the base, a leading 0 is octal.
fn integer(text: &str) -> Option<Value> {
    let (negative, signed, digits) = match text.as_bytes().first()? {
        b'-' => (true, true, &text[1..]),
        b'+' => (false, true, &text[1..]),
        _ => (false, false, text),
    };
    let prefix = digits.get(..2).unwrap_or("").to_ascii_lowercase();
    let (base, digits) = match prefix.as_str() {
        "0x" => (16, &digits[2..]),
        "0o" => (8, &digits[2..]),
        "0b" => (2, &digits[2..]),
        _ if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, base).ok()?;
    if negative {
        return 0_i64.checked_sub_unsigned(magnitude).map(Value::from);
    }
    // Beyond the signed range Go only parses numbers without a sign.
    (!signed || i64::try_from(magnitude).is_ok()).then(|| Value::from(magnitude))
}

fn float(text: &str) -> Option<Value> {
    // Rust's parser also accepts `inf` and `nan`, which are strings in YAML.
    let plain = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
    let number: f64 = text.bytes().all(plain).then(|| text.parse().ok())??;
    // Go writes whole numbers without a fraction, so `1e3` fits where an integer is expected.
    let whole = number as i64;
    if number.fract() == 0.0 && number.abs() < 9.0e18 {
        return Some(Value::from(whole));
    }
    Number::from_f64(number).map(Value::Number)
}

/// `2026-11-21`, with or without a time: text, never a number.
fn looks_like_a_date(text: &str) -> bool {
    let year = text.bytes().take_while(u8::is_ascii_digit).count();
    year == 4 && text.as_bytes().get(4) == Some(&b'-')
}
