//! The HTTP routes.
//!
//! | path | methods |
//! |---|---|
//! | `/users`, `/profiles` | GET: an array of all, or a page of it (`?limit=…`, `&cursor=…`); POST: stores one under a
//! new ID |
//! | `/users/{id}`, `/profiles/{id}` | GET, PUT (creates or replaces it), DELETE |
//! | `/users/drop`, `/profiles/drop` | DELETE: removes all |
//! | `/profiles/user/{id}` | GET: an array of the profiles that contain the user |
//! | `/`, `/health`, `/openapi.json` | GET: the host's name, nothing, a description of all this |

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use service::problem::Problem;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use crate::metrics::Metrics;
use crate::object::{Object, Table};
use crate::repository::{Failure, Repository, Select};
use crate::{body, listing};

/// Maximum number of concurrent requests to the repository, including pages of lists; the rest wait for their turn.
const REQUESTS_AT_A_TIME: usize = 256;
const PAGES_AT_A_TIME: usize = 16;
/// Maximum number of concurrent multi-page lists, however slowly their clients read: each keeps a page in memory.
const LISTS_MAX: usize = 64;
/// How long a request may wait for its turn, and a long body for its room.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum page size that a client may request.
const LIMIT_MAX: usize = 1000;
const JSON: &str = "application/json;charset=UTF-8";
/// The description of this service.
const OPENAPI: &str = include_str!("openapi.json");

/// State shared by all requests.
#[derive(Debug)]
pub(crate) struct App<R> {
    repository: Arc<R>,
    metrics: Arc<Metrics>,
    host_name: String,
    rules: Rules,
    turns: Arc<Semaphore>,
    pages: Arc<Semaphore>,
    lists: Arc<Semaphore>,
    /// Room for the bytes of long bodies.
    bodies: Semaphore,
}

/// Settings that affect answers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) allow_drop: bool,
    pub(crate) compat_404: bool,
}

impl<R: Repository> App<R> {
    pub(crate) fn new(repository: Arc<R>, metrics: Arc<Metrics>, host_name: String, rules: Rules) -> Self {
        Self {
            repository,
            metrics,
            host_name,
            rules,
            turns: Arc::new(Semaphore::new(REQUESTS_AT_A_TIME)),
            pages: Arc::new(Semaphore::new(PAGES_AT_A_TIME)),
            lists: Arc::new(Semaphore::new(LISTS_MAX)),
            bodies: Semaphore::new(body::LONG_BYTES_MAX),
        }
    }

    async fn turn(&self, of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Refusal> {
        // Usually there is room: nothing to wait for, and no clock to read.
        if let Ok(turn) = Arc::clone(of).try_acquire_owned() {
            return Ok(turn);
        }
        // Fails only if the semaphore is closed, which never happens.
        let turn = tokio::time::timeout(TURN_TIMEOUT, Arc::clone(of).acquire_owned()).await;
        turn.ok().and_then(Result::ok).ok_or_else(|| {
            let detail = "too many concurrent requests";
            Refusal::Problem(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail))
        })
    }
}

