//! Finding and connecting to the API server.

use std::{env, ffi::OsString, fmt, path::PathBuf, thread};

use futures_util::TryFutureExt as _;
use kube::{Client, Config, config::KubeConfigOptions};
use platform::TargetError;
use tokio::{runtime::Handle, sync::oneshot};

use crate::{
    caught::caught,
    client::{TokenFile, client},
    error::{Call, LOGIN_PROGRAM, deepest, is_missing_program, next, of_kubeconfig, words},
    kubeconfig,
    proxy::{Variables, proxy},
    timeouts::{ANSWER, CONNECT},
};

/// Keeps kube from looking for another one.
const UNUSED_PROXY: &str = "http://unused.invalid";

/// Which cluster, and what of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// A kubeconfig file. Otherwise those in `KUBECONFIG`, `~/.kube/config`, or the pod's own account.
    pub kubeconfig: Option<PathBuf>,
    /// A context of it; otherwise its current one.
    pub context: Option<String>,
    /// Otherwise the context's.
    pub namespace: Option<String>,
    /// Look at this autoscaler and what it scales alone; otherwise at the whole namespace.
    pub hpa: Option<String>,
}

/// A cluster to talk to.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    /// The context, or where else the settings come from.
    pub(crate) context: String,
    /// The API server's address and how it was found, for errors.
    pub(crate) place: String,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("place", &self.place)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

/// Where the settings of a connection come from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    File(PathBuf),
    /// The files of `KUBECONFIG`, as they stand there.
    Variable(OsString),
    Home(PathBuf),
    Pod,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) | Self::Home(path) => write!(f, "{}", path.display()),
            Self::Variable(value) => write!(f, "KUBECONFIG={}", value.display()),
            Self::Pod => f.write_str("this pod's service account"),
        }
    }
}

/// What is read of the environment.
struct Environment {
    kubeconfig: Option<OsString>,
    home: Option<PathBuf>,
    in_pod: bool,
    proxies: Variables,
}

impl Environment {
    fn present() -> Self {
        Self {
            kubeconfig: env::var_os("KUBECONFIG").filter(|value| !listed(value).is_empty()),
            home: env::home_dir().map(|home| home.join(".kube/config")).filter(|path| path.exists()),
            in_pod: env::var_os("KUBERNETES_SERVICE_HOST").is_some(),
            proxies: Variables::present(),
        }
    }

    fn origin(&self, file: Option<&PathBuf>) -> Result<Origin, TargetError> {
        let Self { kubeconfig, home, in_pod, .. } = self;
        file.cloned()
            .map(Origin::File)
            .or(kubeconfig.clone().map(Origin::Variable))
            .or(home.clone().map(Origin::Home))
            .or(in_pod.then_some(Origin::Pod))
            .ok_or_else(|| TargetError::Invalid {
                message: "no cluster is configured: there is no --kubeconfig FILE, no KUBECONFIG and no \
                          ~/.kube/config, and this is not a pod"
                    .to_owned(),
            })
    }
}

/// What stands in a list of files as `KUBECONFIG` has it.
fn listed(value: &OsString) -> Vec<PathBuf> {
    env::split_paths(value).filter(|path| !path.as_os_str().is_empty()).collect()
}

/// What cannot be the name of anything is refused before a request is made with it.
fn check(options: &Options) -> Result<(), TargetError> {
    if let Some(namespace) = &options.namespace {
        check_namespace(namespace, "(-n)")?;
    }
    let is_name = |name: &str| !name.is_empty() && name.split('.').all(is_label);
    if let Some(hpa) = options.hpa.as_ref().filter(|hpa| !is_name(hpa)) {
        let message =
            format!("{hpa:?} cannot be the name of an autoscaler; kubectl get hpa shows what there is");
        return Err(TargetError::Invalid { message });
    }
    Ok(())
}

