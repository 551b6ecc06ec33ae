//! A worker process on standard input and output, as `playctl load-worker` is one.

use std::io;

fn main() -> Result<(), load::LoadError> {
    load::serve_worker(io::BufReader::new(io::stdin()), io::stdout())
}