/// Why a request is rejected.
enum Refusal {
    Problem(Problem),
    Failure(Failure),
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

type Answer = Result<Response, Refusal>;
type Shared<R> = Arc<App<R>>;
/// The parameter in the path, if it can be parsed.
type Named = Result<Path<String>, PathRejection>;

pub(crate) fn router<R: Repository>(app: Shared<R>) -> Router {
    let mut router = Router::new()
        .route("/", always(|app| app.host_name.clone().into_response()))
        .route("/health", always(|_| ().into_response()))
        .route(
            "/openapi.json",
            always(|_| ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()),
        );
    for (path, table) in [("/users", Table::Users), ("/profiles", Table::Profiles)] {
        let all = get(move |State(app): State<Shared<R>>, RawQuery(query): RawQuery| async move {
            answered(&app, list(&app, table, query.as_deref()).await)
        })
        .post(move |State(app): State<Shared<R>>, request: Request| async move {
            answered(&app, store(&app, table, None, request).await)
        });
        let one = get(move |State(app): State<Shared<R>>, id: Named| async move {
            answered(&app, read(&app, table, id).await)
        })
        .put(move |State(app): State<Shared<R>>, id: Named, request: Request| async move {
            answered(&app, store(&app, table, Some(id), request).await)
        })
        .delete(move |State(app): State<Shared<R>>, id: Named| async move {
            answered(&app, remove(&app, table, id).await)
        });
        router = both(router, path, all);
        router = both(router, &format!("{path}/{{id}}"), one);
    }
    let of_user = get(|State(app): State<Shared<R>>, id: Named| async move {
        answered(&app, list_of_user(&app, id).await)
    });
    both(router, "/profiles/user/{id}", of_user)
        .fallback(async |State(app): State<Shared<R>>| {
            answered(&app, Err(Problem::not_found("/openapi.json describes the paths").into()))
        })
        .method_not_allowed_fallback(async |State(app): State<Shared<R>>| {
            answered(&app, Err(Problem::method_not_allowed().into()))
        })
        .with_state(app)
}

/// Routes that need no repository.
fn always<R: Repository>(
    answer: impl Fn(&App<R>) -> Response + Clone + Send + Sync + 'static,
) -> MethodRouter<Shared<R>> {
    get(move |State(app): State<Shared<R>>| std::future::ready(answered(&app, Ok(answer(&app)))))
}

/// With and without a trailing slash, for compatibility.
fn both<S: Clone + Send + Sync + 'static>(
    router: Router<S>,
    path: &str,
    methods: MethodRouter<S>,
) -> Router<S> {
    router.route(path, methods.clone()).route(&format!("{path}/"), methods)
}

/// Every answer passes through here once and is counted. A layer of the router would do the same, at the cost of some
/// allocations per request.
fn answered<R: Repository>(app: &App<R>, answer: Answer) -> Response {
    let response = match answer {
        Ok(response) => response,
        Err(Refusal::Problem(problem)) => problem.into_response(),
        Err(Refusal::Failure(Failure::Away)) if app.rules.compat_404 => StatusCode::NOT_FOUND.into_response(),
        Err(Refusal::Failure(failure)) => {
            let status = match failure {
                Failure::Away => StatusCode::SERVICE_UNAVAILABLE,
                Failure::Full { .. } => StatusCode::INSUFFICIENT_STORAGE,
            };
            Problem::new(status, failure.to_string()).into_response()
        }
    };
    app.metrics.answered(response.status());
    response
}

async fn read<R: Repository>(app: &App<R>, table: Table, id: Named) -> Answer {
    let id = body::id(&text(id)?)?;
    let _turn = app.turn(&app.turns).await?;
    let found = app.repository.get(table, id).await?;
    let absent = || Problem::new(StatusCode::NOT_FOUND, format!("there is no {} {id}", table.noun()));
    Ok(json(&found.ok_or_else(absent)?))
}

/// Stores under this ID, or under a new one.
async fn store<R: Repository>(
    app: &App<R>,
    table: Table,
    id: Option<Named>,
    request: Request<Body>,
) -> Answer {
    let id = match id {
        Some(id) => body::id(&text(id)?)?,
        None => Uuid::new_v4(),
    };
    let object = Object { id, content: body::content(table, request, &app.bodies, TURN_TIMEOUT).await? };
    let _turn = app.turn(&app.turns).await?;
    app.repository.put(&object).await?;
    Ok(json(&object))
}

async fn remove<R: Repository>(app: &App<R>, table: Table, id: Named) -> Answer {
    let id = text(id)?;
    if id == "drop" {
        if !app.rules.allow_drop {
            let detail = "removing everything at once is disabled (ALLOW_DROP=false)";
            return Err(Problem::new(StatusCode::FORBIDDEN, detail).into());
        }
        let _turn = app.turn(&app.turns).await?;
        app.repository.clear(table).await?;
    } else {
        let id = body::id(&id)?;
        let _turn = app.turn(&app.turns).await?;
        app.repository.remove(table, id).await?;
    }
    Ok(StatusCode::OK.into_response())
}

async fn list<R: Repository>(app: &App<R>, table: Table, query: Option<&str>) -> Answer {
    match Paging::read(query.unwrap_or_default())? {
        None => array(app, Select::All(table)).await,
        Some(paging) => page(app, table, paging).await,
    }
}

