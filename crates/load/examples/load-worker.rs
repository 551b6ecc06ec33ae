//! A worker process on standard input and output, like `playctl load-worker`.

use std::io;

fn main() -> Result<(), load::LoadError> {
    load::serve_worker(io::BufReader::new(io::stdin()), io::stdout())
}
