//! The commands (memcached's `doc/protocol.txt`).

use std::{io::Write as _, str::FromStr, time::Instant};

use super::store::{Item, Store, expiry, remaining};

/// Maximum length of a value, as in memcached.
pub(super) const VALUE_MAX: usize = 1024 * 1024;
const KEY_MAX: usize = 250;
/// Maximum size of an answer to one command: a line of keys may name a large value many times.
const ANSWER_MAX: usize = 4 * VALUE_MAX;

const BAD_FORMAT: &[u8] = b"CLIENT_ERROR bad command line format\r\n";
const TOO_LARGE: &[u8] = b"SERVER_ERROR object too large for cache\r\n";

/// The data that follows a command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Data {
    /// The number of bytes before a line end; `None`: no data.
    Wanted(Option<usize>),
    /// Bytes and a line end to discard; answered by this.
    Refused(usize, &'static [u8]),
    /// The start of the next command is unknown; answered by this, and the connection is closed.
    Lost(&'static [u8]),
}

/// Parses a command line.
pub(super) fn data_after(line: &[u8]) -> Data {
    let mut words = words(line);
    let place = match words.next() {
        Some(b"set" | b"cas") => 3,
        Some(b"ms") => 1,
        _ => return Data::Wanted(None),
    };
    match words.nth(place).and_then(number::<usize>) {
        None => Data::Lost(BAD_FORMAT),
        Some(size @ ..=VALUE_MAX) => Data::Wanted(Some(size)),
        // Up to this much is skipped; beyond it, nobody means well.
        Some(size) if size <= 16 * VALUE_MAX => Data::Refused(size, TOO_LARGE),
        Some(_) => Data::Lost(TOO_LARGE),
    }
}

/// Runs one command; `data` is the block after `set` and `ms`. Returns whether the conversation continues.
pub(super) fn run(line: &[u8], data: &[u8], store: &mut Store, now: Instant, output: &mut Vec<u8>) -> bool {
    let mut words: Vec<&[u8]> = words(line).collect();
    let quiet = words.pop_if(|word| *word == b"noreply").is_some();
    let (name, arguments) = words.split_first().map_or((&b""[..], &[][..]), |(name, rest)| (*name, rest));
    let answer: &[u8] = match name {
        b"quit" => return false,
        b"get" | b"gets" => {
            get(arguments, name == b"gets", store, now, output);
            return true;
        }
        b"stats" => {
            let (items, bytes, bytes_max) = store.size();
            let items = format_args!("STAT curr_items {items}\r\nSTAT bytes {bytes}\r\n");
            let _ = write!(output, "{items}STAT limit_maxbytes {bytes_max}\r\nEND\r\n");
            return true;
        }
        b"mg" | b"ms" | b"md" => {
            meta(name, arguments, data, store, now, output);
            return true;
        }
        b"mn" => b"MN\r\n",
        b"set" => set(arguments, data, store, now),
        b"cas" => cas(arguments, data, store, now),
        b"delete" => match arguments {
            [key] if is_key(key) && store.remove(key, now) => b"DELETED\r\n",
            [key] if is_key(key) => b"NOT_FOUND\r\n",
            _ => BAD_FORMAT,
        },
        b"version" => concat!("VERSION 1.6.0-playctl-", env!("CARGO_PKG_VERSION"), "\r\n").as_bytes(),
        _ => b"ERROR\r\n",
    };
    if !quiet {
        output.extend_from_slice(answer);
    }
    true
}

/// With what `cas` needs, if `for_cas`.
fn get(keys: &[&[u8]], for_cas: bool, store: &mut Store, now: Instant, output: &mut Vec<u8>) {
    if keys.is_empty() || !keys.iter().all(|key| is_key(key)) {
        output.extend_from_slice(if keys.is_empty() { b"ERROR\r\n" } else { BAD_FORMAT });
        return;
    }
    let begin = output.len();
    for key in keys {
        let Some(item) = store.get(key, now) else { continue };
        if output.len() - begin + item.value.len() > ANSWER_MAX {
            output.truncate(begin);
            output.extend_from_slice(b"SERVER_ERROR out of memory writing get response\r\n");
            return;
        }
        output.extend_from_slice(&[b"VALUE ", *key].concat());
        let _ = write!(output, " {} {}", item.flags, item.value.len());
        if for_cas {
            let _ = write!(output, " {}", item.unique);
        }
        output.extend_from_slice(b"\r\n");
        output.extend_from_slice(&item.value);
        output.extend_from_slice(b"\r\n");
    }
    output.extend_from_slice(b"END\r\n");
}

fn set(arguments: &[&[u8]], data: &[u8], store: &mut Store, now: Instant) -> &'static [u8] {
    let [key, flags, time, _size] = arguments else { return b"ERROR\r\n" };
    let (Some(flags), Some(time)) = (number(flags), number(time)) else { return BAD_FORMAT };
    if !is_key(key) {
        return BAD_FORMAT;
    }
    store.put(key, Item::new(data, flags, expiry(time, now)));
    b"STORED\r\n"
}

