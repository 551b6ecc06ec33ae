//! A real Cassandra, and what rows read from it.

use std::{
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail};
use futures_util::{TryStreamExt as _, stream};
use scylla::{
    client::{session::Session, session_builder::SessionBuilder},
    statement::batch::{Batch, BatchType},
};
use uuid::Uuid;

use crate::{install::repository, printer, process::scratch};

/// The user whom rows query.
pub(crate) const USER: Uuid = Uuid::from_u128(0x8a37_7bc6_c2e7_42db_bf80_3630_1e21_f25e);
/// Profiles per write request: below the size at which Cassandra warns.
const AT_ONCE: u64 = 30;
/// Concurrent requests, and tries of each.
const UNDER_WAY: usize = 32;
const TRIES: u32 = 5;

/// The Cassandra that `CASSANDRA_CONTACT_POINTS` names, or a testbed's, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Cassandra {
    contact_points: String,
    _testbed: Option<Testbed>,
}

/// A testbed of our own, on free ports.
#[derive(Debug)]
struct Testbed {
    state: PathBuf,
    /// Stops the testbed when its input ends: when this is dropped, or when this program ends in any way.
    guard: Child,
}

impl Cassandra {
    pub(crate) fn start() -> Result<Self> {
        const VARIABLE: &str = "CASSANDRA_CONTACT_POINTS";
        if let Ok(contact_points) = std::env::var(VARIABLE)
            && !contact_points.is_empty()
        {
            return Ok(Self { contact_points, _testbed: None });
        }
        printer::note("starting Cassandra");
        let testbed = Testbed::guarded(scratch()?.join("testbed"))?;
        testbed.run("up")?;
        let said = testbed.run("env")?;
        let contact_points = said
            .split_whitespace()
            .find_map(|word| word.strip_prefix(VARIABLE)?.strip_prefix('='))
            .with_context(|| format!("the testbed does not say where Cassandra is: {said}"))?;
        Ok(Self {
            contact_points: contact_points.trim_matches(['\'', '"']).to_owned(),
            _testbed: Some(testbed),
        })
    }

    pub(crate) fn contact_points(&self) -> &str {
        &self.contact_points
    }

    /// Creates a keyspace with this many profiles of two users each, and with [`USER`].
    pub(crate) fn keyspace(&self, profiles: u64) -> Result<String> {
        let name = format!("bench_{profiles}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.fill(&name, profiles)).with_context(|| format!("cannot fill {name}"))?;
        Ok(name)
    }

    async fn fill(&self, keyspace: &str, profiles: u64) -> Result<()> {
        let session: Session = SessionBuilder::new().known_node(&self.contact_points).build().await?;
        // The service's own tables; it creates its index at start.
        for statement in [
            format!("DROP KEYSPACE IF EXISTS {keyspace}"),
            format!(
                "CREATE KEYSPACE {keyspace} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}"
            ),
            format!("CREATE TABLE {keyspace}.user (id uuid PRIMARY KEY, name text)"),
            format!("CREATE TABLE {keyspace}.profile (id uuid PRIMARY KEY, users set<uuid>)"),
        ] {
            session.query_unpaged(statement, ()).await?;
        }
        let user = format!("INSERT INTO {keyspace}.user (id, name) VALUES (?, ?)");
        session.query_unpaged(user, (USER, "a name as people have them")).await?;
        let insert =
            session.prepare(format!("INSERT INTO {keyspace}.profile (id, users) VALUES (?, ?)")).await?;
        let begins = (0..profiles).step_by(AT_ONCE as usize);
        stream::iter(begins.map(Ok::<_, anyhow::Error>))
            .try_for_each_concurrent(UNDER_WAY, |begin| {
                let (session, insert) = (&session, &insert);
                async move {
                    let end = (begin + AT_ONCE).min(profiles);
                    let rows: Vec<_> =
                        (begin..end).map(|_| (Uuid::new_v4(), [Uuid::new_v4(), Uuid::new_v4()])).collect();
                    let mut batch = Batch::new(BatchType::Unlogged);
                    for _ in &rows {
                        batch.append_statement(insert.clone());
                    }
                    let rows: Vec<_> = rows.iter().map(|(id, users)| (*id, &users[..])).collect();
                    // A busy node may miss its own deadline; writing the same rows again changes nothing.
                    for _ in 0..TRIES - 1 {
                        if session.batch(&batch, &rows).await.is_ok() {
                            return Ok(());
                        }
                    }
                    session.batch(&batch, &rows).await?;
                    Ok(())
                }
            })
            .await
    }
}

fn testbed() -> PathBuf {
    repository().join("infrastructure/testbed/testbed")
}

/// A command with the testbed's environment.
fn command(program: &Path, state: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env("TESTBED_STATE", state)
        .env("TESTBED_CASSANDRA_CQL_PORT", "0")
        .env("TESTBED_CASSANDRA_STORAGE_PORT", "0");
    command
}

impl Testbed {
    fn guarded(state: PathBuf) -> Result<Self> {
        let guard = command(Path::new("/bin/sh"), &state)
            .args(["-c", r#"cat >/dev/null; exec "$0" down cassandra"#])
            .arg(testbed())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // Ctrl-C is only for this program.
            .process_group(0)
            .spawn()
            .context("/bin/sh")?;
        Ok(Self { state, guard })
    }

    fn run(&self, verb: &str) -> Result<String> {
        let testbed = testbed();
        let output = command(&testbed, &self.state)
            .args([verb, "cassandra"])
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| testbed.display().to_string())?;
        if !output.status.success() {
            bail!("testbed {verb} cassandra: {}", output.status);
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        match self.guard.wait() {
            Ok(status) if status.success() => {}
            Ok(status) => printer::note(&format!("Cassandra still runs: testbed down cassandra: {status}")),
            Err(error) => printer::note(&format!("Cassandra still runs: {error}")),
        }
    }
}
