//! The bare epoll client as a program, for the rows that measure a load generator.

use std::{
    io::{self, Write},
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::traffic::{
    dial,
    trickle::{Trickle, Watcher, lateness_histogram},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[arg(long)]
    target: SocketAddr,
    #[arg(long)]
    connections: usize,
    #[arg(long)]
    message: String,
    /// Interval between two messages of a connection
    #[arg(long)]
    every_ms: u64,
    /// Time from the moment all are connected
    #[arg(long)]
    seconds: u64,
}

/// The output at the end.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) messages: u64,
    /// Between a message's due time and the start of its write.
    pub(crate) lateness_p50_ns: u64,
    pub(crate) lateness_p99_ns: u64,
}

struct Until {
    end: Instant,
    messages: u64,
}

impl Watcher for Until {
    fn goes_on(&mut self, now: Instant) -> bool {
        now < self.end
    }

    fn answered(&mut self, messages: u64) {
        self.messages += messages;
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let streams = dial::many(arguments.target, arguments.connections)
        .with_context(|| format!("cannot connect to {}", arguments.target))?;
    let trickle = Trickle {
        streams: &streams,
        message: arguments.message.as_bytes(),
        every: Duration::from_millis(arguments.every_ms),
    };
    let mut lateness = lateness_histogram();
    let mut until = Until { end: clock::now() + Duration::from_secs(arguments.seconds), messages: 0 };
    trickle.run(&mut lateness, &mut until)?;
    let summary = Summary {
        messages: until.messages,
        lateness_p50_ns: lateness.value_at_quantile(0.5),
        lateness_p99_ns: lateness.value_at_quantile(0.99),
    };
    writeln!(io::stdout().lock(), "{}", serde_json::to_string(&summary)?)?;
    Ok(())
}
