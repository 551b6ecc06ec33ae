//! How an API server is reached: through real proxies on loopback, and with a token from a file.

use std::{fs, ops::ControlFlow, sync::Arc};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use super::*;

/// What came in, in order.
type Seen = Arc<Mutex<Vec<String>>>;

/// Until the empty line.
async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

/// An API server that says its version; and the heads of the requests it got.
async fn api_server() -> (u16, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Seen::default();
    let heads = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let heads = Arc::clone(&heads);
            tokio::spawn(async move {
                while let Some(head) = head(&mut stream).await {
                    heads.lock().push(head);
                    let body = json!({"major": "1", "minor": "34", "gitVersion": "v1.34.4", "gitCommit": "",
                        "gitTreeState": "", "buildDate": "", "goVersion": "", "compiler": "", "platform": ""})
                    .to_string();
                    let answer = format!(
                        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (port, seen)
}

/// A proxy that takes every name for this machine. It answers `CONNECT` with this, and connects if that is 200.
async fn http_proxy(answer: &'static str) -> (u16, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Seen::default();
    let heads = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let heads = Arc::clone(&heads);
            tokio::spawn(async move {
                let Some(head) = head(&mut client).await else { return };
                let server = head.split(' ').nth(1).unwrap_or_default();
                let port: u16 = server.rsplit_once(':').unwrap().1.parse().unwrap();
                heads.lock().push(head.clone());
                client.write_all(answer.as_bytes()).await.unwrap();
                if answer.contains(" 200 ") {
                    let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    copy_bidirectional(&mut client, &mut server).await.ok();
                }
            });
        }
    });
    (port, seen)
}

/// A SOCKS5 proxy that takes every name for this machine and wants this user and password, if any.
async fn socks_proxy(user: Option<(&'static str, &'static str)>) -> (u16, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Seen::default();
    let servers = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let servers = Arc::clone(&servers);
            tokio::spawn(async move { socks(client, user, &servers).await });
        }
    });
    (port, seen)
}

async fn socks(mut client: TcpStream, user: Option<(&str, &str)>, servers: &Seen) -> Option<()> {
    let sized = async |client: &mut TcpStream| {
        let mut bytes = vec![0; usize::from(client.read_u8().await.ok()?)];
        client.read_exact(&mut bytes).await.ok()?;
        Some(bytes)
    };
    assert_eq!(client.read_u8().await.ok()?, 5);
    let methods = sized(&mut client).await?;
    let method = if user.is_some() { 2 } else { 0 };
    if !methods.contains(&method) {
        client.write_all(&[5, 0xff]).await.ok()?;
        return None;
    }
    client.write_all(&[5, method]).await.ok()?;
    if let Some((name, password)) = user {
        assert_eq!(client.read_u8().await.ok()?, 1);
        let given = (sized(&mut client).await?, sized(&mut client).await?);
        let is_right = given == (name.as_bytes().to_vec(), password.as_bytes().to_vec());
        client.write_all(&[1, u8::from(!is_right)]).await.ok()?;
        if !is_right {
            return None;
        }
    }
    let mut request = [0; 4];
    client.read_exact(&mut request).await.ok()?;
    assert_eq!(request[..3], [5, 1, 0]);
    let name = match request[3] {
        1 => std::net::Ipv4Addr::from_bits(client.read_u32().await.ok()?).to_string(),
        4 => std::net::Ipv6Addr::from_bits(client.read_u128().await.ok()?).to_string(),
        _ => String::from_utf8(sized(&mut client).await?).unwrap(),
    };
    let port = client.read_u16().await.ok()?;
    servers.lock().push(format!("{name}:{port}"));
    if name.starts_with("refused") {
        client.write_all(&[5, 2, 0, 1, 0, 0, 0, 0, 0, 0]).await.ok()?;
        return None;
    }
    let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    client.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 1]).await.ok()?;
    copy_bidirectional(&mut client, &mut server).await.ok();
    Some(())
}

const OK: &str = "HTTP/1.1 200 Connection established\r\nVia: a proxy\r\n\r\n";

struct Trial {
    folder: TempDir,
    cluster: Value,
    user: Value,
    variables: Vec<(&'static str, String)>,
}

impl Trial {
    fn new(server: &str) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            cluster: json!({"server": server}),
            user: json!({}),
            variables: Vec::new(),
        }
    }

    fn proxy_url(mut self, url: impl Into<String>) -> Self {
        self.cluster["proxy-url"] = url.into().into();
        self
    }

    fn variable(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    /// The file.
    fn kubeconfig(&self) -> PathBuf {
        let file = self.folder.path().join("kubeconfig");
        let text = json!({"apiVersion": "v1", "kind": "Config", "current-context": "one",
            "clusters": [{"name": "c", "cluster": self.cluster}], "users": [{"name": "u", "user": self.user}],
            "contexts": [{"name": "one", "context": {"cluster": "c", "user": "u"}}]});
        fs::write(&file, text.to_string()).unwrap();
        file
    }

    async fn connect(&self) -> Result<Cluster, TargetError> {
        let options = Options { kubeconfig: Some(self.kubeconfig()), ..Options::default() };
        let proxies = Variables::of(|name| {
            self.variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone())
        });
        let environment = Environment { kubeconfig: None, home: None, in_pod: false, proxies };
        connect_from(&options, &environment).await
    }

    /// The version, or what is said.
    async fn version(&self) -> String {
        let asked = async { self.connect().await?.version().await };
        asked.await.unwrap_or_else(|error| error.to_string())
    }
}

