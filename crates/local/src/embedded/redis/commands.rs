//! The commands on keys, and their answers.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use super::glob;
use super::resp::{self, Version};
use super::store::{Full, Life, Store};

/// Default number of keys per step of a scan.
const SCAN_COUNT: usize = 10;
/// Maximum number of keys per step.
const SCAN_COUNT_MAX: usize = 10_000;
/// Maximum length of a key and a pattern: matching costs the product of both, for every key.
const KEY_BYTES_MAX: usize = 512;
const PATTERN_BYTES_MAX: usize = 256;
/// Maximum size of one answer: a request can name a large value many times.
pub(super) const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longer than anything needs to live, and short enough to add to a clock.
const LIFE_MAX_MS: u64 = 1000 * 60 * 60 * 24 * 365 * 100;

const SYNTAX: &str = "ERR syntax error";
const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";

/// An error, in the words of the answer.
type Refusal = String;

/// How many arguments a command takes; `None`: there is no such command.
fn arity(name: &str) -> Option<RangeInclusive<usize>> {
    Some(match name {
        "PING" => 0..=1,
        "SELECT" | "GET" | "TTL" | "PTTL" | "KEYS" => 1..=1,
        "EXPIRE" | "PEXPIRE" | "PUBLISH" => 2..=2,
        "SETEX" | "PSETEX" => 3..=3,
        "MGET" | "DEL" | "UNLINK" | "EXISTS" | "SCAN" | "SUBSCRIBE" | "WATCH" => 1..=usize::MAX,
        "UNSUBSCRIBE" | "HELLO" => 0..=usize::MAX,
        "SET" => 2..=usize::MAX,
        "DBSIZE" | "MULTI" | "EXEC" | "DISCARD" | "UNWATCH" => 0..=0,
        _ => return None,
    })
}

/// Whether a command exists with this many arguments. `name` is in capitals.
pub(super) fn check(name: &str, arguments: &[&[u8]]) -> Result<(), Refusal> {
    match arity(name) {
        Some(arity) if arity.contains(&arguments.len()) => Ok(()),
        Some(_) => Err(wrong_number(name)),
        None => Err(format!(
            "ERR unknown command '{name}': this is playctl's embedded Redis, which has strings and messages only; use \
             `--with redis` for a real one"
        )),
    }
}

fn wrong_number(name: &str) -> Refusal {
    format!("ERR wrong number of arguments for '{}' command", name.to_lowercase())
}

/// The version that a `HELLO` asks for, if any. There are no passwords: the only user may have any, as with a real server
/// without one.
pub(super) fn hello(arguments: &[&[u8]]) -> Result<Option<Version>, Refusal> {
    let Some((version, mut options)) = arguments.split_first() else { return Ok(None) };
    let version = std::str::from_utf8(version).ok().and_then(|text| text.parse::<i64>().ok());
    let version = match version.ok_or("ERR Protocol version is not an integer or out of range")? {
        2 => Version::Two,
        3 => Version::Three,
        _ => return Err("NOPROTO unsupported protocol version".into()),
    };
    loop {
        options = match options {
            [] => return Ok(Some(version)),
            [option, user, _, rest @ ..] if option.eq_ignore_ascii_case(b"AUTH") => {
                if *user != b"default" {
                    return Err("WRONGPASS invalid username-password pair or user is disabled.".into());
                }
                rest
            }
            [option, _, rest @ ..] if option.eq_ignore_ascii_case(b"SETNAME") => rest,
            [option, ..] => {
                let option = String::from_utf8_lossy(&option[..option.len().min(64)]).into_owned();
                return Err(format!("ERR Syntax error in HELLO option '{option}'"));
            }
        };
    }
}

