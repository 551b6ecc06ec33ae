//! Lists of any length: one JSON array, written page by page, so that it costs the memory of one page.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

use crate::metrics::Metrics;
use crate::object::Object;
use crate::repository::{Failure, Page, Repository, Select};

/// Number of objects on the first page: profiles may have a few users or thousands, which is unknown at first.
const PAGE_BEGIN: usize = 4;
const PAGE_MAX: usize = 500;
/// Target length of a page's text in bytes.
const PAGE_BYTES: usize = 128 * 1024;

/// The rest of a list.
struct Rest<R: Repository> {
    repository: Arc<R>,
    metrics: Arc<Metrics>,
    select: Select,
    /// Read but not written yet.
    page: Page<R::Place>,
    /// Number of objects on the next page.
    limit: usize,
    /// Whether an object was written.
    any: bool,
    /// Each page waits for its turn, so that clients who do not read do not block others.
    turns: Arc<Semaphore>,
    /// Bounds the number of pages kept for such clients.
    _place: OwnedSemaphorePermit,
}

/// An array of all selected objects. The caller has a turn; later pages take others. A failure after the start cuts the
/// answer off, so that nobody takes a part for the whole.
///
/// # Errors
/// The first page cannot be read.
pub(crate) async fn array<R: Repository>(
    repository: Arc<R>,
    metrics: Arc<Metrics>,
    select: Select,
    turns: Arc<Semaphore>,
    place: OwnedSemaphorePermit,
) -> Result<Body, Failure> {
    let limit = PAGE_BEGIN;
    let page = repository.page(select, None, limit).await?;
    let mut rest = Rest { repository, metrics, select, page, limit, any: false, turns, _place: place };
    let first = rest.write_page(b"[".to_vec());
    if rest.page.next.is_none() {
        return Ok(Body::from(first));
    }
    let begun = stream::once(std::future::ready(Ok(first)));
    let others = stream::try_unfold(rest, |mut rest| async {
        let text = rest.next().await?;
        Ok::<_, Failure>(text.map(|text| (text, rest)))
    });
    Ok(Body::from_stream(futures_util::StreamExt::chain(begun, others)))
}

impl<R: Repository> Rest<R> {
    /// The next piece of the array; `None`: it is complete.
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        // A page before the last may be empty, but a piece of a body may not.
        while let Some(place) = self.page.next.take() {
            // Bounded by the time that a page may take. Fails only if the semaphore is closed, which never happens.
            let turn = self.turns.acquire().await;
            let page = self.repository.page(self.select, Some(place), self.limit).await;
            drop(turn);
            self.page = match page {
                Ok(page) => page,
                Err(failure) => {
                    self.metrics.cut_off.inc();
                    warn!(%failure, "a list was cut off");
                    return Err(failure);
                }
            };
            let text = self.write_page(Vec::new());
            if !text.is_empty() {
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    /// Appends the page's objects to `text`, and the array's end if nothing follows.
    fn write_page(&mut self, mut text: Vec<u8>) -> Bytes {
        let count = self.page.objects.len();
        self.metrics.listed.inc_by(count as u64);
        for object in std::mem::take(&mut self.page.objects) {
            if std::mem::replace(&mut self.any, true) {
                text.push(b',');
            }
            write(&mut text, &object);
        }
        self.limit = next_limit(self.limit, count, text.len());
        if self.page.next.is_none() {
            text.push(b']');
        }
        text.into()
    }
}

/// The number of objects whose text has the target length if they are like the previous ones.
fn next_limit(limit: usize, objects: usize, bytes: usize) -> usize {
    if objects == 0 {
        return limit;
    }
    let fitting = PAGE_BYTES * objects / bytes.max(1);
    fitting.clamp(1, (limit * 2).min(PAGE_MAX))
}

/// An array of these objects.
pub(crate) fn array_of(objects: &[Object]) -> Vec<u8> {
    let mut text = b"[".to_vec();
    for (index, object) in objects.iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        write(&mut text, object);
    }
    text.push(b']');
    text
}

fn write(text: &mut Vec<u8>, object: &Object) {
    // An object always has a JSON form, and writing to a vector cannot fail.
    let _ = serde_json::to_writer(text, object);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_grow_while_objects_are_short_and_shrink_when_they_are_long() {
        let mut limit = PAGE_BEGIN;
        for expected in [8, 16, 32, 64, 128, 256, PAGE_MAX, PAGE_MAX] {
            limit = next_limit(limit, limit, limit * 70);
            assert_eq!(limit, expected);
        }
        limit = next_limit(limit, limit, limit * 390_000);
        assert_eq!(limit, 1, "one of the longest profiles");
        assert_eq!(next_limit(limit, 0, 0), 1, "an empty page says nothing about the next");
        assert_eq!(next_limit(64, 64, 64 * 4096), 32);
    }
}
