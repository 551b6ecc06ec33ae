//! The keyspace and its tables; every replica that starts creates or upgrades them.
//!
//! Steps are numbered, and the table `schema_version` records which have been taken. A step may be repeated, and
//! replicas may take it at the same time: it creates what is missing, and a table's ID follows from its name, because
//! otherwise tables created concurrently under one name would be two.

use scylla::client::session::Session;
use scylla::response::query_result::QueryResult;
use tracing::info;

use crate::settings::Cassandra;

/// The component whose version is recorded.
pub(super) const COMPONENT: &str = "profiles";

/// What each version adds; `{}` stands for the keyspace, `{TABLE}` for the table's ID.
const STEPS: [&[&str]; 1] = [&[
    "CREATE TABLE IF NOT EXISTS {}.user (id uuid PRIMARY KEY, name text) \
     WITH ID = {user}",
    "CREATE TABLE IF NOT EXISTS {}.profile (id uuid PRIMARY KEY, users set<uuid>) \
     WITH ID = {profile}",
    // For tables older than their columns.
    "ALTER TABLE {}.user ADD IF NOT EXISTS name text",
    "ALTER TABLE {}.profile ADD IF NOT EXISTS users set<uuid>",
    "CREATE INDEX IF NOT EXISTS profile_users_idx ON {}.profile (users)",
]];
const VERSIONS: &str = "CREATE TABLE IF NOT EXISTS {}.schema_version (component text PRIMARY KEY, version int) \
                        WITH ID = {schema_version}";

const TABLES: [&str; 3] = ["user", "profile", "schema_version"];

fn filled(statement: &str, keyspace: &str) -> String {
    let text = statement.replace("{}", keyspace);
    TABLES.iter().fold(text, |text, table| text.replace(&format!("{{{table}}}"), &table_id(keyspace, table)))
}

/// No other table of the cluster has this ID.
fn table_id(keyspace: &str, table: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, format!("{keyspace}.{table}").as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.as_ref()[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

/// The query for a component's version.
pub(super) fn version_of(keyspace: &str) -> String {
    format!("SELECT version FROM {keyspace}.schema_version WHERE component = ?")
}

/// Creates what is missing. Leaves a newer schema alone: steps only add.
pub(super) async fn migrate(session: &Session, settings: &Cassandra) -> Result<(), String> {
    let keyspace = &settings.keyspace;
    let version = present_version(session, keyspace).await;
    let newest = STEPS.len();
    if version >= newest {
        return Ok(());
    }
    if version == 0 {
        let copies = settings.replication_factor;
        let text = format!(
            "CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = \
             {{'class': 'NetworkTopologyStrategy', 'replication_factor': {copies}}}"
        );
        run(session, &text).await?;
        run(session, &filled(VERSIONS, keyspace)).await?;
    }
    for step in &STEPS[version..] {
        for statement in *step {
            run(session, &filled(statement, keyspace)).await?;
        }
    }
    let text = format!(
        "INSERT INTO {keyspace}.schema_version (component, version) VALUES ('{COMPONENT}', {newest})"
    );
    run(session, &text).await?;
    info!(%keyspace, from = version, to = newest, "the schema is up to date");
    Ok(())
}

/// 0 without a keyspace, or without that table: any other problem shows when they are created.
async fn present_version(session: &Session, keyspace: &str) -> usize {
    let asked = session.query_unpaged(version_of(keyspace), (COMPONENT,)).await;
    let version = asked.ok().and_then(read_version).unwrap_or(0);
    usize::try_from(version).unwrap_or(0)
}

fn read_version(result: QueryResult) -> Option<i32> {
    let rows = result.into_rows_result().ok()?;
    rows.maybe_first_row::<(i32,)>().ok()?.map(|(version,)| version)
}

async fn run(session: &Session, text: &str) -> Result<(), String> {
    let done = session.query_unpaged(text, ()).await;
    done.map(drop).map_err(|error| format!("cannot bring the schema up to date by {text:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_replica_creates_the_same_tables_in_its_own_keyspace() {
        let all = |keyspace| -> Vec<String> {
            let statements = std::iter::once(VERSIONS).chain(STEPS.into_iter().flatten().copied());
            statements.map(|statement| filled(statement, keyspace)).collect()
        };
        let (first, again, other) = (all("a"), all("a"), all("b"));
        assert_eq!(first, again);
        for statement in &first {
            assert!(!statement.contains(['{', '}']), "{statement}");
            assert!(!other.contains(statement), "{statement}");
        }
        assert_eq!(
            TABLES.map(|table| table_id("a", table)).iter().collect::<std::collections::BTreeSet<_>>().len(),
            3
        );
    }
}