async fn list_of_user<R: Repository>(app: &App<R>, id: Named) -> Answer {
    let id = body::id(&text(id)?)?;
    array(app, Select::OfUser(id)).await
}

async fn array<R: Repository>(app: &App<R>, select: Select) -> Answer {
    let place = app.turn(&app.lists).await?;
    let _turn = app.turn(&app.pages).await?;
    let (repository, metrics) = (Arc::clone(&app.repository), Arc::clone(&app.metrics));
    let array = listing::array(repository, metrics, select, Arc::clone(&app.pages), place).await?;
    Ok(([(header::CONTENT_TYPE, JSON)], array).into_response())
}

async fn page<R: Repository>(app: &App<R>, table: Table, Paging { limit, cursor }: Paging) -> Answer {
    let _turn = app.turn(&app.pages).await?;
    let select = cursor.map_or(Select::All(table), |id| Select::After(table, id));
    let mut objects: Vec<Object> = Vec::new();
    let mut from = None;
    loop {
        let page = app.repository.page(select, from, limit - objects.len()).await?;
        objects.extend(page.objects);
        from = page.next;
        if from.is_none() || objects.len() >= limit {
            break;
        }
    }
    app.metrics.listed.inc_by(objects.len() as u64);
    let mut response = ([(header::CONTENT_TYPE, JSON)], listing::array_of(&objects)).into_response();
    if let Some(last) = objects.last().filter(|_| from.is_some()) {
        // Relative to the path, whatever prefix the client sees.
        let next = format!("<?limit={limit}&cursor={}>; rel=\"next\"", last.id);
        let value =
            next.try_into().map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "no link"))?;
        response.headers_mut().insert(header::LINK, value);
    }
    Ok(response)
}

/// Paging parameters of a client.
#[derive(Debug, PartialEq, Eq)]
struct Paging {
    limit: usize,
    /// The ID of the last object that the client has.
    cursor: Option<Uuid>,
}

impl Paging {
    /// `None`: everything at once. Ignores other keys.
    fn read(query: &str) -> Result<Option<Self>, Problem> {
        let value = |wanted: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(key, _)| *key == wanted).map(|(_, value)| value)
        };
        let bad = |detail: String| Problem::new(StatusCode::BAD_REQUEST, detail);
        let cursor = value("cursor").map(body::id).transpose()?;
        let Some(limit) = value("limit") else {
            return match cursor {
                None => Ok(None),
                Some(_) => Err(bad("cursor: expected a limit too".to_owned())),
            };
        };
        let number = limit.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
        let limit = number.ok_or_else(|| {
            let shown: String = limit.chars().take(40).collect();
            bad(format!("limit={shown:?}: expected a number from 1 to {LIMIT_MAX}"))
        })?;
        Ok(Some(Self { limit, cursor }))
    }
}

fn text(named: Named) -> Result<String, Problem> {
    match named {
        Ok(Path(text)) => Ok(text),
        Err(_) => Err(Problem::new(StatusCode::BAD_REQUEST, "the path is not UTF-8")),
    }
}

fn json(object: &Object) -> Response {
    // An object always has a JSON form.
    let text = serde_json::to_string(object).unwrap_or_default();
    ([(header::CONTENT_TYPE, JSON)], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_paged_only_on_request() {
        let id = "8a377bc6-c2e7-42db-bf80-36301e21f25e";
        assert_eq!(Paging::read("").unwrap(), None);
        assert_eq!(Paging::read("page=3&x").unwrap(), None);
        assert_eq!(Paging::read("limit=1000").unwrap(), Some(Paging { limit: 1000, cursor: None }));
        let cursor = Uuid::try_parse(id).ok();
        assert_eq!(Paging::read(&format!("cursor={id}&limit=1")).unwrap(), Some(Paging { limit: 1, cursor }));
        for bad in ["limit=0", "limit=1001", "limit=", "limit=x", "limit=1&cursor=x", &format!("cursor={id}")]
        {
            assert_eq!(Paging::read(bad).unwrap_err().status(), StatusCode::BAD_REQUEST, "{bad}");
        }
    }
}
