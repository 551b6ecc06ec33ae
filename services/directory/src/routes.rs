//! The HTTP routes: text, one object per line.
//!
//! | path | answer |
//! |---|---|
//! | `/users`, `/profiles` | all of them |
//! | `/suggested` | users in two profiles or more |
//! | `/login/{userId}` | the user's profiles that are open now |
//! | `/testdata` | creates test data in the background |
//! | `/i-swear-i-want-drop-everything` | removes all profiles and users |
//! | `/`, `/health` | the host's name, nothing |

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::handler::Handler;
use axum::http::{HeaderName, StatusCode, header};
use axum::middleware::map_response_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde::de::DeserializeOwned;
use service::problem::Problem;
use tracing::warn;
use uuid::Uuid;

use crate::metrics::Metrics;
use crate::opened::Opened;
use crate::profiles::{Failure, List, Profile, Profiles, Reader, User};
use crate::testdata::Testdata;

/// Maximum number of users in a search for suggestions.
const SUGGESTABLE_MAX: usize = 1_000_000;
/// The hint for clients that request an unknown path.
const PATHS: &str = "there are /users, /profiles, /suggested, /login/{userId}, /testdata, /health";
/// Maximum length of a bad value in a message.
const SHOWN_CHARS_MAX: usize = 80;
/// Names are written unescaped, and browsers take the text for HTML: nothing in it may run or load anything.
const POLICY: (HeaderName, &str) = (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox");
const TEXT: (HeaderName, &str) = (header::CONTENT_TYPE, "text/html;charset=UTF-8");

/// State shared by all requests.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) profiles: Arc<Profiles>,
    pub(crate) opened: Arc<Opened>,
    pub(crate) testdata: Arc<Testdata>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) host_name: String,
    pub(crate) destructive_gets: bool,
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure {
            // Clients need not know its address; it is in the log.
            Failure::Away(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "profiles is away: try again later")
            }
            refused @ Failure::Refused(_) => Self::new(StatusCode::FORBIDDEN, refused.to_string()),
        }
    }
}

type Answer = Result<Body, Problem>;
type Shared = State<Arc<App>>;

pub(crate) fn router(app: Arc<App>) -> Router {
    let routes: [(&str, MethodRouter<Arc<App>>); 7] = [
        ("/health", get(|| async { answered(Ok(Body::empty())) })),
        ("/users", get(|State(app): Shared| async move { answered(users(&app).await) })),
        ("/profiles", get(|State(app): Shared| async move { answered(profiles(&app).await) })),
        ("/suggested", get(|State(app): Shared| async move { answered(suggested(&app).await) })),
        ("/login/{id}", get(|State(app): Shared, id: Named| async move { answered(login(&app, id).await) })),
        ("/testdata", get_alone(|State(app): Shared| async move { answered(testdata(&app).await) })),
        (
            "/i-swear-i-want-drop-everything",
            get_alone(|State(app): Shared| async move { answered(drop_everything(&app).await) }),
        ),
    ];
    let host_name = get(|State(app): Shared| async move { answered(Ok(app.host_name.clone().into())) });
    let mut router = Router::new().route("/", host_name);
    for (path, methods) in routes {
        // With and without a trailing slash, for compatibility.
        router = router.route(path, methods.clone()).route(&format!("{path}/"), methods);
    }
    router
        .fallback(|| std::future::ready(Problem::not_found(PATHS)))
        .method_not_allowed_fallback(|| std::future::ready(Problem::method_not_allowed()))
        .layer(map_response_with_state(Arc::clone(&app), counted))
        .with_state(app)
}

/// GET without HEAD, for requests that change data: clients that only look must not change anything.
fn get_alone<H, T>(handler: H) -> MethodRouter<Arc<App>>
where
    H: Handler<T, Arc<App>>,
    T: 'static,
{
    let refused = || async { ([(header::ALLOW, "GET")], Problem::method_not_allowed()) };
    get(handler).head(refused)
}

type Named = Result<Path<String>, PathRejection>;

async fn counted(State(app): Shared, response: Response) -> Response {
    app.metrics.answered(response.status());
    response
}

fn answered(answer: Answer) -> Response {
    match answer {
        Ok(text) => ([TEXT, POLICY], text).into_response(),
        Err(problem) => problem.into_response(),
    }
}

