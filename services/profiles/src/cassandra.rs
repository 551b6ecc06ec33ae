//! Users and profiles in Apache Cassandra.
//!
//! The session is opened in the background ([`Cassandra::keep`]) and repairs its connections itself. It is checked
//! continually, so that `/readyz` is right even without requests, and replaced if it does not recover, since addresses
//! and schema may have changed by then.

mod schema;

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::response::PagingState;
use scylla::response::query_result::QueryResult;
use scylla::statement::prepared::PreparedStatement;
use scylla::statement::unprepared::Statement;
use service::Readiness;
use service::backoff::Backoff;
use tokio::sync::oneshot;
use tracing::{debug, info, warn};
use uuid::Uuid;

use crate::metrics::Metrics;
use crate::object::{Content, Object, Table};
use crate::repository::{Failure, Page, Repository, Select};
use crate::settings;

/// The part that `/readyz` reports as degraded while Cassandra is away.
pub(crate) const PART: &str = "cassandra";
/// Time limit of a connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Time limit of opening a session, including missing parts of the schema.
const OPEN_TIMEOUT: Duration = Duration::from_mins(1);
/// Time limit of removing all rows: every node takes part.
const TRUNCATE_TIMEOUT: Duration = Duration::from_mins(1);
/// How often to check the session, and after how many consecutive failures to replace it.
const CHECK_EVERY: Duration = Duration::from_secs(1);
const CHECKS_MAX: u32 = 5;
/// Maximum number of rows per query, whatever a caller requests.
const ROWS_MAX: usize = 1000;

#[derive(Debug)]
pub(crate) struct Cassandra {
    settings: settings::Cassandra,
    metrics: Arc<Metrics>,
    readiness: Readiness,
    /// Present once Cassandra was reached.
    open: RwLock<Option<Arc<Open>>>,
}

/// A session with its prepared statements.
#[derive(Debug)]
struct Open {
    session: Session,
    users: Statements,
    profiles: Statements,
    of_user: PreparedStatement,
    version: PreparedStatement,
}

/// The statements of one table.
#[derive(Debug)]
struct Statements {
    get: PreparedStatement,
    put: PreparedStatement,
    remove: PreparedStatement,
    all: PreparedStatement,
    after: PreparedStatement,
    truncate: String,
}

impl Open {
    fn of(&self, table: Table) -> &Statements {
        match table {
            Table::Users => &self.users,
            Table::Profiles => &self.profiles,
        }
    }
}

impl Cassandra {
    pub(crate) fn new(settings: settings::Cassandra, metrics: Arc<Metrics>, readiness: Readiness) -> Self {
        Self { settings, metrics, readiness, open: RwLock::new(None) }
    }

    /// Keeps a session forever; notifies `tried` when the first attempt to open it has succeeded or failed.
    pub(crate) async fn keep(&self, tried: oneshot::Sender<()>) {
        let mut tried = Some(tried);
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        loop {
            let opened = tokio::time::timeout(OPEN_TIMEOUT, self.open_session()).await;
            let opened = opened.unwrap_or_else(|_| Err(format!("no session within {OPEN_TIMEOUT:?}")));
            let outcome = opened.map(|open| Arc::clone(self.open.write().insert(Arc::new(open))));
            let open = match outcome {
                Ok(open) => {
                    self.works();
                    Some(open)
                }
                Err(reason) => {
                    self.fails(&reason);
                    None
                }
            };
            if let Some(tried) = tried.take() {
                // The receiver may be gone.
                let _ = tried.send(());
            }
            if let Some(open) = open {
                backoff.reset();
                self.until_it_fails(&open).await;
            } else {
                tokio::time::sleep(backoff.wait()).await;
            }
        }
    }

    /// Checks a session until it fails and does not recover by itself.
    async fn until_it_fails(&self, open: &Open) {
        let mut failures = 0;
        while failures < CHECKS_MAX {
            tokio::time::sleep(CHECK_EVERY).await;
            match open.session.execute_unpaged(&open.version, (schema::COMPONENT,)).await {
                Ok(_) => {
                    failures = 0;
                    self.works();
                }
                Err(error) => {
                    failures += 1;
                    self.fails(&error);
                }
            }
        }
    }

    fn works(&self) {
        if self.readiness.restore(PART) {
            info!(cassandra = %self.settings, "Cassandra is available again");
        }
    }

    fn fails(&self, reason: &dyn Display) {
        let told = format!("Cassandra at {}: {reason}", self.settings);
        if self.readiness.degrade(PART, told) {
            warn!(cassandra = %self.settings, %reason, "cannot read or write users and profiles");
        }
    }

    async fn open_session(&self) -> Result<Open, String> {
        let settings = &self.settings;
        let profile = ExecutionProfile::builder().request_timeout(Some(settings.timeout)).build();
        let mut builder = SessionBuilder::new()
            .known_nodes(&settings.contact_points)
            .default_execution_profile_handle(profile.into_handle())
            .connection_timeout(CONNECT_TIMEOUT)
            .keyspaces_to_fetch([&settings.keyspace]);
        if let Some((name, password)) = &settings.login {
            builder = builder.user(name, password);
        }
        let session = builder.build().await.map_err(|error| error.to_string())?;
        schema::migrate(&session, settings).await?;
        let keyspace = &settings.keyspace;
        let users = Statements::prepare(&session, keyspace, "user", "name").await?;
        let profiles = Statements::prepare(&session, keyspace, "profile", "users").await?;
        let text = format!("SELECT id, users FROM {keyspace}.profile WHERE users CONTAINS ?");
        let of_user = prepare(&session, text).await?;
        let version = prepare(&session, schema::version_of(keyspace)).await?;
        Ok(Open { session, users, profiles, of_user, version })
    }

