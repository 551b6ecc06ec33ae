//! The classic text commands (memcached's `doc/protocol.txt`).

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use super::{
    request::{BAD_FORMAT, TOO_LARGE, is_key, number, words},
    store::{Store, VALUE_MAX, expiry},
};

const NOT_A_NUMBER: &[u8] = b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n";

/// Runs one command; `data` is the block after a storage command.
pub(super) fn run(line: &[u8], data: &[u8], store: &mut Store, now: Instant, output: &mut Vec<u8>) {
    let words: Vec<&[u8]> = words(line).collect();
    let Some((command, arguments)) = words.split_first() else {
        output.extend_from_slice(b"ERROR\r\n");
        return;
    };
    let (arguments, quiet) = match arguments.split_last() {
        Some((&b"noreply", rest)) => (rest, true),
        _ => (arguments, false),
    };
    let answer = match *command {
        b"get" | b"gets" => {
            retrieve(arguments, *command == b"gets", None, store, now, output);
            return;
        }
        b"gat" | b"gats" => {
            match arguments.split_first().and_then(|(time, keys)| Some((number(time)?, keys))) {
                Some((time, keys)) => retrieve(keys, *command == b"gats", Some(time), store, now, output),
                None => output.extend_from_slice(BAD_FORMAT),
            }
            return;
        }
        b"stats" => {
            stats(store, output);
            return;
        }
        b"set" | b"add" | b"replace" | b"append" | b"prepend" | b"cas" => {
            set(command, arguments, data, store, now)
        }
        b"delete" => delete(arguments, store, now),
        b"incr" | b"decr" => count(*command == b"incr", arguments, store, now),
        b"touch" => touch(arguments, store, now),
        b"flush_all" => flush(arguments, store, now),
        b"version" => {
            concat!("VERSION 1.6.0-playctl-", env!("CARGO_PKG_VERSION"), "\r\n").as_bytes().to_vec()
        }
        b"verbosity" => b"OK\r\n".to_vec(),
        _ => b"ERROR\r\n".to_vec(),
    };
    if !quiet {
        output.extend_from_slice(&answer);
    }
}

fn retrieve(
    keys: &[&[u8]],
    with_cas: bool,
    touch: Option<i64>,
    store: &mut Store,
    now: Instant,
    output: &mut Vec<u8>,
) {
    if keys.is_empty() {
        output.extend_from_slice(b"ERROR\r\n");
        return;
    }
    if !keys.iter().all(|key| is_key(key)) {
        output.extend_from_slice(BAD_FORMAT);
        return;
    }
    for key in keys {
        store.counts.gets += 1;
        let Some(item) = store.get(key, now) else { continue };
        if let Some(time) = touch {
            item.expires = expiry(time, now);
        }
        output.extend_from_slice(b"VALUE ");
        output.extend_from_slice(key);
        write(output, format_args!(" {} {}", item.flags, item.value.len()));
        if with_cas {
            write(output, format_args!(" {}", item.cas));
        }
        output.extend_from_slice(b"\r\n");
        output.extend_from_slice(&item.value);
        output.extend_from_slice(b"\r\n");
        store.counts.hits += 1;
        store.touch(key, now);
    }
    output.extend_from_slice(b"END\r\n");
}

fn set(command: &[u8], arguments: &[&[u8]], data: &[u8], store: &mut Store, now: Instant) -> Vec<u8> {
    let wanted = if command == b"cas" { 5 } else { 4 };
    let (Some(key), Some(flags), Some(time)) = (
        arguments.first().filter(|key| is_key(key)),
        arguments.get(1).and_then(|word| number::<u32>(word)),
        arguments.get(2).and_then(|word| number::<i64>(word)),
    ) else {
        return BAD_FORMAT.to_vec();
    };
    if arguments.len() != wanted {
        return b"ERROR\r\n".to_vec();
    }
    store.counts.sets += 1;
    let found = store.get(key, now);
    let present = found.is_some();
    let stored = match command {
        b"set" => true,
        b"add" => !present,
        b"replace" => present,
        b"cas" => {
            let Some(cas) = number::<u64>(arguments[4]) else {
                return BAD_FORMAT.to_vec();
            };
            match found {
                None => return b"NOT_FOUND\r\n".to_vec(),
                Some(item) if item.cas != cas => return b"EXISTS\r\n".to_vec(),
                Some(_) => true,
            }
        }
        _ => {
            let Some(item) = found else {
                return b"NOT_STORED\r\n".to_vec();
            };
            let (first, second) =
                if command == b"append" { (&item.value[..], data) } else { (data, &item.value[..]) };
            let value = [first, second].concat();
            if value.len() > VALUE_MAX {
                return TOO_LARGE.to_vec();
            }
            store.change(key, value);
            return b"STORED\r\n".to_vec();
        }
    };
    if stored {
        store.put(key, data.to_vec(), flags, expiry(time, now), now);
        b"STORED\r\n".to_vec()
    } else {
        b"NOT_STORED\r\n".to_vec()
    }
}

