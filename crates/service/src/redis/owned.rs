//! Keys whose value names their owner, modified only while they still belong to it.
//!
//! Reading and modifying is atomic for everybody else: the keys are watched (`WATCH`), so the transaction that modifies
//! them does nothing if one of them has changed since it was read. A watch is a property of a connection, so these
//! calls need a connection of their own.

use std::time::Duration;

use super::{Cmd, MultiplexedConnection, Pipeline, RedisResult};

/// Keys per step.
const BATCH: usize = 500;
/// After this many steps in which a key changed, each key is tried separately.
const TRIES: usize = 3;

/// A key and its expected owner.
pub type Owned<'a> = (&'a str, &'a str);

/// Refreshes the TTL of keys that belong to their owner, and returns which did.
///
/// # Errors
/// The connection is broken, or in an unknown state: it must not be used again.
pub async fn extend(
    connection: &mut MultiplexedConnection,
    keys: &[Owned<'_>],
    life: Duration,
) -> RedisResult<Vec<bool>> {
    let life_ms = life.as_millis() as u64;
    touch(connection, keys, |batch, key| _ = batch.cmd("PEXPIRE").arg(key).arg(life_ms)).await
}

/// Removes the keys that belong to their owner, and returns which did.
///
/// # Errors
/// Like [`extend`].
pub async fn remove(connection: &mut MultiplexedConnection, keys: &[Owned<'_>]) -> RedisResult<Vec<bool>> {
    touch(connection, keys, |batch, key| _ = batch.cmd("DEL").arg(key)).await
}

async fn touch(
    connection: &mut MultiplexedConnection,
    keys: &[Owned<'_>],
    command: impl Fn(&mut Pipeline, &str),
) -> RedisResult<Vec<bool>> {
    let mut touched = Vec::with_capacity(keys.len());
    for keys in keys.chunks(BATCH) {
        match attempt(connection, keys, &command).await? {
            Some(done) => touched.extend(done),
            None => {
                for key in keys.chunks(1) {
                    // A key that changes so often belongs to somebody else.
                    let done = attempt(connection, key, &command).await?;
                    touched.extend(done.unwrap_or_else(|| vec![false]));
                }
            }
        }
    }
    Ok(touched)
}

/// `None`: a key changed in each of a few tries.
async fn attempt(
    connection: &mut MultiplexedConnection,
    keys: &[Owned<'_>],
    command: &impl Fn(&mut Pipeline, &str),
) -> RedisResult<Option<Vec<bool>>> {
    let names: Vec<&str> = keys.iter().map(|(key, _)| *key).collect();
    for _ in 0..TRIES {
        let mut look = Pipeline::with_capacity(2);
        look.cmd("WATCH").arg(&names).ignore().cmd("MGET").arg(&names);
        let (values,): (Vec<Option<Vec<u8>>>,) = look.query_async(connection).await?;
        let belongs = |((_, owner), value): (&Owned<'_>, &Option<Vec<u8>>)| {
            value.as_deref().is_some_and(|value| value == owner.as_bytes())
        };
        let owned: Vec<bool> = keys.iter().zip(&values).map(belongs).collect();
        if !owned.contains(&true) {
            let mut unwatch = Cmd::new();
            unwatch.arg("UNWATCH").query_async::<()>(connection).await?;
            return Ok(Some(owned));
        }
        let mut act = Pipeline::with_capacity(keys.len());
        act.atomic();
        for (key, _) in names.iter().zip(&owned).filter(|(_, owned)| **owned) {
            command(&mut act, key);
        }
        if let Some(counts) = act.query_async::<Option<Vec<u64>>>(connection).await? {
            let mut counts = counts.into_iter();
            let touched = |owned: bool| owned && counts.next() == Some(1);
            return Ok(Some(owned.into_iter().map(touched).collect()));
        }
    }
    Ok(None)
}
