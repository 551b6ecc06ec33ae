//! Passwords of servers that the platform starts: generated, and kept as long as the platform's folder.

use std::{io, path::Path};

use uuid::Uuid;

use crate::paths::{read_regular, write_private};

/// The password in this file, which is generated if it does not exist.
pub(crate) fn kept(path: &Path) -> io::Result<String> {
    match read_regular(path) {
        Ok(password) => Ok(String::from_utf8_lossy(&password).trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let password = Uuid::new_v4().simple().to_string();
            write_private(path, format!("{password}\n"))?;
            Ok(password)
        }
        Err(error) => Err(error),
    }
}
