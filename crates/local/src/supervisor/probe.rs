//! One readiness check.

use std::{net::SocketAddr, time::Duration};

use controller::ProbeFailure;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use uuid::Uuid;

use crate::http;

/// For querying a server's own UUID.
const IDENTITY_TIMEOUT: Duration = Duration::from_millis(500);

/// `GET path` on an admin port.
pub(crate) async fn look(admin: SocketAddr, path: &str, timeout: Duration) -> Result<(), ProbeFailure> {
    match http::get(admin, path, timeout).await {
        Ok(answer) if (200..400).contains(&answer.status) => Ok(()),
        Ok(answer) => {
            let line = answer.body.lines().next().unwrap_or_default().to_owned();
            Err(ProbeFailure::Answered { status: answer.status, line })
        }
        Err(error) => Err(ProbeFailure::NoAnswer { error: error.to_string() }),
    }
}

/// Asks a server for its UUID with the command `WHERE`; a service that does not know it says nothing or something else.
pub(crate) async fn identity(address: SocketAddr) -> Option<Uuid> {
    let ask = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(b"WHERE").await.ok()?;
        let mut answer = [0; 36];
        stream.read_exact(&mut answer).await.ok()?;
        Uuid::try_parse_ascii(&answer).ok()
    };
    tokio::time::timeout(IDENTITY_TIMEOUT, ask).await.ok().flatten()
}