/// `whose`: where it comes from, in words.
pub(crate) fn check_namespace(name: &str, whose: &str) -> Result<(), TargetError> {
    if is_label(name) {
        return Ok(());
    }
    let message = format!(
        "{name:?} {whose} cannot be a namespace; expected at most 63 lower-case letters, digits and hyphens, such as chat"
    );
    Err(TargetError::Invalid { message })
}

/// A name as RFC 1123 has it.
fn is_label(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(is_inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// Reads the settings and makes a client; the API server is not asked yet.
pub(crate) async fn connect(options: &Options) -> Result<Cluster, TargetError> {
    connect_from(options, &Environment::present()).await
}

async fn connect_from(options: &Options, environment: &Environment) -> Result<Cluster, TargetError> {
    check(options)?;
    let origin = environment.origin(options.kubeconfig.as_ref())?;
    let Settings { mut config, context, proxy_url } = match &origin {
        Origin::Pod => in_pod(options, &origin)?,
        _ => from_file(&origin, options).await?,
    };
    config.connect_timeout = Some(CONNECT);
    let namespace = options.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    check_namespace(&namespace, &format!("of context {context} of {origin}"))?;
    let proxy = proxy(proxy_url.as_deref(), &config.cluster_url, &environment.proxies).map_err(|why| {
        let message = if proxy_url.is_some() { format!("context {context} of {origin}: {why}") } else { why };
        TargetError::Invalid { message }
    })?;
    let server = kubeconfig::without_password(&config.cluster_url);
    let origin_in_words = match &origin {
        Origin::Pod => origin.to_string(),
        _ => format!("context {context} of {origin}"),
    };
    let through = proxy.as_ref().map_or_else(String::new, |proxy| format!(", through the proxy {proxy}"));
    let place = format!("{server} ({origin_in_words}{through})");
    let unusable = |why: String| TargetError::Invalid { message: format!("{place} cannot be used: {why}") };
    if let Some(what) = kubeconfig::unsendable(&config.auth_info) {
        return Err(unusable(format!("{what} has line breaks or other characters that cannot be sent")));
    }
    let token = token(&mut config).map_err(unusable)?;
    let giver = kubeconfig::giver(&config.auth_info);
    let install_hint = kubeconfig::install_hint(&config.auth_info);
    // It panics at a token that cannot be sent, and only it asks a login program for one.
    let built = beside(move || caught(|| client(&config, token, proxy))).await?.ok_or_else(|| {
        unusable(format!(
            "{giver} gives a token that cannot be sent: does it have line breaks or other characters that no token has?"
        ))
    })?;
    let client = built.map_err(|error| {
        let mut said = words(&error).replace(LOGIN_PROGRAM, &giver);
        if let (true, Some(hint)) = (is_missing_program(&error), install_hint) {
            said = format!("{said}; the kubeconfig says: {hint}");
        }
        unusable(said)
    })?;
    Ok(Cluster { client, namespace, context, place })
}

/// Does it in a thread of its own: a login program may wait for somebody, and until then Ctrl-C must have an effect. Nobody
/// waits for the thread after that.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, TargetError> {
    let (done, is_done) = oneshot::channel();
    let runtime = Handle::current();
    let spawned = thread::Builder::new().name("login".to_owned()).spawn(move || {
        let _entered = runtime.enter();
        done.send(work())
    });
    spawned.map_err(TargetError::other)?;
    is_done.await.map_err(TargetError::other)
}

/// The token file, if this account logs in by one; kube, which would send the white space in it as well, does not see it.
fn token(config: &mut Config) -> Result<Option<TokenFile>, String> {
    let user = &mut config.auth_info;
    let comes_first = user.auth_provider.is_some() || user.username.is_some() && user.password.is_some();
    let Some(path) = user.token_file.take().filter(|path| !comes_first && !path.is_empty()) else {
        return Ok(None);
    };
    let another = kubeconfig::token(user);
    user.token = None;
    // A program is asked only if there is no token.
    user.exec = None;
    TokenFile::read(path, another.as_deref()).map(Some)
}

/// Where and how to connect.
struct Settings {
    config: Config,
    /// Its name, or where else the settings come from.
    context: String,
    /// What the kubeconfig says about a proxy.
    proxy_url: Option<String>,
}

fn in_pod(options: &Options, origin: &Origin) -> Result<Settings, TargetError> {
    if options.context.is_some() {
        let message = "--context needs a kubeconfig, and there is none".to_owned();
        return Err(TargetError::Invalid { message });
    }
    let config = Config::incluster().map_err(|error| TargetError::Invalid {
        message: format!("{origin} cannot be used: {}", deepest(&error)),
    })?;
    Ok(Settings { config, context: origin.to_string(), proxy_url: None })
}

async fn from_file(origin: &Origin, options: &Options) -> Result<Settings, TargetError> {
    let invalid = |message: String| TargetError::Invalid { message };
    let files = match origin {
        Origin::File(path) | Origin::Home(path) => vec![path.clone()],
        Origin::Variable(value) => listed(value),
        Origin::Pod => Vec::new(),
    };
    let mut kubeconfig = kubeconfig::read(&files)
        .map_err(|why| invalid(format!("{origin} is not a readable kubeconfig: {why}")))?;
    let known: Vec<&str> = kubeconfig.contexts.iter().map(|context| context.name.as_str()).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let Some(context) = options.context.clone().or_else(|| kubeconfig.current_context.clone()) else {
        return Err(invalid(format!(
            "{origin} has no current context; choose one with --context; it has: {known}"
        )));
    };
    let Some(named) = kubeconfig.contexts.iter().find(|one| one.name == context) else {
        return Err(invalid(format!("{origin} has no context {context}; it has: {known}")));
    };
    // Otherwise kube takes proxies from the environment; crate::proxy says why it must not.
    let cluster = named.context.as_ref().map(|context| context.cluster.clone());
    let proxy_url = kubeconfig
        .clusters
        .iter_mut()
        .filter(|one| Some(&one.name) == cluster.as_ref())
        .find_map(|one| one.cluster.as_mut()?.proxy_url.replace(UNUSED_PROXY.to_owned()))
        .filter(|url| !url.is_empty());
    let chosen = KubeConfigOptions { context: Some(context.clone()), cluster: None, user: None };
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &chosen)
        .await
        .map_err(|error| invalid(format!("context {context} of {origin}: {}", of_kubeconfig(&error))))?;
    if let Some(told) = config.auth_info.exec.as_mut().and_then(|exec| exec.cluster.as_mut()) {
        told.proxy_url.clone_from(&proxy_url);
    }
    // The client panics at any other.
    let has_scheme = matches!(config.cluster_url.scheme_str(), Some("http" | "https"));
    if !has_scheme || config.cluster_url.authority().is_none() {
        return Err(invalid(format!(
            "context {context} of {origin}: server: {} is no address of an API server; expected https://HOST:PORT",
            kubeconfig::without_password(&config.cluster_url)
        )));
    }
    Ok(Settings { config, context, proxy_url })
}

