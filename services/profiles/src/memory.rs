//! Users and profiles in memory, for a machine without Cassandra.

use std::collections::BTreeMap;
use std::ops::Bound;

use parking_lot::RwLock;
use uuid::Uuid;

use crate::object::{Content, Object, Table};
use crate::repository::{Failure, Page, Repository, Select};

/// Approximate overhead of an object in addition to its name or users.
const OBJECT_BYTES: usize = 96;
/// Maximum number of objects examined for one page, so that a search with few matches does not hold up others.
const LOOKS_MAX: usize = 10_000;
/// Maximum memory for the objects of one page.
const PAGE_BYTES_MAX: usize = 256 * 1024;
const MEGABYTE: usize = 1024 * 1024;

/// Bounded by the memory of its objects.
#[derive(Debug)]
pub(crate) struct Memory {
    tables: RwLock<Tables>,
    megabytes: usize,
}

#[derive(Debug, Default)]
struct Tables {
    users: BTreeMap<Uuid, Content>,
    profiles: BTreeMap<Uuid, Content>,
    bytes: usize,
}

impl Tables {
    fn of(&self, table: Table) -> &BTreeMap<Uuid, Content> {
        match table {
            Table::Users => &self.users,
            Table::Profiles => &self.profiles,
        }
    }

    fn of_mut(&mut self, table: Table) -> &mut BTreeMap<Uuid, Content> {
        match table {
            Table::Users => &mut self.users,
            Table::Profiles => &mut self.profiles,
        }
    }
}

fn cost(content: &Content) -> usize {
    OBJECT_BYTES
        + match content {
            Content::Name(name) => name.as_ref().map_or(0, |name| name.len()),
            Content::Users(users) => size_of_val::<[Uuid]>(users),
        }
}

impl Memory {
    pub(crate) fn new(megabytes: usize) -> Self {
        Self { tables: RwLock::default(), megabytes }
    }

    fn store(&self, object: &Object) -> Result<(), Failure> {
        let mut tables = self.tables.write();
        let table = object.content.table();
        let freed = tables.of(table).get(&object.id).map_or(0, cost);
        let bytes = tables.bytes - freed + cost(&object.content);
        // Shrinking an object is always allowed.
        if bytes > tables.bytes && bytes > self.megabytes.saturating_mul(MEGABYTE) {
            return Err(Failure::Full { megabytes: self.megabytes });
        }
        tables.bytes = bytes;
        tables.of_mut(table).insert(object.id, object.content.clone());
        Ok(())
    }

    fn find(&self, select: Select, after: Option<Uuid>, limit: usize) -> Page<Uuid> {
        let after = match select {
            Select::After(_, id) => after.or(Some(id)),
            Select::All(_) | Select::OfUser(_) => after,
        };
        let begin = after.map_or(Bound::Unbounded, Bound::Excluded);
        let tables = self.tables.read();
        let mut rest = tables.of(select.table()).range((begin, Bound::Unbounded));
        let mut page = Page { objects: Vec::new(), next: None };
        let mut bytes = 0;
        for (id, content) in rest.by_ref().take(LOOKS_MAX) {
            page.next = Some(*id);
            if !matches!(select, Select::OfUser(user) if !content.has_user(user)) {
                bytes += cost(content);
                page.objects.push(Object { id: *id, content: content.clone() });
            }
            if page.objects.len() >= limit || bytes >= PAGE_BYTES_MAX {
                break;
            }
        }
        page.next = page.next.filter(|_| rest.next().is_some());
        page
    }
}

impl Repository for Memory {
    /// The ID of the last object on the previous page.
    type Place = Uuid;

    async fn get(&self, table: Table, id: Uuid) -> Result<Option<Object>, Failure> {
        let content = self.tables.read().of(table).get(&id).cloned();
        Ok(content.map(|content| Object { id, content }))
    }

    async fn put(&self, object: &Object) -> Result<(), Failure> {
        self.store(object)
    }

    async fn remove(&self, table: Table, id: Uuid) -> Result<(), Failure> {
        let mut tables = self.tables.write();
        if let Some(content) = tables.of_mut(table).remove(&id) {
            tables.bytes -= cost(&content);
        }
        Ok(())
    }