fn delete(arguments: &[&[u8]], store: &mut Store, now: Instant) -> Vec<u8> {
    // A second argument, 0, is allowed for old clients.
    match arguments {
        [key] | [key, b"0"] if is_key(key) => {
            if store.get(key, now).is_some() && store.remove(key) {
                b"DELETED\r\n".to_vec()
            } else {
                b"NOT_FOUND\r\n".to_vec()
            }
        }
        _ => BAD_FORMAT.to_vec(),
    }
}

fn count(up: bool, arguments: &[&[u8]], store: &mut Store, now: Instant) -> Vec<u8> {
    let &[key, delta] = arguments else {
        return b"ERROR\r\n".to_vec();
    };
    let Some(delta) = number::<u64>(delta) else {
        return b"CLIENT_ERROR invalid numeric delta argument\r\n".to_vec();
    };
    let Some(item) = store.get(key, now) else {
        return b"NOT_FOUND\r\n".to_vec();
    };
    let Some(value) = number::<u64>(&item.value) else {
        return NOT_A_NUMBER.to_vec();
    };
    // As in memcached: up wraps, down stops at zero.
    let value = if up { value.wrapping_add(delta) } else { value.saturating_sub(delta) };
    store.change(key, value.to_string().into_bytes());
    format!("{value}\r\n").into_bytes()
}

fn touch(arguments: &[&[u8]], store: &mut Store, now: Instant) -> Vec<u8> {
    let &[key, time] = arguments else {
        return b"ERROR\r\n".to_vec();
    };
    let Some(time) = number::<i64>(time) else {
        return b"CLIENT_ERROR invalid exptime argument\r\n".to_vec();
    };
    match store.get(key, now) {
        Some(item) => {
            item.expires = expiry(time, now);
            store.touch(key, now);
            b"TOUCHED\r\n".to_vec()
        }
        None => b"NOT_FOUND\r\n".to_vec(),
    }
}

fn flush(arguments: &[&[u8]], store: &mut Store, now: Instant) -> Vec<u8> {
    match arguments {
        [] | [b"0"] => store.clear(),
        [delay] => match number::<u32>(delay) {
            Some(delay) => store.expire_all(now + Duration::from_secs(delay.into())),
            None => return BAD_FORMAT.to_vec(),
        },
        _ => return b"ERROR\r\n".to_vec(),
    }
    b"OK\r\n".to_vec()
}

fn stats(store: &Store, output: &mut Vec<u8>) {
    let counts = store.counts;
    let all = [
        ("pid", u64::from(std::process::id())),
        ("curr_connections", counts.connections),
        ("total_connections", counts.connections_total),
        ("cmd_get", counts.gets),
        ("cmd_set", counts.sets),
        ("get_hits", counts.hits),
        ("get_misses", counts.gets - counts.hits),
        ("evictions", counts.evictions),
        ("curr_items", store.len() as u64),
        ("bytes", store.bytes() as u64),
        ("limit_maxbytes", store.bytes_max() as u64),
    ];
    for (name, value) in all {
        write(output, format_args!("STAT {name} {value}\r\n"));
    }
    output.extend_from_slice(b"END\r\n");
}

fn write(output: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    output.write_fmt(text).expect("a Vec takes everything");
}