impl Call {
    /// What happened to what, and what to do.
    pub(crate) fn error(self, what: &str, cluster: &Cluster) -> TargetError {
        let place = &cluster.place;
        let message = match self.status() {
            Some(401) => format!(
                "{place} does not accept these credentials; log in again, or choose another --context or --kubeconfig"
            ),
            Some(403) => {
                let words = self.words();
                let next = if words.contains("\"system:anonymous\"") {
                    "; no credentials were accepted: does the kubeconfig have the context's user, and a way for it to log in?"
                } else {
                    ""
                };
                format!("not allowed at {place}: {what}: {words}{next}")
            }
            Some(404) => format!("not found at {place}: {what}: {}", self.words()),
            Some(_) => format!("{place} refused {what}: {}", self.words()),
            None => {
                let words = self.words();
                let next = next(&words);
                format!("could not ask {place} for {what}: {words}; {next}")
            }
        };
        if self.is_temporary() { TargetError::Temporary { message } } else { TargetError::Other { message } }
    }
}

impl Cluster {
    /// Waits for an answer, at most [`ANSWER`]; an error says what was asked, and where.
    pub(crate) async fn ask<T>(
        &self,
        what: impl Into<String>,
        answer: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, TargetError> {
        self.try_ask(answer).await.map_err(|call| call.error(&what.into(), self))
    }

    /// The same, for callers who look at the error.
    pub(crate) async fn try_ask<T>(&self, answer: impl Future<Output = kube::Result<T>>) -> Result<T, Call> {
        match tokio::time::timeout(ANSWER, answer.map_err(Call::Failed)).await {
            Ok(answer) => answer,
            Err(_) => Err(Call::TimedOut(ANSWER)),
        }
    }

    /// The same cluster, with another namespace in view.
    pub(crate) fn in_namespace(&self, namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..self.clone() }
    }