#[tokio::test]
async fn an_http_proxy_connects_and_gets_the_name_of_the_server() {
    let (api, requests) = api_server().await;
    let (proxy, heads) = http_proxy(OK).await;
    let server = format!("http://api.test:{api}");
    let through = Trial::new(&server).variable("HTTP_PROXY", format!("http://me:p%40ss@127.0.0.1:{proxy}"));
    assert_eq!(through.version().await, "v1.34.4");
    let head = heads.lock().remove(0);
    let begin = format!("CONNECT api.test:{api} HTTP/1.1\r\nHost: api.test:{api}\r\n");
    assert!(head.starts_with(&begin), "{head}");
    assert!(head.contains("\r\nProxy-Authorization: Basic bWU6cEBzcw==\r\n"), "{head}");
    assert!(requests.lock()[0].starts_with("GET /version HTTP/1.1\r\n"));
    assert!(!requests.lock()[0].to_lowercase().contains("proxy-authorization"));
}

#[tokio::test]
async fn a_proxy_of_the_environment_is_not_for_this_machine_and_not_for_no_proxy_but_proxy_url_is() {
    let (api, _) = api_server().await;
    let (proxy, heads) = http_proxy(OK).await;
    let address = format!("http://127.0.0.1:{proxy}");
    for server in [format!("http://127.0.0.1:{api}"), format!("http://localhost:{api}")] {
        let direct = Trial::new(&server).variable("HTTP_PROXY", &address);
        assert_eq!(direct.version().await, "v1.34.4", "{server}");
    }
    // This name is nowhere, so only a proxy reaches it.
    let server = format!("http://api.invalid:{api}");
    let exempt = Trial::new(&server).variable("HTTP_PROXY", &address).variable("NO_PROXY", "a,,.invalid,");
    let said = exempt.version().await;
    assert!(said.contains("could not ask") && !said.contains("proxy"), "{said}");
    assert!(heads.lock().is_empty());
    let own = Trial::new(&format!("http://127.0.0.1:{api}"))
        .proxy_url(&address)
        .variable("HTTP_PROXY", "http://127.0.0.1:1")
        .variable("NO_PROXY", "*");
    assert_eq!(own.version().await, "v1.34.4");
    assert!(heads.lock()[0].starts_with(&format!("CONNECT 127.0.0.1:{api} ")));
}

#[tokio::test]
async fn what_a_proxy_says_is_said_with_where_it_is_set() {
    for (answer, words) in [
        (
            "HTTP/1.1 403 Forbidden by policy\r\n\r\n",
            "the proxy does not connect to api.test:6443: 403 Forbidden by policy; is the proxy right",
        ),
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "the proxy wants a user and password"),
        ("HTTP/1.0 502 Bad Gateway\r\n\r\n", "the proxy does not connect to api.test:6443: 502 Bad Gateway"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "what answers there is no HTTP proxy"),
        ("HTTP/1.1 what\r\n\r\n", "what answers there is no HTTP proxy"),
        ("", "the proxy closed the connection without an answer"),
    ] {
        let (proxy, _) = http_proxy(answer).await;
        let said = Trial::new("https://api.test:6443")
            .variable("HTTPS_PROXY", format!("me:HUNTER2@127.0.0.1:{proxy}"))
            .version()
            .await;
        assert!(said.contains(words), "{answer:?}: {said}");
        assert!(
            said.contains(&format!("through the proxy http://127.0.0.1:{proxy} of HTTPS_PROXY")),
            "{said}"
        );
        assert!(!said.contains("HUNTER2"), "{said}");
    }
}

#[tokio::test]
async fn an_answer_without_an_end_is_no_proxys() {
    let (proxy, _) =
        http_proxy(Box::leak(format!("HTTP/1.1 200{}", "a".repeat(20 << 10)).into_boxed_str())).await;
    let said =
        Trial::new("https://api.test").variable("HTTPS_PROXY", format!("127.0.0.1:{proxy}")).version().await;
    assert!(said.contains("what answers there is no HTTP proxy"), "{said}");
}

