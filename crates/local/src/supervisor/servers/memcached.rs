//! memcached, 64 MB of items.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{Launch, NotServing, Spec};

pub(super) fn launch(spec: &Spec) -> Launch {
    let mut words = vec!["-l".to_owned(), spec.ip.to_string(), "-p".to_owned(), spec.port.to_string()];
    // No UDP: it was used as an amplifier once, and nothing here uses it.
    words.extend(["-U", "0", "-m", "64", "-c", "4096"].map(str::to_owned));
    if rustix::process::geteuid().is_root() {
        // It requires a user name. Another user's process would lose the parent-death signal.
        words.extend(["-u", "root"].map(str::to_owned));
    }
    Launch {
        program: spec.found.executable.clone(),
        arguments: words.into_iter().map(Into::into).collect(),
        environment: Vec::new(),
        directory: None,
    }
}

pub(super) async fn ask(spec: &Spec) -> Result<(), NotServing> {
    let mut stream = TcpStream::connect(spec.address()).await?;
    stream.write_all(b"version\r\n").await?;
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).await?;
    if answer == *b"VERSION " {
        return Ok(());
    }
    let answer = format!("{:?}", String::from_utf8_lossy(&answer));
    Err(NotServing::Unexpected { question: "version", answer })
}