    /// The version of the API server, which shows that it is there and lets us in.
    pub(crate) async fn version(&self) -> Result<String, TargetError> {
        let version = self.ask("its version", self.client.apiserver_version()).await?;
        Ok(version.git_version)
    }
}

#[cfg(test)]
mod reach_tests;

#[cfg(test)]
mod tests {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    use serde_json::{Value, json};
    use tempfile::NamedTempFile;

    use super::*;

    fn environment(kubeconfig: Option<&str>, home: bool, in_pod: bool) -> Environment {
        Environment {
            kubeconfig: kubeconfig.map(OsString::from),
            home: home.then(|| PathBuf::from("/home/me/.kube/config")),
            in_pod,
            proxies: Variables::default(),
        }
    }

    #[test]
    fn what_is_named_comes_before_what_is_found() {
        let file = PathBuf::from("mine");
        let of = |environment: Environment, file: Option<&PathBuf>| {
            environment.origin(file).map_or_else(|error| error.to_string(), |origin| origin.to_string())
        };
        assert_eq!(of(environment(Some("a:b"), true, true), Some(&file)), "mine");
        assert_eq!(of(environment(Some("a:b"), true, true), None), "KUBECONFIG=a:b");
        assert_eq!(of(environment(None, true, true), None), "/home/me/.kube/config");
        assert_eq!(of(environment(None, false, true), None), "this pod's service account");
        assert!(of(environment(None, false, false), None).contains("--kubeconfig FILE"));
    }

    fn error(text: &str, options: &Options) -> String {
        let file = env::temp_dir().join(format!("kubeconfig-{}", uuid::Uuid::now_v7()));
        std::fs::write(&file, text).unwrap();
        let options = Options { kubeconfig: Some(file.clone()), ..options.clone() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let nothing = environment(None, false, false);
        let error = runtime.block_on(async { connect_from(&options, &nothing).await?.version().await });
        let error = error.unwrap_err().to_string();
        std::fs::remove_file(&file).unwrap();
        assert!(error.contains(&file.display().to_string()), "the file is named in: {error}");
        error
    }

    const TWO: &str =
        "{apiVersion: v1, kind: Config, clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}],
        users: [{name: u, user: {}}], contexts: [{name: one, context: {cluster: c, user: u}},
        {name: two, context: {cluster: gone, user: u}}]}";

    #[test]
    fn a_kubeconfig_that_cannot_be_used_is_named_with_what_it_has() {
        let context = |name: &str| Options { context: Some(name.to_owned()), ..Options::default() };
        assert!(
            error(TWO, &Options::default())
                .contains("no current context; choose one with --context; it has: one, two")
        );
        assert!(error(TWO, &context("three")).contains("no context three; it has: one, two"));
        assert!(error(TWO, &context("two")).contains("context two"));
        assert!(error(TWO, &context("two")).contains("it names the cluster \"gone\", which is not among"));
        assert!(error("[", &Options::default()).contains("not a readable kubeconfig"));
        for server in ["nonsense", "127.0.0.1:6443", "ftp://127.0.0.1", "/"] {
            let error = error(&TWO.replace("https://127.0.0.1:1", server), &context("one"));
            assert!(error.contains("server: ") && error.contains("https://HOST:PORT"), "{server}: {error}");
        }
    }

