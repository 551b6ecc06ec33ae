//! A server of `custom.metrics.k8s.io`: each pod that the selector matches has the value that the test set.

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

/// In milli-units, by namespace and application.
pub(crate) type Loads = Arc<Mutex<BTreeMap<(String, String), i64>>>;

/// Serves on a free port and registers there; returns what it serves.
pub(crate) fn serve(admin: &'static Admin) -> Loads {
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
        .args(["-subj", "/CN=localhost", "-keyout", &path("key"), "-out", &path("certificate")])
        .output()
        .expect("openssl, which the testbed installs");
    assert!(made.status.success(), "{made:?}");
    let config = tls(&fs::read(path("certificate")).unwrap(), &fs::read(path("key")).unwrap());
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

fn tls(certificate: &[u8], key: &[u8]) -> Arc<rustls::ServerConfig> {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth();
    let certificate = CertificateDer::from_pem_slice(certificate).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key).unwrap();
    Arc::new(config.with_single_cert(vec![certificate], key).unwrap())
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

const VERSION: &str = "custom.metrics.k8s.io/v1beta2";

fn body(uri: &str, admin: &Admin, loads: &Loads) -> Option<Value> {
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts.as_slice() {
        ["apis", "custom.metrics.k8s.io"] => {
            let version = json!({"groupVersion": VERSION, "version": "v1beta2"});
            Some(json!({"kind": "APIGroup", "apiVersion": "v1", "name": "custom.metrics.k8s.io",
                "versions": [version], "preferredVersion": version}))
        }
        ["apis", "custom.metrics.k8s.io", "v1beta2"] => {
            let resource = json!({"name": "pods/load", "singularName": "", "namespaced": true,
                "kind": "MetricValueList", "verbs": ["get"]});
            Some(
                json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": VERSION, "resources": [resource]}),
            )
        }
        [
            "apis",
            "custom.metrics.k8s.io",
            "v1beta2",
            "namespaces",
            namespace,
            "pods",
            "*" | "%2A",
            "load",
        ] => {
            let app = query.split('&').find_map(|pair| pair.strip_prefix("labelSelector=app%3D"))?;
            let key = ((*namespace).to_owned(), app.to_owned());
            let milli = loads.lock().get(&key).copied()?;
            let now = clock::wall();
            let value = |pod: String| {
                json!({"describedObject": {"kind": "Pod", "namespace": namespace, "name": pod, "apiVersion": "/v1"},
                    "metric": {"name": "load", "selector": null}, "timestamp": now, "value": format!("{milli}m")})
            };
            let items: Vec<Value> = admin.running(namespace, app).into_iter().map(value).collect();
            Some(json!({"kind": "MetricValueList", "apiVersion": VERSION, "metadata": {}, "items": items}))
        }
        _ => None,
    }
}