#[tokio::test]
async fn a_socks_proxy_connects_with_and_without_a_user() {
    let (api, _) = api_server().await;
    let user = Some(("me", "p@ss"));
    let (open, servers) = socks_proxy(None).await;
    for name in ["api.test", "127.0.0.1", "[fd00::1]"] {
        let through =
            Trial::new(&format!("http://{name}:{api}")).proxy_url(format!("socks5://127.0.0.1:{open}"));
        assert_eq!(through.version().await, "v1.34.4", "{name}");
        let asked = servers.lock().pop();
        assert_eq!(asked, Some(format!("{}:{api}", name.trim_matches(['[', ']']))));
    }
    let (closed, _) = socks_proxy(user).await;
    for (given, words) in [("me:p%40ss@", "v1.34.4"), ("me:wrong@", "wants a user"), ("", "wants a user")] {
        let through = Trial::new(&format!("http://api.test:{api}"))
            .proxy_url(format!("socks5://{given}127.0.0.1:{closed}"));
        let said = through.version().await;
        assert!(said.contains(words), "{given}: {said}");
    }
    let refused = Trial::new("http://refused.test:1").proxy_url(format!("socks5://127.0.0.1:{open}"));
    let said = refused.version().await;
    assert!(
        said.contains("the proxy does not connect to refused.test:1: not allowed by its rules"),
        "{said}"
    );
}

#[tokio::test]
async fn a_login_program_is_told_the_kubeconfigs_proxy_and_no_other() {
    let (api, _) = api_server().await;
    let (proxy, _) = http_proxy(OK).await;
    let url = format!("http://127.0.0.1:{proxy}");
    for configured in [Some(url.as_str()), None] {
        let mut trial = Trial::new(&format!("http://api.test:{api}")).variable("HTTP_PROXY", &url);
        if let Some(configured) = configured {
            trial = trial.proxy_url(configured);
        }
        let told = trial.folder.path().join("told");
        let version = "client.authentication.k8s.io/v1";
        let script = format!(
            "printf %s \"$KUBERNETES_EXEC_INFO\" > {}; echo '{{\"apiVersion\": \"{version}\", \"kind\": \
             \"ExecCredential\", \"status\": {{\"token\": \"t\"}}}}'",
            told.display()
        );
        trial.user = json!({"exec": {"apiVersion": version, "command": "/bin/sh", "args": ["-c", script],
            "interactiveMode": "Never", "provideClusterInfo": true}});
        assert_eq!(trial.version().await, "v1.34.4");
        let told: Value = serde_json::from_str(&fs::read_to_string(told).unwrap()).unwrap();
        let cluster = &told["spec"]["cluster"];
        assert_eq!(cluster["server"], format!("http://api.test:{api}"), "{told}");
        assert_eq!(cluster["proxy-url"].as_str().or(cluster["proxyUrl"].as_str()), configured, "{told}");
    }
}

#[tokio::test]
async fn a_token_file_comes_before_the_other_token_and_needs_no_trimming() {
    let (api, requests) = api_server().await;
    let mut trial = Trial::new(&format!("http://127.0.0.1:{api}"));
    let file = trial.folder.path().join("token");
    let sent = || {
        let head = requests.lock().pop().unwrap();
        let token = head.lines().find_map(|line| line.strip_prefix("authorization: ").map(str::to_owned));
        token.unwrap()
    };
    trial.user = json!({"tokenFile": file, "token": "inline"});
    // As for client-go, the other token helps out until the file is there.
    assert_eq!(trial.version().await, "v1.34.4");
    assert_eq!(sent(), "Bearer inline");
    fs::write(&file, " one\r\n\n").unwrap();
    assert_eq!(trial.version().await, "v1.34.4");
    assert_eq!(sent(), "Bearer one");
    trial.user = json!({"tokenFile": file, "exec": {"command": "/nowhere"}});
    assert_eq!(trial.version().await, "v1.34.4");
    assert_eq!(sent(), "Bearer one");
    fs::write(&file, " \n").unwrap();
    let said = trial.version().await;
    assert!(said.contains(&format!("token file {}: it is empty", file.display())), "{said}");
    fs::remove_file(&file).unwrap();
    let said = trial.version().await;
    assert!(said.contains(&format!("token file {}: No such file", file.display())), "{said}");
}

#[test]
fn a_login_program_that_waits_for_somebody_does_not_hold_up_an_interruption() {
    let mut trial = Trial::new("https://127.0.0.1:1");
    let waits = trial.folder.path().join("waits");
    fs::write(&waits, "").unwrap();
    // It ends with the folder.
    let script = format!("while [ -e {} ]; do sleep 0.1; done", waits.display());
    trial.user = json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/sh",
        "args": ["-c", script], "interactiveMode": "Never"}});
    let options = Options { kubeconfig: Some(trial.kubeconfig()), ..Options::default() };
    let stop = Arc::new(|_| ControlFlow::Break(()));
    let stopped = crate::ClusterTarget::connect(&options, Some(stop));
    assert!(matches!(stopped, Err(TargetError::Interrupted)), "{stopped:?}");
    assert!(waits.exists());
}

#[tokio::test]
async fn a_login_program_that_is_missing_is_named_with_the_kubeconfigs_hint() {
    let mut trial = Trial::new("https://127.0.0.1:1");
    trial.user = json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/nowhere/cloud-login",
        "installHint": "Install it\n  from the cloud.\n", "interactiveMode": "Never"}});
    let said = trial.version().await;
    let words = "(exec: /nowhere/cloud-login) cannot be run: No such file or directory (os error 2); the kubeconfig says: \
                 Install it from the cloud.";
    assert!(said.contains(words), "{said}");
}
