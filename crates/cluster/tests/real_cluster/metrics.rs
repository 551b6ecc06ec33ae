//! A server of `custom.metrics.k8s.io` and `external.metrics.k8s.io` with the values that the test set: of each pod that the
//! selector matches, of one object, or from outside.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    process::Command,
    sync::Arc,
    thread,
};

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::world::Admin;

/// In milli-units, by namespace and application, object (`services/chat`, `namespace`) or name of an external metric.
pub(crate) type Loads = Arc<Mutex<BTreeMap<(String, String), i64>>>;

/// Serves on a free port and registers there; returns what it serves.
pub(crate) fn serve(admin: &'static Admin) -> Loads {
    let config = certificate("DNS:localhost").server();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let loads: Loads = Arc::default();
    let shared = Arc::clone(&loads);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (config, loads) = (Arc::clone(&config), Arc::clone(&shared));
            thread::spawn(move || {
                let connection = rustls::ServerConnection::new(config).unwrap();
                // The API server connects again.
                let _ = answer(rustls::StreamOwned::new(connection, stream), admin, &loads);
            });
        }
    });
    admin.register(port);
    loads
}

/// A certificate that vouches for itself, and its key, in PEM.
pub(crate) struct Certificate {
    pub(crate) pem: String,
    key: String,
}

/// One for this `subjectAltName`.
pub(crate) fn certificate(name: &str) -> Certificate {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=localhost", "-addext", &format!("subjectAltName={name}")])
        // A client that trusts it takes no authority's for a server's.
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", &path("key"), "-out", &path("certificate")])
        .output()
        .expect("openssl, which the testbed installs");
    assert!(made.status.success(), "{made:?}");
    let read = |name: &str| fs::read_to_string(path(name)).unwrap();
    Certificate { pem: read("certificate"), key: read("key") }
}

impl Certificate {
    /// The settings of a server that shows it.
    pub(crate) fn server(&self) -> Arc<rustls::ServerConfig> {
        use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth();
        let certificate = CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        Arc::new(config.with_single_cert(vec![certificate], key).unwrap())
    }
}

type Stream = rustls::StreamOwned<rustls::ServerConnection, std::net::TcpStream>;

fn answer(stream: Stream, admin: &Admin, loads: &Loads) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim().split_once(": ") else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.parse().unwrap();
            }
        }
        reader.by_ref().take(length).read_to_end(&mut Vec::new())?;
        let uri = first.split(' ').nth(1).unwrap_or_default();
        let (status, body) = match body(uri, admin, loads) {
            Some(body) => ("200 OK", body),
            None => (
                "404 Not Found",
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404}),
            ),
        };
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let stream = reader.get_mut();
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        stream.flush()?;
    }
}

const CUSTOM: &str = "custom.metrics.k8s.io/v1beta2";
const EXTERNAL: &str = "external.metrics.k8s.io/v1beta1";

fn body(uri: &str, admin: &Admin, loads: &Loads) -> Option<Value> {
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let set = |namespace: &str, what: &str| {
        loads.lock().get(&(namespace.to_owned(), what.to_owned())).map(|milli| format!("{milli}m"))
    };
    let now = clock::wall();
    match parts.as_slice() {
        ["apis", "custom.metrics.k8s.io"] => Some(group(CUSTOM)),
        ["apis", "external.metrics.k8s.io"] => Some(group(EXTERNAL)),
        ["apis", "custom.metrics.k8s.io", "v1beta2"] => Some(resources(
            CUSTOM,
            &["pods/load", "services/requests", "namespaces/requests"],
            "MetricValueList",
        )),
        ["apis", "external.metrics.k8s.io", "v1beta1"] => {
            Some(resources(EXTERNAL, &["queue"], "ExternalMetricValueList"))
        }
        ["apis", "custom.metrics.k8s.io", "v1beta2", "namespaces", namespace, rest @ ..] => {
            let items: Vec<Value> = match rest {
                ["pods", "*" | "%2A", "load"] => {
                    let app = query.split('&').find_map(|pair| pair.strip_prefix("labelSelector=app%3D"))?;
                    let value = set(namespace, app)?;
                    let of = |pod: String| {
                        json!({"describedObject": {"kind": "Pod", "namespace": namespace, "name": pod, "apiVersion": "/v1"},
                            "metric": {"name": "load", "selector": null}, "timestamp": now, "value": value})
                    };
                    admin.running(namespace, app).into_iter().map(of).collect()
                }
                ["services", name, "requests"] => {
                    let value = set(namespace, &format!("services/{name}"))?;
                    vec![
                        json!({"describedObject": {"kind": "Service", "namespace": namespace, "name": name, "apiVersion": "/v1"},
                        "metric": {"name": "requests", "selector": null}, "timestamp": now, "value": value}),
                    ]
                }
                ["metrics", "requests"] => {
                    let value = set(namespace, "namespace")?;
                    vec![
                        json!({"describedObject": {"kind": "Namespace", "name": namespace, "apiVersion": "/v1"},
                        "metric": {"name": "requests", "selector": null}, "timestamp": now, "value": value}),
                    ]
                }
                _ => return None,
            };
            Some(json!({"kind": "MetricValueList", "apiVersion": CUSTOM, "metadata": {}, "items": items}))
        }
        ["apis", "external.metrics.k8s.io", "v1beta1", "namespaces", namespace, metric] => {
            let value = set(namespace, metric)?;
            // Two series, which the controller adds up.
            let item = |shard: &str, value: &str| json!({"metricName": metric, "metricLabels": {"shard": shard}, "timestamp": now, "value": value});
            let items = [item("one", &value), item("two", "50")];
            Some(
                json!({"kind": "ExternalMetricValueList", "apiVersion": EXTERNAL, "metadata": {}, "items": items}),
            )
        }
        _ => None,
    }
}

fn group(version: &str) -> Value {
    let (name, short) = version.split_once('/').unwrap();
    let version = json!({"groupVersion": version, "version": short});
    json!({"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": [version], "preferredVersion": version})
}

fn resources(version: &str, names: &[&str], kind: &str) -> Value {
    let resource = |name: &&str| json!({"name": name, "singularName": "", "namespaced": true, "kind": kind, "verbs": ["get"]});
    let resources: Vec<Value> = names.iter().map(resource).collect();
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources})
}