async fn users(app: &App) -> Answer {
    lines(app.profiles.users().await?, |text, User { id, name }| {
        let name = name.as_deref().unwrap_or("null");
        // Writing to a string cannot fail.
        let _ = write!(text, "User(id={id}, name={name})");
    })
    .await
}

async fn profiles(app: &App) -> Answer {
    lines(app.profiles.profiles(Reader::Client).await?, |text, Profile { id, users }| {
        let _ = write!(text, "Profile(id={id}, users=[");
        for (index, user) in users.iter().enumerate() {
            let _ = write!(text, "{}{user}", if index > 0 { ", " } else { "" });
        }
        text.push_str("])");
    })
    .await
}

/// A line per element, as they arrive. A failure after the first piece cuts the answer off.
async fn lines<T, W>(mut list: List<T>, write: W) -> Answer
where
    T: DeserializeOwned + Send + 'static,
    W: Fn(&mut String, &T) + Send + 'static,
{
    let mut any = false;
    let mut written = move |elements: &[T]| {
        let mut text = String::new();
        for element in elements {
            if std::mem::replace(&mut any, true) {
                text.push('\n');
            }
            write(&mut text, element);
        }
        Bytes::from(text)
    };
    // The first piece decides between an answer and an error.
    let Some(elements) = list.next().await? else { return Ok(Body::empty()) };
    let first = written(&elements);
    let others = stream::try_unfold((list, written), |(mut list, mut written)| async {
        match list.next().await {
            Ok(Some(elements)) => {
                let text = written(&elements);
                Ok(Some((text, (list, written))))
            }
            Ok(None) => Ok(None),
            Err(failure) => {
                warn!(%failure, "a list was cut off");
                Err(failure)
            }
        }
    });
    Ok(Body::from_stream(stream::once(std::future::ready(Ok(first))).chain(others)))
}

async fn suggested(app: &App) -> Answer {
    let mut list = app.profiles.profiles(Reader::Directory).await?;
    let (mut once, mut more) = (BTreeSet::new(), BTreeSet::new());
    while let Some(profiles) = list.next().await? {
        for user in profiles.into_iter().flat_map(|profile: Profile| profile.users) {
            if !once.insert(user) {
                more.insert(user);
            }
        }
        if once.len() > SUGGESTABLE_MAX {
            let detail = format!("there are more than {SUGGESTABLE_MAX} users: too many for suggestions");
            return Err(Problem::new(StatusCode::INSUFFICIENT_STORAGE, detail));
        }
    }
    let more: Vec<Uuid> = more.into_iter().collect();
    Ok(format!("Suggested users: {}", with_commas(&more)).into())
}

async fn login(app: &App, id: Named) -> Answer {
    let text = id.map(|Path(text)| text).unwrap_or_default();
    let user = Uuid::try_parse(&text).ok().filter(|_| text.len() == 36).ok_or_else(|| {
        let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
        let detail =
            format!("{shown:?} is not an ID: expected a UUID such as 8a377bc6-c2e7-42db-bf80-36301e21f25e");
        Problem::new(StatusCode::BAD_REQUEST, detail)
    })?;
    let mut list = app.profiles.profiles_of(user).await?;
    let mut open = Vec::new();
    while let Some(profiles) = list.next().await? {
        let ids: Vec<Uuid> = profiles.into_iter().map(|profile: Profile| profile.id).collect();
        let some = app.opened.of(user, &ids).await.map_err(|_| {
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "open profiles are unknown at present: try again later",
            )
        })?;
        open.extend(some);
    }
    Ok(with_commas(&open).into())
}

async fn testdata(app: &App) -> Answer {
    allowed(app)?;
    app.profiles.check().await?;
    app.testdata.start();
    Ok("Generating testdata".into())
}

async fn drop_everything(app: &App) -> Answer {
    allowed(app)?;
    app.profiles.drop_all().await?;
    Ok("DB content successfully dropped, no snapshots".into())
}

fn allowed(app: &App) -> Result<(), Problem> {
    let refusal = || Problem::new(StatusCode::FORBIDDEN, "this is disabled (DESTRUCTIVE_GETS=false)");
    app.destructive_gets.then_some(()).ok_or_else(refusal)
}

fn with_commas(ids: &[Uuid]) -> String {
    ids.iter().map(Uuid::to_string).collect::<Vec<_>>().join(",")
}
