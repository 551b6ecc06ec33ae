//! The target of health checks, for proxies that check before they forward.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

use anyhow::{Context, Result};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Answers every request at `address` with 200, on its own thread.
pub(super) fn answer(address: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address).with_context(|| format!("cannot listen at {address}"))?;
    thread::spawn(move || {
        for stream in listener.incoming() {
            // Ignore checkers that hang up early.
            drop(stream.and_then(respond));
        }
    });
    Ok(())
}

fn respond(mut stream: TcpStream) -> io::Result<()> {
    let mut request = [0; 1024];
    if stream.read(&mut request)? > 0 {
        stream.write_all(ANSWER)?;
    }
    Ok(())
}
