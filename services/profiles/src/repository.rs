//! Where users and profiles are kept.

use uuid::Uuid;

use crate::object::{Object, Table};

/// Why something was not read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Failure {
    /// Whether a write was carried out is not known. Clients need not know more; the reason is in the log.
    #[error("the database does not answer, or not in time")]
    Away,
    /// There is no room for one more.
    #[error("the memory for users and profiles is full ({megabytes} MB)")]
    Full { megabytes: usize },
}

/// Which objects are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Select {
    All(Table),
    /// The objects that come after the one with this id, in the repository's own order. It need not be there any more.
    After(Table, Uuid),
    /// The profiles that have this user.
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

/// A part of a list.
#[derive(Debug)]
pub(crate) struct Page<P> {
    /// There may be none even before the list's end.
    pub(crate) objects: Vec<Object>,
    /// Where the next part begins.
    pub(crate) next: Option<P>,
}

/// Every write may be repeated: it leaves what it left the first time.
pub(crate) trait Repository: Send + Sync + 'static {
    /// A place within a list.
    type Place: Send + 'static;

    fn get(&self, table: Table, id: Uuid) -> impl Future<Output = Result<Option<Object>, Failure>> + Send;

    /// Stores an object, in place of one with its id.
    fn put(&self, object: &Object) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Removes an object, if it is there.
    fn remove(&self, table: Table, id: Uuid) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Removes all objects of a table.
    fn clear(&self, table: Table) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Some objects of a list, `limit` at most, from its beginning or from where the page before ended.
    fn page(
        &self,
        select: Select,
        from: Option<Self::Place>,
        limit: usize,
    ) -> impl Future<Output = Result<Page<Self::Place>, Failure>> + Send;
}
