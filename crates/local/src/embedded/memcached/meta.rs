//! The meta commands (`mg ms md ma mn me`; memcached's `doc/protocol.txt`, "Meta Commands").
//!
//! A command names a key and flags; an answer is a code and those flags that return something, in the order in which
//! they were given. With `q` the expected outcome is not answered.

mod command;

use std::{io::Write as _, time::Instant};

use command::{Command, Refused};

use super::{
    request::{BAD_FORMAT, TOO_LARGE, number, words},
    store::{Item, Store, VALUE_MAX, expiry},
};

pub(super) fn run(line: &[u8], data: &[u8], store: &mut Store, now: Instant, output: &mut Vec<u8>) {
    let mut words = words(line);
    let name = words.next().unwrap_or_default();
    if name == b"mn" {
        output.extend_from_slice(b"MN\r\n");
        return;
    }
    let Some(command) = Command::parse(words, name == b"ms") else {
        output.extend_from_slice(BAD_FORMAT);
        return;
    };
    let mut answer = Vec::new();
    let done = match name {
        b"mg" => get(&command, store, now, &mut answer),
        b"ms" => set(&command, data, store, now, &mut answer),
        b"md" => delete(&command, store, now, &mut answer),
        b"ma" => arithmetic(&command, store, now, &mut answer),
        _ => {
            debug(&command, store, now, &mut answer);
            Ok(())
        }
    };
    if let Err(Refused(error)) = done {
        output.extend_from_slice(error);
        return;
    }
    let quiet = match name {
        // A quiet get says nothing of a miss, quiet others nothing of what was to be expected.
        b"mg" => answer.starts_with(b"EN"),
        b"md" | b"ma" => answer.starts_with(b"HD") || answer.starts_with(b"NF"),
        _ => answer.starts_with(b"HD"),
    };
    if !(command.has(b'q') && quiet) {
        output.extend_from_slice(&answer);
    }
}

fn get(command: &Command<'_>, store: &mut Store, now: Instant, answer: &mut Vec<u8>) -> Result<(), Refused> {
    let vivify: Option<i64> = command.number(b'N')?;
    let touch: Option<i64> = command.number(b'T')?;
    let recache: Option<i64> = command.number(b'R')?;
    let unless: Option<u64> = command.number(b'C')?;
    let new_cas: Option<u64> = command.number(b'E')?;
    let key = &command.key;
    store.counts.gets += 1;
    let mut winner = false;
    if store.get(key, now).is_none() {
        let Some(time) = vivify else {
            // Newer servers return opaque and key of a miss too, and clients rest on it.
            command.answer(b"EN", answer);
            return Ok(());
        };
        // An empty item stands in until the one who asked has made it.
        store.put(key, Vec::new(), 0, expiry(time, now), now);
        winner = true;
    } else {
        store.counts.hits += 1;
    }
    let Some(item) = store.get(key, now) else {
        return Err(Refused(b"SERVER_ERROR out of memory storing object\r\n"));
    };
    if let Some(time) = touch {
        item.expires = expiry(time, now);
    }
    if let Some(cas) = new_cas {
        item.cas = cas;
    }
    let mut lease = Vec::new();
    let due = recache.is_some_and(|below| remaining(item, now).is_some_and(|left| left < below));
    if item.won {
        lease.extend_from_slice(b" Z");
    }
    if item.stale {
        lease.extend_from_slice(b" X");
    }
    if winner || !item.won && (item.stale || due) {
        item.won = true;
        lease.extend_from_slice(b" W");
    }
    let with_value = command.has(b'v') && unless.is_none_or(|cas| cas != item.cas);
    let head = if with_value { format!("VA {}", item.value.len()) } else { "HD".to_owned() };
    answer.extend_from_slice(head.as_bytes());
    for (flag, token) in &command.flags {
        match flag {
            b't' => write(answer, format_args!(" t{}", remaining(item, now).unwrap_or(-1))),
            b'l' => {
                write(answer, format_args!(" l{}", now.saturating_duration_since(item.accessed).as_secs()));
            }
            b'h' => write(answer, format_args!(" h{}", u8::from(item.fetched))),
            _ => returned(command, item, *flag, token, answer),
        }
    }
    answer.extend_from_slice(&lease);
    answer.extend_from_slice(b"\r\n");
    if with_value {
        answer.extend_from_slice(&item.value);
        answer.extend_from_slice(b"\r\n");
    }
    if !command.has(b'u') {
        store.touch(key, now);
    }
    Ok(())
}

