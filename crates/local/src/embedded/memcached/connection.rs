//! One client: lines in, answers out, in order.

use std::{cell::RefCell, io, time::Instant};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    classic, meta,
    request::{self, Data},
    store::Store,
};

/// Longest command line, as in memcached (a `get` of many keys).
const LINE_MAX: usize = 64 * 1024;
/// Answers are written when so much has come together, or when no complete command is left.
const FLUSH_AT: usize = 256 * 1024;

pub(super) async fn serve(mut stream: TcpStream, store: &RefCell<Store>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    {
        let counts = &mut store.borrow_mut().counts;
        counts.connections += 1;
        counts.connections_total += 1;
    }
    let ended = converse(&mut stream, store).await;
    store.borrow_mut().counts.connections -= 1;
    ended
}

async fn converse(stream: &mut TcpStream, store: &RefCell<Store>) -> io::Result<()> {
    let mut input = Vec::new();
    let mut output = Vec::new();
    let mut skip = 0;
    loop {
        let mut used = 0;
        loop {
            let skipped = skip.min(input.len() - used);
            (used, skip) = (used + skipped, skip - skipped);
            if skip > 0 || output.len() >= FLUSH_AT {
                break;
            }
            match step(&input[used..], store, &mut output) {
                Step::Incomplete => break,
                Step::Done(bytes) => used += bytes,
                Step::Skip(bytes) => skip = bytes,
                Step::Close => {
                    stream.write_all(&output).await?;
                    return Ok(());
                }
            }
        }
        input.drain(..used);
        let more_to_do = output.len() >= FLUSH_AT;
        if !output.is_empty() {
            stream.write_all(&output).await?;
            output.clear();
        }
        // An idle connection holds no buffer.
        if input.is_empty() {
            (input, output) = (Vec::new(), Vec::new());
        }
        if !more_to_do && read(stream, &mut input).await? == 0 {
            return Ok(());
        }
    }
}

async fn read(stream: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<usize> {
    if input.is_empty() {
        stream.readable().await?;
    }
    input.reserve(4096);
    stream.read_buf(input).await
}

/// What the beginning of the input gave.
enum Step {
    /// More has to be read.
    Incomplete,
    /// A command of so many bytes was answered.
    Done(usize),
    /// So many bytes are to be ignored.
    Skip(usize),
    Close,
}

fn step(input: &[u8], store: &RefCell<Store>, output: &mut Vec<u8>) -> Step {
    let Some(end) = input.iter().take(LINE_MAX).position(|byte| *byte == b'\n') else {
        if input.len() >= LINE_MAX {
            output.extend_from_slice(b"CLIENT_ERROR line too long\r\n");
            return Step::Close;
        }
        return Step::Incomplete;
    };
    let line = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
    let after_line = end + 1;
    let (data, length) = match request::data_after(line) {
        Data::None => (&[][..], after_line),
        Data::Refused(bytes, answer) => {
            output.extend_from_slice(answer);
            return Step::Skip(after_line + bytes + 2);
        }
        Data::Lost(answer) => {
            output.extend_from_slice(answer);
            return Step::Close;
        }
        Data::Bytes(bytes) => {
            let Some(block) = input.get(after_line..after_line + bytes + 2) else {
                return Step::Incomplete;
            };
            let Some(data) = block.strip_suffix(b"\r\n") else {
                output.extend_from_slice(b"CLIENT_ERROR bad data chunk\r\n");
                // What follows may be data or a command: it cannot be told.
                return Step::Close;
            };
            (data, after_line + bytes + 2)
        }
    };
    let (mut store, now) = (store.borrow_mut(), Instant::now());
    let command = request::words(line).next().unwrap_or_default();
    match command {
        b"quit" => return Step::Close,
        b"mg" | b"ms" | b"md" | b"ma" | b"mn" | b"me" => meta::run(line, data, &mut store, now, output),
        _ => classic::run(line, data, &mut store, now, output),
    }
    Step::Done(length)
}