    /// What connecting says about a kubeconfig with this of a cluster, which has nothing to show, and this user.
    fn said(cluster: &Value, user: &Value) -> String {
        let mut whole = json!({"server": "https://127.0.0.1:1", "certificate-authority-data": ""});
        for (key, value) in cluster.as_object().unwrap() {
            whole[key] = value.clone();
        }
        let text = json!({"apiVersion": "v1", "kind": "Config", "current-context": "one",
            "clusters": [{"name": "c", "cluster": whole}], "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "one", "context": {"cluster": "c", "user": "u"}}]});
        let said = error(&text.to_string(), &Options::default());
        assert!(!said.contains("HUNTER2"), "{cluster} {user}: {said}");
        assert!(!said.contains("worker closed"), "the client's task panicked at {cluster} {user}: {said}");
        said
    }

    /// A login program that prints this.
    fn login(status: &Value) -> (NamedTempFile, Value) {
        let script = NamedTempFile::new().unwrap();
        let credential = json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status});
        std::fs::write(script.path(), format!("cat <<'END'\n{credential}\nEND\n")).unwrap();
        let user = json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/sh",
            "args": [script.path().to_str().unwrap(), "HUNTER2"], "interactiveMode": "Never"}});
        (script, user)
    }

    #[test]
    fn a_token_that_cannot_be_sent_is_refused_with_whoever_gives_it() {
        let later = "2999-01-01T00:00:00Z";
        for token in ["HUNTER2\n", "HUNTER2\r\nx: y", "HUNTER2\u{1}"] {
            let (_script, user) = login(&json!({"token": token}));
            let words = said(&json!({}), &user);
            assert!(
                words.contains("(exec: /bin/sh) gives a token that cannot be sent"),
                "{token:?}: {words}"
            );
            let (_script, user) = login(&json!({"token": token, "expirationTimestamp": later}));
            let words = said(&json!({}), &user);
            assert!(
                words.contains("login program has line breaks") && words.contains("log in again"),
                "{token:?}: {words}"
            );
            let user = json!({"auth-provider": {"name": "oidc", "config": {"id-token": token}}});
            assert!(said(&json!({}), &user).contains("the auth-provider oidc gives a token"), "{token:?}");
            assert!(
                said(&json!({}), &json!({"token": token})).contains("token has line breaks"),
                "{token:?}"
            );
            let file = NamedTempFile::new().unwrap();
            std::fs::write(file.path(), token).unwrap();
            let path = file.path().to_str().unwrap();
            let words = said(&json!({}), &json!({"tokenFile": path}));
            if token.trim() == "HUNTER2" {
                assert!(words.contains("Connection refused"), "{token:?}: {words}");
            } else {
                assert!(words.contains(&format!("token file {path}: the token has line breaks")), "{words}");
            }
        }
        let (_script, user) = login(&json!({"token": "t", "expirationTimestamp": "HUNTER2"}));
        assert!(said(&json!({}), &user).contains("expirationTimestamp that is not a time"));
        let (_script, user) = login(&json!({"token": "HUNTER2", "expirationTimestamp": later}));
        assert!(said(&json!({}), &user).contains("Connection refused"), "a good one is sent");
    }

    #[test]
    fn what_is_wrong_with_a_kubeconfig_is_said_without_its_secrets() {
        let nobody = json!({});
        let proxy = json!({"proxy-url": "http://me:HUNTER2@127.0.0.1:2"});
        let words = said(&proxy, &nobody);
        assert!(words.contains("through the proxy http://127.0.0.1:2 of proxy-url"), "{words}");
        assert!(words.contains("the proxy cannot be reached: Connection refused"), "{words}");
        let words = said(&json!({"proxy-url": "ftp://me:HUNTER2@127.0.0.1:2"}), &nobody);
        assert!(words.contains("proxy-url is not the address of a proxy"), "{words}");
        let server = json!({"server": "https://me:HUNTER2@127.0.0.1:1/a"});
        assert!(said(&server, &nobody).contains("https://127.0.0.1:1/a "));
        assert!(
            said(&json!({"server": "ftp://me:HUNTER2@127.0.0.1"}), &nobody)
                .contains("server: ftp://127.0.0.1")
        );
        assert!(said(&json!({"tls-server-name": "a b"}), &nobody).contains("tls-server-name: "));
        for (field, value) in [
            ("as", json!("HUNTER2\n")),
            ("as-uid", json!("HUNTER2\n")),
            ("as-groups", json!(["fine", "HUNTER2\n"])),
            ("as-user-extra", json!({"fine": ["HUNTER2\n"]})),
        ] {
            let words = said(&json!({}), &json!({field: value}));
            assert!(words.contains(&format!("{field} has line breaks")), "{words}");
        }
        // As it is when the line breaks are lost.
        let key = BASE64_STANDARD.encode("-----BEGIN PRIVATE KEY-----HUNTER2-----END PRIVATE KEY-----");
        let words = said(&json!({}), &json!({"client-key-data": key, "client-certificate-data": key}));
        assert!(words.contains("client-certificate, client-key: not in PEM"), "{words}");
    }

    #[test]
    fn no_character_in_a_kubeconfig_makes_the_client_panic() {
        for strange in ["\n", "\0", "\r\nx: y", "\u{7f}", "\u{e9}", "\u{1f600}", " ", "%", "@", ":", "\"", ""]
        {
            let text = format!("HUNTER2{strange}");
            let here = format!("here{strange}");
            let clusters = [("server", &here), ("tls-server-name", &here), ("proxy-url", &text)]
                .map(|(field, text)| json!({field: text}));
            let parts = ["https://127.0.0.1:1/", "https://", "http://me:HUNTER2@"]
                .map(|begin| json!({"server": format!("{begin}{strange}")}));
            for cluster in clusters.into_iter().chain(parts) {
                said(&cluster, &json!({}));
            }
            for user in [
                json!({"token": text}),
                json!({"tokenFile": format!("gone{strange}")}),
                json!({"username": text, "password": text}),
                json!({"as": text, "as-uid": text, "as-groups": [text]}),
                json!({"as": "me", "as-user-extra": {format!("a{strange}"): [text]}}),
                json!({"client-certificate-data": text, "client-key-data": text}),
                json!({"auth-provider": {"name": "gcp", "config": {"access-token": text, "expiry": text}}}),
                json!({"auth-provider": {"name": "gcp", "config": {"cmd-path": "echo", "cmd-args": text}}}),
                json!({"auth-provider": {"name": format!("a{strange}")}}),
                json!({"exec": {"command": format!("/nowhere{strange}"), "args": [text]}}),
                json!({"exec": {"command": "true", "args": [text],
                    "env": [{"name": text, "value": text}, {"name": strange, "value": text}]}}),
            ] {
                said(&json!({}), &user);
            }
        }
    }

    #[test]
    fn what_cannot_be_a_name_is_refused() {
        let text = TWO.replace("{cluster: c, user: u}", "{cluster: c, user: u, namespace: 'a/b'}");
        let one = Options { context: Some("one".to_owned()), ..Options::default() };
        let error = error(&text, &one);
        assert!(
            error.contains("\"a/b\" of context one") && error.contains("cannot be a namespace"),
            "{error}"
        );
        for (namespace, hpa, is_fine) in [
            ("chat", "chat-server.v2", true),
            ("", "chat", false),
            ("a/b", "chat", false),
            ("-a", "chat", false),
            ("Chat", "chat", false),
            ("chat", "", false),
            ("chat", "a/b", false),
            ("chat", "a..b", false),
        ] {
            let (namespace, hpa) = (Some(namespace.to_owned()), Some(hpa.to_owned()));
            let checked =
                check(&Options { namespace: namespace.clone(), hpa: hpa.clone(), ..Options::default() });
            assert_eq!(checked.is_ok(), is_fine, "{namespace:?} {hpa:?}");
        }
    }
}