fn set(
    command: &Command<'_>,
    data: &[u8],
    store: &mut Store,
    now: Instant,
    answer: &mut Vec<u8>,
) -> Result<(), Refused> {
    let time: i64 = command.number(b'T')?.unwrap_or(0);
    let vivify: Option<i64> = command.number(b'N')?;
    let flags: u32 = command.number(b'F')?.unwrap_or(0);
    let compare: Option<u64> = command.number(b'C')?;
    let new_cas: Option<u64> = command.number(b'E')?;
    let mode =
        command.token(b'M').map_or(b'S', |token| token.first().copied().unwrap_or(b' ').to_ascii_uppercase());
    let key = &command.key;
    store.counts.sets += 1;
    let found = store.get(key, now).map(|item| item.cas);
    let mut stale = false;
    match (compare, found) {
        (Some(_), None) => {
            command.answer(b"NF", answer);
            return Ok(());
        }
        (Some(compare), Some(cas)) if compare != cas => {
            // With I an older writer may still store, but what it stores is out of date.
            if !(command.has(b'I') && compare < cas) {
                command.answer(b"EX", answer);
                return Ok(());
            }
            stale = true;
        }
        _ => {}
    }
    let joined = match (mode, store.get(key, now)) {
        (b'S', _) | (b'E', None) | (b'R', Some(_)) => None,
        (b'A', Some(item)) => Some([&item.value[..], data].concat()),
        (b'P', Some(item)) => Some([data, &item.value[..]].concat()),
        (b'A' | b'P', None) if vivify.is_some() => None,
        (b'E', Some(_)) | (b'R' | b'A' | b'P', None) => {
            command.answer(b"NS", answer);
            return Ok(());
        }
        _ => return Err(Refused(b"CLIENT_ERROR invalid mode for ms\r\n")),
    };
    match joined {
        Some(value) if value.len() > VALUE_MAX => return Err(Refused(TOO_LARGE)),
        Some(value) => {
            store.change(key, value);
        }
        None => {
            let time = if matches!(mode, b'A' | b'P') { vivify.unwrap_or(0) } else { time };
            store.put(key, data.to_vec(), flags, expiry(time, now), now);
        }
    }
    // Evicted at once if it alone is more than there may be.
    let Some(item) = store.get(key, now) else {
        command.answer(b"HD", answer);
        return Ok(());
    };
    item.stale = stale;
    if let Some(cas) = new_cas {
        item.cas = cas;
    }
    head_and_flags(b"HD", command, item, answer);
    Ok(())
}

fn delete(
    command: &Command<'_>,
    store: &mut Store,
    now: Instant,
    answer: &mut Vec<u8>,
) -> Result<(), Refused> {
    let compare: Option<u64> = command.number(b'C')?;
    let new_cas: Option<u64> = command.number(b'E')?;
    let touch: Option<i64> = command.number(b'T')?;
    let fresh_cas = store.next_cas();
    let Some(item) = store.get(&command.key, now) else {
        command.answer(b"NF", answer);
        return Ok(());
    };
    if compare.is_some_and(|cas| cas != item.cas) {
        command.answer(b"EX", answer);
        return Ok(());
    }
    if command.has(b'I') || command.has(b'x') {
        if command.has(b'I') {
            (item.stale, item.won) = (true, false);
            if let Some(time) = touch {
                item.expires = expiry(time, now);
            }
        }
        item.cas = new_cas.unwrap_or(fresh_cas);
        if command.has(b'x') {
            item.flags = 0;
            let cas = item.cas;
            store.change(&command.key, Vec::new());
            if let Some(item) = store.get(&command.key, now) {
                item.cas = cas;
            }
        }
    } else {
        store.remove(&command.key);
    }
    command.answer(b"HD", answer);
    Ok(())
}

