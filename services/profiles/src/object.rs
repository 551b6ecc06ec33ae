//! The stored objects.

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};
use uuid::Uuid;

/// The two tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    Users,
    Profiles,
}

impl Table {
    /// The noun for one of its objects.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Users => "user",
            Self::Profiles => "profile",
        }
    }
}

/// A user or a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) id: Uuid,
    pub(crate) content: Content,
}

/// An object without its ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// A user's name. Older clients store users without one.
    Name(Option<Box<str>>),
    /// A profile's users, sorted and without duplicates.
    Users(Box<[Uuid]>),
}

impl Content {
    pub(crate) fn users(mut users: Vec<Uuid>) -> Self {
        users.sort_unstable();
        users.dedup();
        Self::Users(users.into())
    }

    pub(crate) fn table(&self) -> Table {
        match self {
            Self::Name(_) => Table::Users,
            Self::Users(_) => Table::Profiles,
        }
    }

    pub(crate) fn has_user(&self, user: Uuid) -> bool {
        matches!(self, Self::Users(users) if users.binary_search(&user).is_ok())
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("Object", 2)?;
        object.serialize_field("id", &self.id)?;
        match &self.content {
            Content::Name(name) => object.serialize_field("name", name)?,
            Content::Users(users) => object.serialize_field("users", users)?,
        }
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_have_the_form_clients_know() {
        let id = Uuid::from_u128(1);
        let text = |content| serde_json::to_string(&Object { id, content }).unwrap();
        let written = "00000000-0000-0000-0000-000000000001";
        assert_eq!(text(Content::Name(Some("Ann".into()))), format!(r#"{{"id":"{written}","name":"Ann"}}"#));
        assert_eq!(text(Content::Name(None)), format!(r#"{{"id":"{written}","name":null}}"#));
        let users = Content::users(vec![Uuid::max(), id, Uuid::max()]);
        assert!(users.has_user(id) && users.has_user(Uuid::max()) && !users.has_user(Uuid::nil()));
        assert_eq!(
            text(users),
            format!(r#"{{"id":"{written}","users":["{written}","ffffffff-ffff-ffff-ffff-ffffffffffff"]}}"#)
        );
    }
}