    async fn clear(&self, table: Table) -> Result<(), Failure> {
        let mut tables = self.tables.write();
        let dropped = std::mem::take(tables.of_mut(table));
        tables.bytes -= dropped.values().map(cost).sum::<usize>();
        Ok(())
    }

    async fn page(&self, select: Select, from: Option<Uuid>, limit: usize) -> Result<Page<Uuid>, Failure> {
        Ok(self.find(select, from, limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: u128, name: &str) -> Object {
        Object { id: Uuid::from_u128(id), content: Content::Name(Some(name.into())) }
    }

    fn profile(id: u128, users: &[u128]) -> Object {
        let users = users.iter().map(|id| Uuid::from_u128(*id)).collect();
        Object { id: Uuid::from_u128(id), content: Content::users(users) }
    }

    /// All IDs of a list, read in pages of `limit`.
    fn ids(memory: &Memory, select: Select, limit: usize) -> Vec<u128> {
        let (mut ids, mut from) = (Vec::new(), None);
        loop {
            let page = memory.find(select, from, limit);
            assert!(page.objects.len() <= limit);
            ids.extend(page.objects.iter().map(|object| object.id.as_u128()));
            match page.next {
                Some(next) => from = Some(next),
                None => return ids,
            }
        }
    }

    #[test]
    fn pages_of_every_size_make_the_same_list() {
        let memory = Memory::new(1);
        for id in 1..=7 {
            memory.store(&profile(id, &[id, 3, 100])).unwrap();
        }
        let users = Select::OfUser(Uuid::from_u128(3));
        let of_one = Select::OfUser(Uuid::from_u128(5));
        for limit in 1..=9 {
            assert_eq!(ids(&memory, Select::All(Table::Profiles), limit), [1, 2, 3, 4, 5, 6, 7]);
            assert_eq!(ids(&memory, Select::After(Table::Profiles, Uuid::from_u128(4)), limit), [5, 6, 7]);
            assert_eq!(ids(&memory, users, limit), [1, 2, 3, 4, 5, 6, 7]);
            assert_eq!(ids(&memory, of_one, limit), [5]);
            assert!(ids(&memory, Select::All(Table::Users), limit).is_empty());
        }
    }

    #[test]
    fn an_unsuccessful_search_stops_after_a_number_of_looks_and_resumes_there() {
        let memory = Memory::new(100);
        let last = LOOKS_MAX as u128 + 5;
        for id in 1..=last {
            memory.store(&profile(id, &[id])).unwrap();
        }
        let of_last = Select::OfUser(Uuid::from_u128(last));
        let first = memory.find(of_last, None, 10);
        assert!(first.objects.is_empty());
        assert_eq!(first.next, Some(Uuid::from_u128(LOOKS_MAX as u128)));
        assert_eq!(ids(&memory, of_last, 10), [last]);
    }

    #[tokio::test]
    async fn removed_entries_make_room() {
        let memory = Memory::new(1);
        let name = "x".repeat(MEGABYTE / 2 - OBJECT_BYTES);
        let large = |id| user(id, &name);
        memory.put(&large(1)).await.unwrap();
        memory.put(&large(2)).await.unwrap();
        let full = memory.put(&large(3)).await.unwrap_err();
        assert_eq!(full.to_string(), "the memory for users and profiles is full (1 MB)");
        memory.put(&large(2)).await.unwrap();
        memory.put(&user(2, "short")).await.unwrap();
        assert!(memory.put(&large(3)).await.is_err());
        memory.remove(Table::Users, Uuid::from_u128(1)).await.unwrap();
        memory.remove(Table::Users, Uuid::from_u128(1)).await.unwrap();
        memory.put(&large(3)).await.unwrap();
        memory.clear(Table::Profiles).await.unwrap();
        assert!(memory.get(Table::Users, Uuid::from_u128(3)).await.unwrap().is_some());
        memory.clear(Table::Users).await.unwrap();
        assert_eq!(memory.tables.read().bytes, 0);
    }
}
