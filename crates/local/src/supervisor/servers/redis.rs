//! Redis: 64 MB, its writes in an append-only file, behind a generated password.

use std::{io, path::Path};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

use super::{Launch, NotServing, Spec};
use crate::{paths::write_private, supervisor::password};

const CONFIG: &str = "redis.conf";
/// Bytes of two answers; longer ones are truncated.
const ANSWERS_MAX: u64 = 512;

/// The password of the server with this folder.
pub(super) fn password(folder: &Path) -> io::Result<String> {
    password::kept(&folder.join("password"))
}

pub(super) fn prepare(spec: &Spec, folder: &Path) -> io::Result<Launch> {
    // In a file, since others can read command lines.
    write_private(&folder.join(CONFIG), config(spec, &password(folder)?))?;
    Ok(Launch {
        program: spec.found.executable.clone(),
        arguments: vec![CONFIG.into()],
        environment: Vec::new(),
        directory: Some(folder.to_owned()),
    })
}

fn config(spec: &Spec, password: &str) -> String {
    format!(
        "\
bind {}
port {}
requirepass {password}
dir .
save \"\"
appendonly yes
maxmemory 64mb
maxmemory-policy noeviction
maxclients 1024
",
        spec.ip, spec.port
    )
}

/// Until it has read its file, it answers that it is loading.
pub(super) async fn ask(spec: &Spec) -> Result<(), NotServing> {
    let mut stream = TcpStream::connect(spec.address()).await?;
    let password = password(&spec.folder)?;
    stream.write_all(format!("AUTH {password}\r\nPING\r\n").as_bytes()).await?;
    let mut answers = BufReader::new(stream.take(ANSWERS_MAX));
    for (question, expected) in [("AUTH", "+OK"), ("PING", "+PONG")] {
        let mut answer = String::new();
        answers.read_line(&mut answer).await?;
        if answer.trim() != expected {
            return Err(NotServing::Unexpected { question, answer: format!("{:?}", answer.trim()) });
        }
    }
    Ok(())
}