/// Like `set`, if the item is still the one that `gets` has shown.
fn cas(arguments: &[&[u8]], data: &[u8], store: &mut Store, now: Instant) -> &'static [u8] {
    let [key, .., unique] = arguments else { return b"ERROR\r\n" };
    let (5, Some(unique)) = (arguments.len(), number::<u64>(unique)) else { return BAD_FORMAT };
    match store.get(key, now) {
        None => b"NOT_FOUND\r\n",
        Some(item) if item.unique != unique => b"EXISTS\r\n",
        Some(_) => set(&arguments[..4], data, store, now),
    }
}

/// `mg KEY FLAGS`, `ms KEY SIZE FLAGS`, `md KEY FLAGS`: an answer is a code and the flags that return something, in the
/// order of the request. With `q`, the expected outcome is not answered.
fn meta(
    name: &[u8],
    arguments: &[&[u8]],
    data: &[u8],
    store: &mut Store,
    now: Instant,
    output: &mut Vec<u8>,
) {
    let flags = arguments.get(if name == b"ms" { 2 } else { 1 }..).unwrap_or_default();
    let known: &[u8] = match name {
        b"mg" => b"qkOvfst",
        b"ms" => b"qkOFT",
        _ => b"qkO",
    };
    let Some(key) = arguments.first().filter(|key| is_key(key)) else {
        output.extend_from_slice(BAD_FORMAT);
        return;
    };
    if let Some(flag) = flags.iter().find(|flag| !known.contains(&flag[0])) {
        let (name, flag) = (name.escape_ascii(), flag[..1].escape_ascii());
        let _ =
            write!(output, "CLIENT_ERROR {name}: the embedded memcached does not know the flag {flag}\r\n");
        return;
    }
    let token = |wanted: u8| flags.iter().find(|flag| flag[0] == wanted).map(|flag| &flag[1..]);
    let has = |wanted| token(wanted).is_some();
    let mut found = None;
    let code: &[u8] = match name {
        b"mg" => {
            found = store.get(key, now);
            if found.is_some() { b"HD" } else { b"EN" }
        }
        b"ms" => {
            let (of_item, time) = (number(token(b'F').unwrap_or(b"0")), number(token(b'T').unwrap_or(b"0")));
            let (Some(flags), Some(time)) = (of_item, time) else {
                output.extend_from_slice(BAD_FORMAT);
                return;
            };
            store.put(key, Item::new(data, flags, expiry(time, now)));
            b"HD"
        }
        _ if store.remove(key, now) => b"HD",
        _ => b"NF",
    };
    let expected = if name == b"mg" { found.is_none() } else { true };
    if has(b'q') && expected {
        return;
    }
    let value = found.map(|item| &item.value).filter(|_| has(b'v'));
    match value {
        Some(value) => _ = write!(output, "VA {}", value.len()),
        None => output.extend_from_slice(code),
    }
    for flag in flags {
        // Opaque and key are returned even with a miss, as newer servers do.
        let _ = match (flag[0], found) {
            (b'O', _) => output.write_all(&[b" ", *flag].concat()),
            (b'k', _) => output.write_all(&[b" k", *key].concat()),
            (b'f', Some(item)) => write!(output, " f{}", item.flags),
            (b's', Some(item)) => write!(output, " s{}", item.value.len()),
            (b't', Some(item)) => write!(output, " t{}", remaining(item, now)),
            _ => Ok(()),
        };
    }
    output.extend_from_slice(b"\r\n");
    if let Some(value) = value {
        output.extend_from_slice(value);
        output.extend_from_slice(b"\r\n");
    }
}

fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b' ').filter(|word| !word.is_empty())
}

fn number<T: FromStr>(word: &[u8]) -> Option<T> {
    str::from_utf8(word).ok()?.parse().ok()
}

fn is_key(word: &[u8]) -> bool {
    (1..=KEY_MAX).contains(&word.len()) && word.iter().all(|byte| *byte > b' ' && *byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_storage_commands_are_followed_by_data() {
        assert_eq!(data_after(b"get a"), Data::Wanted(None));
        assert_eq!(data_after(b"set a 0 0 5"), Data::Wanted(Some(5)));
        assert_eq!(data_after(b"cas a 0 0 5 7"), Data::Wanted(Some(5)));
        assert_eq!(data_after(b"ms a 5 T10"), Data::Wanted(Some(5)));
        assert_eq!(data_after(b"ms a x"), Data::Lost(BAD_FORMAT));
        assert_eq!(data_after(b"set a 0 0"), Data::Lost(BAD_FORMAT));
        assert_eq!(data_after(b"set a 0 0 2000000"), Data::Refused(2_000_000, TOO_LARGE));
        assert_eq!(data_after(b"set a 0 0 99999999999"), Data::Lost(TOO_LARGE));
        assert_eq!(data_after(b"set a 0 0 -1"), Data::Lost(BAD_FORMAT));
    }
}
