//! One client: lines in, answers out, in order.

use std::{io, sync::Arc};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    commands::{self, Data},
    store::Store,
};
use crate::embedded::guests::Guest;

/// Maximum length of a command line.
const LINE_MAX: usize = 8 * 1024;
/// Answers are written when they reach this size, or when no complete command is left.
const FLUSH_AT: usize = 64 * 1024;
/// Minimum size of a read.
const READ_MIN: usize = 4096;

pub(super) async fn serve(mut stream: TcpStream, guest: Guest, store: Arc<Mutex<Store>>) -> io::Result<()> {
    let (mut input, mut output) = (Vec::new(), Vec::new());
    let mut held = guest.hold();
    let mut skip = 0;
    loop {
        // Answers are generated from here until they are counted.
        let turn = guest.turn().await;
        let mut used = 0;
        let mut goes_on = true;
        let is_stuck = loop {
            let skipped = skip.min(input.len() - used);
            (used, skip) = (used + skipped, skip - skipped);
            if skip > 0 {
                break true;
            }
            if output.len() >= FLUSH_AT || !goes_on {
                break false;
            }
            match step(&input[used..], &mut store.lock(), &mut output) {
                Step::Incomplete => break true,
                Step::Done(bytes) => used += bytes,
                Step::Skip(bytes) => skip = bytes,
                Step::Close => goes_on = false,
            }
        };
        input.drain(..used);
        // An idle connection holds no buffer.
        if input.is_empty() {
            input = Vec::new();
        }
        if output.is_empty() {
            drop(turn);
        } else {
            held.set(input.capacity() + output.capacity()).await?;
            drop(turn);
            stream.write_all(&output).await?;
            output = Vec::new();
            guest.served();
        }
        if !goes_on {
            return Ok(());
        }
        held.set(input.capacity()).await?;
        if is_stuck {
            stream.readable().await?;
            held.grow(&mut input, READ_MIN).await?;
            if stream.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
        }
    }
}

/// The result of parsing the start of the input.
enum Step {
    /// More must be read.
    Incomplete,
    /// A command of this many bytes was answered.
    Done(usize),
    /// This many bytes to ignore.
    Skip(usize),
    Close,
}

fn step(input: &[u8], store: &mut Store, output: &mut Vec<u8>) -> Step {
    let Some(end) = input.iter().take(LINE_MAX).position(|byte| *byte == b'\n') else {
        if input.len() < LINE_MAX {
            return Step::Incomplete;
        }
        output.extend_from_slice(b"CLIENT_ERROR line too long\r\n");
        return Step::Close;
    };
    let line = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
    let after_line = end + 1;
    let (data, length) = match commands::data_after(line) {
        Data::Wanted(None) => (&[][..], after_line),
        Data::Wanted(Some(bytes)) => {
            let Some(block) = input.get(after_line..after_line + bytes + 2) else {
                return Step::Incomplete;
            };
            let Some(data) = block.strip_suffix(b"\r\n") else {
                output.extend_from_slice(b"CLIENT_ERROR bad data chunk\r\n");
                // What follows may be data or a command: it is unknown.
                return Step::Close;
            };
            (data, after_line + bytes + 2)
        }
        Data::Refused(bytes, answer) => {
            output.extend_from_slice(answer);
            return Step::Skip(after_line + bytes + 2);
        }
        Data::Lost(answer) => {
            output.extend_from_slice(answer);
            return Step::Close;
        }
    };
    if commands::run(line, data, store, clock::now(), output) { Step::Done(length) } else { Step::Close }
}