/// Answers a command. `name` is in capitals.
pub(super) fn run(
    name: &str,
    arguments: &[&[u8]],
    store: &mut Store,
    now: Instant,
    output: &mut Vec<u8>,
    version: Version,
) -> Result<(), Refusal> {
    check(name, arguments)?;
    store.expire(now);
    match (name, arguments) {
        ("PING", []) => resp::simple(output, "PONG"),
        ("PING", [text]) => resp::bulk(output, text),
        ("SELECT", [b"0"]) => resp::simple(output, "OK"),
        ("SELECT", [_]) => return Err("ERR DB index is out of range".into()),
        ("DBSIZE", []) => resp::integer(output, store.len() as i64),
        ("SET", [key, value, options @ ..]) => set(key, value, options, store, now, output, version)?,
        // Older spellings of the same.
        ("SETEX" | "PSETEX", [key, life, value]) => {
            let unit: &[u8] = if name == "SETEX" { b"EX" } else { b"PX" };
            let of_set = |refusal: Refusal| refusal.replace("'set'", &format!("'{}'", name.to_lowercase()));
            set(key, value, &[unit, life], store, now, output, version).map_err(of_set)?;
        }
        ("GET", [key]) => one(store.get(key), output, version),
        ("MGET", [_, ..]) => {
            let values: Vec<Option<&[u8]>> = arguments.iter().map(|key| store.get(key)).collect();
            check_size(values.iter().flatten())?;
            resp::array_of(output, values.len());
            for value in values {
                one(value, output, version);
            }
        }
        ("DEL" | "UNLINK", [_, ..]) => {
            let removed = arguments.iter().filter(|key| store.remove(key)).count();
            resp::integer(output, removed as i64);
        }
        ("EXISTS", [_, ..]) => {
            let present = arguments.iter().filter(|key| store.get(key).is_some()).count();
            resp::integer(output, present as i64);
        }
        ("EXPIRE", [key, seconds]) => expire(key, life(seconds, 1000)?, store, now, output),
        ("PEXPIRE", [key, milliseconds]) => expire(key, life(milliseconds, 1)?, store, now, output),
        // Rounded, as Redis does.
        ("TTL", [key]) => {
            resp::integer(
                output,
                time_to_live(store.life(key, now), |life| (life.as_millis() as i64 + 500) / 1000),
            );
        }
        ("PTTL", [key]) => {
            resp::integer(output, time_to_live(store.life(key, now), |life| life.as_millis() as i64));
        }
        ("SCAN", [cursor, options @ ..]) => scan(cursor, options, store, output)?,
        ("KEYS", [pattern]) => {
            check_pattern(pattern)?;
            let keys: Vec<&[u8]> =
                store.scan(0, usize::MAX).1.into_iter().filter(|key| glob::matches(pattern, key)).collect();
            check_size(&keys)?;
            resp::array_of(output, keys.len());
            for key in keys {
                resp::bulk(output, key);
            }
        }
        _ => return Err(wrong_number(name)),
    }
    Ok(())
}

/// Refuses an oversized answer before it is generated.
fn check_size<'a>(values: impl IntoIterator<Item = &'a &'a [u8]>) -> Result<(), Refusal> {
    let bytes: usize = values.into_iter().map(|value| value.len()).sum();
    if bytes > ANSWER_BYTES_MAX {
        return Err(format!(
            "ERR the answer would have {bytes} bytes, more than {ANSWER_BYTES_MAX}: ask for less"
        ));
    }
    Ok(())
}

fn check_pattern(pattern: &[u8]) -> Result<(), Refusal> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(format!("ERR a pattern has at most {PATTERN_BYTES_MAX} bytes here"));
    }
    Ok(())
}