fn arithmetic(
    command: &Command<'_>,
    store: &mut Store,
    now: Instant,
    answer: &mut Vec<u8>,
) -> Result<(), Refused> {
    let delta: u64 = command.number(b'D')?.unwrap_or(1);
    let initial: u64 = command.number(b'J')?.unwrap_or(0);
    let vivify: Option<i64> = command.number(b'N')?;
    let touch: Option<i64> = command.number(b'T')?;
    let compare: Option<u64> = command.number(b'C')?;
    let new_cas: Option<u64> = command.number(b'E')?;
    let up = match command.token(b'M') {
        None | Some(b"I" | b"i" | b"+") => true,
        Some(b"D" | b"d" | b"-") => false,
        Some(_) => return Err(Refused(b"CLIENT_ERROR invalid mode for ma\r\n")),
    };
    let key = &command.key;
    match store.get(key, now) {
        None => {
            let Some(time) = vivify else {
                command.answer(b"NF", answer);
                return Ok(());
            };
            store.put(key, initial.to_string().into_bytes(), 0, expiry(time, now), now);
        }
        Some(item) if compare.is_some_and(|cas| cas != item.cas) => {
            command.answer(b"EX", answer);
            return Ok(());
        }
        Some(item) => {
            let Some(value) = number::<u64>(&item.value) else {
                return Err(Refused(b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"));
            };
            let value = if up { value.wrapping_add(delta) } else { value.saturating_sub(delta) };
            store.change(key, value.to_string().into_bytes());
        }
    }
    let Some(item) = store.get(key, now) else {
        command.answer(b"NS", answer);
        return Ok(());
    };
    if let Some(time) = touch {
        item.expires = expiry(time, now);
    }
    if let Some(cas) = new_cas {
        item.cas = cas;
    }
    if command.has(b'v') {
        head_and_flags(format!("VA {}", item.value.len()).as_bytes(), command, item, answer);
        answer.extend_from_slice(&item.value);
        answer.extend_from_slice(b"\r\n");
    } else {
        head_and_flags(b"HD", command, item, answer);
    }
    Ok(())
}

fn debug(command: &Command<'_>, store: &mut Store, now: Instant, answer: &mut Vec<u8>) {
    let Some(item) = store.get(&command.key, now) else {
        answer.extend_from_slice(b"EN\r\n");
        return;
    };
    answer.extend_from_slice(b"ME ");
    answer.extend_from_slice(command.key_text);
    let left = remaining(item, now).unwrap_or(-1);
    let accessed = now.saturating_duration_since(item.accessed).as_secs();
    let fetched = if item.fetched { "yes" } else { "no" };
    let (cas, size) = (item.cas, item.value.len());
    write(answer, format_args!(" exp={left} la={accessed} cas={cas} fetch={fetched} cls=1 size={size}\r\n"));
}

/// Seconds until it expires; `None`: never.
fn remaining(item: &Item, now: Instant) -> Option<i64> {
    let left = item.expires?.saturating_duration_since(now);
    i64::try_from(left.as_secs_f64().ceil() as u64).ok()
}

fn head_and_flags(head: &[u8], command: &Command<'_>, item: &Item, answer: &mut Vec<u8>) {
    answer.extend_from_slice(head);
    for (flag, token) in &command.flags {
        match flag {
            b't' => write(answer, format_args!(" t{}", remaining(item, Instant::now()).unwrap_or(-1))),
            _ => returned(command, item, *flag, token, answer),
        }
    }
    answer.extend_from_slice(b"\r\n");
}

/// Flags that return a property of the item.
fn returned(command: &Command<'_>, item: &Item, flag: u8, token: &[u8], answer: &mut Vec<u8>) {
    match flag {
        b'c' => write(answer, format_args!(" c{}", item.cas)),
        b'f' => write(answer, format_args!(" f{}", item.flags)),
        b's' => write(answer, format_args!(" s{}", item.value.len())),
        _ => command.echo(answer, flag, token),
    }
}

fn write(output: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    output.write_fmt(text).expect("a Vec takes everything");
}
