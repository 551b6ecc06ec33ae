//! The IDs in an address: `/stream/USER/PROFILE/`.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

/// A malformed ID in an address.
#[derive(Debug)]
pub(crate) struct NoUuid(&'static str);

impl IntoResponse for NoUuid {
    fn into_response(self) -> Response {
        let text =
            format!("{} is not a UUID; expected one such as 0f8fad5b-d9cb-469f-a165-70867728950e\n", self.0);
        (StatusCode::BAD_REQUEST, text).into_response()
    }
}

/// A user's and a profile's ID, in canonical form.
pub(crate) fn ids((user, profile): &(String, String)) -> Result<(Uuid, Uuid), NoUuid> {
    let id = |name, text: &str| {
        // The library parses other formats too, but none of them has 36 characters.
        (text.len() == 36).then(|| Uuid::try_parse(text).ok()).flatten().ok_or(NoUuid(name))
    };
    Ok((id("userId", user)?, id("profileId", profile)?))
}