    fn session(&self) -> Result<Arc<Open>, Failure> {
        self.open.read().clone().ok_or_else(|| self.away(&"there is no session yet"))
    }

    fn away(&self, reason: &dyn Display) -> Failure {
        self.metrics.cassandra_failures.inc();
        debug!(%reason, "a statement failed");
        Failure::Away
    }
}

impl Statements {
    async fn prepare(session: &Session, keyspace: &str, table: &str, column: &str) -> Result<Self, String> {
        let (of, columns) = (format!("{keyspace}.{table}"), format!("id, {column}"));
        let after = format!("SELECT {columns} FROM {of} WHERE token(id) > token(?)");
        Ok(Self {
            get: prepare(session, format!("SELECT {columns} FROM {of} WHERE id = ?")).await?,
            put: prepare(session, format!("INSERT INTO {of} ({columns}) VALUES (?, ?)")).await?,
            remove: prepare(session, format!("DELETE FROM {of} WHERE id = ?")).await?,
            all: prepare(session, format!("SELECT {columns} FROM {of}")).await?,
            after: prepare(session, after).await?,
            truncate: format!("TRUNCATE {of}"),
        })
    }
}

/// Every statement is idempotent, so the driver may repeat it.
async fn prepare(session: &Session, text: String) -> Result<PreparedStatement, String> {
    let mut prepared =
        session.prepare(text.clone()).await.map_err(|error| format!("cannot prepare {text:?}: {error}"))?;
    prepared.set_is_idempotent(true);
    // The text names the columns, so answers need not describe them again.
    prepared.set_use_cached_result_metadata(true);
    Ok(prepared)
}

/// The rows of a result.
fn objects(table: Table, result: QueryResult) -> Result<Vec<Object>, String> {
    fn all<T>(
        rows: impl Iterator<Item = Result<(Uuid, T), scylla::errors::DeserializationError>>,
        content: impl Fn(T) -> Content,
    ) -> Result<Vec<Object>, String> {
        rows.map(|row| row.map(|(id, value)| Object { id, content: content(value) }))
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())
    }
    let rows = result.into_rows_result().map_err(|error| error.to_string())?;
    match table {
        Table::Users => {
            let rows = rows.rows::<(Uuid, Option<&str>)>().map_err(|error| error.to_string())?;
            all(rows, |name| Content::Name(name.map(Into::into)))
        }
        Table::Profiles => {
            // An empty set is null.
            let rows = rows.rows::<(Uuid, Option<Vec<Uuid>>)>().map_err(|error| error.to_string())?;
            all(rows, |users| Content::users(users.unwrap_or_default()))
        }
    }
}

impl Repository for Cassandra {
    type Place = PagingState;

    async fn get(&self, table: Table, id: Uuid) -> Result<Option<Object>, Failure> {
        let open = self.session()?;
        let result = open.session.execute_unpaged(&open.of(table).get, (id,)).await;
        let result = result.map_err(|error| self.away(&error))?;
        let mut found = objects(table, result).map_err(|error| self.away(&error))?;
        Ok(found.pop())
    }

    async fn put(&self, object: &Object) -> Result<(), Failure> {
        let open = self.session()?;
        let statement = &open.of(object.content.table()).put;
        let done = match &object.content {
            Content::Name(name) => {
                open.session.execute_unpaged(statement, (object.id, name.as_deref())).await
            }
            Content::Users(users) => open.session.execute_unpaged(statement, (object.id, &users[..])).await,
        };
        done.map(drop).map_err(|error| self.away(&error))
    }

    async fn remove(&self, table: Table, id: Uuid) -> Result<(), Failure> {
        let open = self.session()?;
        let done = open.session.execute_unpaged(&open.of(table).remove, (id,)).await;
        done.map(drop).map_err(|error| self.away(&error))
    }

    async fn clear(&self, table: Table) -> Result<(), Failure> {
        let open = self.session()?;
        let mut statement = Statement::new(open.of(table).truncate.as_str());
        statement.set_is_idempotent(true);
        statement.set_request_timeout(Some(TRUNCATE_TIMEOUT));
        let done = open.session.query_unpaged(statement, ()).await;
        done.map(drop).map_err(|error| self.away(&error))
    }

    async fn page(
        &self,
        select: Select,
        from: Option<PagingState>,
        limit: usize,
    ) -> Result<Page<PagingState>, Failure> {
        let open = self.session()?;
        let from = from.unwrap_or_else(PagingState::start);
        let statement = match select {
            Select::All(table) => &open.of(table).all,
            Select::After(table, _) => &open.of(table).after,
            Select::OfUser(_) => &open.of_user,
        };
        let mut statement = statement.clone();
        statement.set_page_size(limit.clamp(1, ROWS_MAX) as i32);
        let asked = match select {
            Select::All(_) => open.session.execute_single_page(&statement, (), from).await,
            Select::After(_, id) | Select::OfUser(id) => {
                open.session.execute_single_page(&statement, (id,), from).await
            }
        };
        let (result, next) = asked.map_err(|error| self.away(&error))?;
        let objects = objects(select.table(), result).map_err(|error| self.away(&error))?;
        Ok(Page { objects, next: next.into_paging_control_flow().continue_value() })
    }
}
