//! The bare driver in a loop: the cost of reading one row without HTTP, JSON and limits.

use std::{
    io::{self, BufRead as _, Write as _},
    num::NonZeroUsize,
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{Context, Result};
use scylla::client::{session::Session, session_builder::SessionBuilder};
use uuid::Uuid;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// HOST:PORT of Cassandra
    #[arg(long)]
    contact_point: String,
    #[arg(long)]
    keyspace: String,
    /// The user to query
    #[arg(long)]
    user: Uuid,
    /// Concurrent queries
    #[arg(long)]
    at_a_time: NonZeroUsize,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let answered = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&answered);
    std::thread::spawn(move || -> io::Result<()> {
        for line in io::stdin().lock().lines() {
            line?;
            writeln!(io::stdout().lock(), "{}", counted.load(Ordering::Relaxed))?;
        }
        Ok(())
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let session: Session = SessionBuilder::new().known_node(&arguments.contact_point).build().await?;
        let text = format!("SELECT id, name FROM {}.user WHERE id = ?", arguments.keyspace);
        let statement = Arc::new(session.prepare(text).await?);
        let session = Arc::new(session);
        let (failed, mut failure) = tokio::sync::mpsc::channel::<anyhow::Error>(1);
        for _ in 0..arguments.at_a_time.get() {
            let (session, statement) = (Arc::clone(&session), Arc::clone(&statement));
            let (answered, failed, user) = (Arc::clone(&answered), failed.clone(), arguments.user);
            tokio::spawn(async move {
                loop {
                    match session.execute_unpaged(&statement, (user,)).await.map_err(anyhow::Error::from) {
                        Ok(result) => match one(result) {
                            Ok(()) => answered.fetch_add(1, Ordering::Relaxed),
                            Err(error) => break failed.send(error).await,
                        },
                        Err(error) => break failed.send(error).await,
                    };
                }
            });
        }
        // Each ends only with an error, and then the measurement is void.
        failure.recv().await.map_or(Ok(()), Err)
    })
}

fn one(result: scylla::response::query_result::QueryResult) -> Result<()> {
    let rows = result.into_rows_result()?;
    let (_, name) = rows.single_row::<(Uuid, Option<&str>)>()?;
    name.map(drop).context("the user has no name")
}
