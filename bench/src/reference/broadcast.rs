//! A bare loop of sends.

use std::{
    io::{self, BufRead, Write},
    net::{SocketAddr, TcpStream},
};

use anyhow::{Context, Result, ensure};

use super::{echo::accept_all, listener};

/// For each line of standard input, accepts the waiting connections, sends the line to all clients and prints how many
/// there are.
pub(super) fn serve(address: SocketAddr) -> Result<()> {
    let listener = listener(address, false)?;
    let mut connections: Vec<TcpStream> = Vec::new();
    for line in io::stdin().lock().lines() {
        let line = line?;
        connections.extend(accept_all(&listener)?);
        for mut connection in &connections {
            let written =
                connection.write(line.as_bytes()).context("a client does not accept the broadcast")?;
            ensure!(written == line.len(), "a client accepted only {written} bytes of the broadcast");
        }
        writeln!(io::stdout().lock(), "{}", connections.len())?;
    }
    Ok(())
}