fn one(value: Option<&[u8]>, output: &mut Vec<u8>, version: Version) {
    match value {
        Some(value) => resp::bulk(output, value),
        None => resp::nil(output, version),
    }
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A time to live, in units of this many milliseconds. Zero or less expires at once.
fn life(text: &[u8], unit_ms: u64) -> Result<Duration, Refusal> {
    let value: i64 =
        std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(NOT_AN_INTEGER)?;
    let milliseconds = u64::try_from(value).unwrap_or(0).saturating_mul(unit_ms);
    Ok(Duration::from_millis(milliseconds.min(LIFE_MAX_MS)))
}

/// Whether a key may have this name.
pub(super) fn is_key(key: &[u8]) -> bool {
    key.len() <= KEY_BYTES_MAX
}

fn set(
    key: &[u8],
    value: &[u8],
    options: &[&[u8]],
    store: &mut Store,
    now: Instant,
    output: &mut Vec<u8>,
    version: Version,
) -> Result<(), Refusal> {
    if !is_key(key) {
        return Err(format!("ERR a key has at most {KEY_BYTES_MAX} bytes here"));
    }
    let (mut expires, mut only_if) = (None, None);
    let mut rest = options;
    while let Some((option, after)) = rest.split_first() {
        rest = after;
        match option.to_ascii_uppercase().as_slice() {
            b"NX" if only_if.is_none() => only_if = Some(false),
            b"XX" if only_if.is_none() => only_if = Some(true),
            unit @ (b"EX" | b"PX") if expires.is_none() => {
                let (text, after) = rest.split_first().ok_or(SYNTAX)?;
                rest = after;
                let life = life(text, if unit == b"EX" { 1000 } else { 1 })?;
                if life.is_zero() {
                    return Err("ERR invalid expire time in 'set' command".into());
                }
                expires = Some(now + life);
            }
            _ => return Err(SYNTAX.into()),
        }
    }
    if only_if.is_some_and(|must_exist| store.get(key).is_some() != must_exist) {
        resp::nil(output, version);
        return Ok(());
    }
    match store.put(key, value, expires) {
        Ok(()) => resp::simple(output, "OK"),
        Err(Full) => return Err("OOM command not allowed when used memory > 'maxmemory'.".into()),
    }
    Ok(())
}

fn expire(key: &[u8], life: Duration, store: &mut Store, now: Instant, output: &mut Vec<u8>) {
    let exists = store.expire_at(key, now + life);
    resp::integer(output, exists.into());
    store.expire(now);
}

/// Redis' result: -2 without such a key, -1 for no expiry.
fn time_to_live(life: Life, count: impl Fn(Duration) -> i64) -> i64 {
    match life {
        Life::None => -2,
        Life::Forever => -1,
        Life::Lasts(life) => count(life),
    }
}

fn scan(cursor: &[u8], options: &[&[u8]], store: &Store, output: &mut Vec<u8>) -> Result<(), Refusal> {
    let cursor = number(cursor).ok_or("ERR invalid cursor")?;
    let (mut pattern, mut count) = (&b"*"[..], SCAN_COUNT);
    let pairs = options.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err(SYNTAX.into());
    }
    for pair in pairs {
        match pair[0].to_ascii_uppercase().as_slice() {
            b"MATCH" => pattern = pair[1],
            b"COUNT" => {
                let wanted = number(pair[1]).ok_or(NOT_AN_INTEGER)?;
                if wanted == 0 {
                    return Err(SYNTAX.into());
                }
                count = usize::try_from(wanted).unwrap_or(usize::MAX).min(SCAN_COUNT_MAX);
            }
            _ => return Err(SYNTAX.into()),
        }
    }
    check_pattern(pattern)?;
    let (next, mut keys) = store.scan(cursor, count);
    keys.retain(|key| glob::matches(pattern, key));
    resp::array_of(output, 2);
    resp::bulk(output, next.to_string().as_bytes());
    resp::array_of(output, keys.len());
    for key in keys {
        resp::bulk(output, key);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the commands in turn, all at `now`, and returns the answers.
    fn say(store: &mut Store, now: Instant, commands: &[&str]) -> Vec<String> {
        let answer = |command: &&str| {
            let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
            let mut output = Vec::new();
            let name = String::from_utf8_lossy(words[0]).to_uppercase();
            match run(&name, &words[1..], store, now, &mut output, Version::Two) {
                Ok(()) => String::from_utf8(output).unwrap().replace("\r\n", " ").trim_end().to_owned(),
                Err(refusal) => refusal,
            }
        };
        commands.iter().map(answer).collect()
    }

    #[test]
    fn a_key_expires() {
        let (mut store, now) = (Store::new(1 << 20), clock::now());
        say(&mut store, now, &["set k v px 100"]);
        assert_eq!(say(&mut store, now + Duration::from_millis(99), &["get k", "dbsize"]), ["$1 v", ":1"]);
        assert_eq!(say(&mut store, now + Duration::from_millis(100), &["dbsize", "get k"]), [":0", "$-1"]);
    }

    #[test]
    fn too_expensive_commands_are_refused_in_advance() {
        let (mut store, now) = (Store::new(64 << 20), clock::now());
        let value = "v".repeat(1 << 20);
        say(&mut store, now, &[&format!("set k {value}")]);
        let many = format!("mget{}", " k".repeat(17));
        for (command, words) in [
            (many, "ERR the answer would have 17825792 bytes"),
            (format!("set {} v", "k".repeat(513)), "ERR a key has at most 512 bytes"),
            (format!("keys {}", "*".repeat(257)), "ERR a pattern has at most 256 bytes"),
            (format!("scan 0 match {}", "*".repeat(257)), "ERR a pattern has at most 256 bytes"),
        ] {
            let answer = &say(&mut store, now, &[&command])[0];
            assert!(answer.starts_with(words), "{answer}");
        }
    }

    #[test]
    fn a_full_store_says_so() {
        let mut store = Store::new(400);
        assert_eq!(
            say(&mut store, clock::now(), &["set a 1", "set b 2", "set c 3"]),
            ["+OK", "+OK", "OOM command not allowed when used memory > 'maxmemory'."]
        );
    }
}
