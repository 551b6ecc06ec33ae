//! The storage of users and profiles.

use uuid::Uuid;

use crate::object::{Object, Table};

/// Why a read or write failed.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    /// It is unknown whether a write took effect. Clients need not know more; the reason is in the log.
    #[error("the database does not answer, or not in time")]
    Away,
    /// There is no room for another object.
    #[error("the memory for users and profiles is full ({megabytes} MB)")]
    Full { megabytes: usize },
}

/// Which objects to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Select {
    All(Table),
    /// The objects after the one with this ID, in the repository's own order. That object need not exist any more.
    After(Table, Uuid),
    /// The profiles that contain this user.
    OfUser(Uuid),
}

impl Select {
    pub(crate) fn table(self) -> Table {
        match self {
            Self::All(table) | Self::After(table, _) => table,
            Self::OfUser(_) => Table::Profiles,
        }
    }
}

/// A page of a list.
#[derive(Debug)]
pub(crate) struct Page<P> {
    /// May be empty even before the list's end.
    pub(crate) objects: Vec<Object>,
    /// The start of the next page.
    pub(crate) next: Option<P>,
}

/// Every write is idempotent.
pub(crate) trait Repository: Send + Sync + 'static {
    /// A place within a list.
    type Place: Send + 'static;

    fn get(&self, table: Table, id: Uuid) -> impl Future<Output = Result<Option<Object>, Failure>> + Send;

    /// Stores an object, replacing one with the same ID.
    fn put(&self, object: &Object) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Removes an object if it exists.
    fn remove(&self, table: Table, id: Uuid) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Removes all objects of a table.
    fn clear(&self, table: Table) -> impl Future<Output = Result<(), Failure>> + Send;

    /// At most `limit` objects of a list, from its start or from the end of the previous page.
    fn page(
        &self,
        select: Select,
        from: Option<Self::Place>,
        limit: usize,
    ) -> impl Future<Output = Result<Page<Self::Place>, Failure>> + Send;
}
